"""Rebuild partitions, each in one process at a time, and keep what each gave.

A process has one partition at a time: what it should have, packed, and the rows that stand.
"""

import time
from collections.abc import Callable
from pathlib import Path

from izin.kafka.bounded_reader import OffsetGoneError
from izin.replay.order_state.comparison import Comparison
from izin.replay.order_state.erased_keys import settle_erased
from izin.replay.order_state.planning import (
    Installation,
    options_of,
    partitions_of,
    plan_of,
)
from izin.replay.order_state.processes import run_in_processes
from izin.replay.order_state.removed_input import divide_history
from izin.replay.order_state.results import (
    PartitionResult,
    read_result,
    write_changes,
    write_result,
)
from izin.replay.order_state.shadow import ShadowFolder
from izin.replay.order_state.standing import read_standing
from izin.runtime import kafka
from izin.runtime.plan import OtherPlanError, Plan, PlanMovedError, Selection, work_folder

Report = Callable[[int, int], None]
"""Gets how many records were read, and how many there are."""


def dry_run(  # noqa: PLR0913  # where, what of it, by whom, and how
    installation: Installation,
    path: Path,
    selection: Selection,
    *,
    by: str,
    workers: int,
    report: Report,
) -> Plan:
    """Write the plan of a rebuild to ``path``, and what differs to the folder of its work.

    Where the plan is there, its dry run goes on with the partitions that are not done.

    Raises:
        OtherPlanError: ``path`` has the plan of something else.
        PlanMovedError: the plan in it no longer holds.
        and as ``plan_of``.
    """
    now = plan_of(installation, selection, by=by)
    plan = now
    if path.exists():
        plan = Plan.read(path)
        if (plan.kind, plan.target, plan.selection) != (now.kind, now.target, selection):
            raise OtherPlanError(path)
        plan.check(now)
    else:
        plan.write(path)
    if plan.history and installation.ledger is not None:
        partitions = installation.kafka.partitions
        divide_history(installation.ledger, plan.history, work_folder(path), partitions, report)
    _rebuild(installation, plan, path, workers, report)
    _check_starts(installation, plan)
    return plan


def _check_starts(installation: Installation, plan: Plan) -> None:
    """Raise PlanMovedError where retention has removed records that may not have been read: a
    reader that begins at the first one does not notice.
    """
    settings = installation.kafka
    moved = [
        f"{lane}/{number} begins at {start}, not {plan.topics[lane].starts[number]}"
        for lane in (settings.topics.events.name, settings.topics.express.name)
        for number, (start, _) in kafka.watermarks(settings, lane).items()
        if start > plan.topics[lane].starts[number]
    ]
    if moved:
        raise PlanMovedError(moved)


def _rebuild(
    installation: Installation, plan: Plan, path: Path, workers: int, report: Report
) -> None:
    """Rebuild the partitions of ``plan`` that are not done."""
    waiting = {
        number: sum(
            max(0, bounds.ends[number] - bounds.starts[number])
            for topic, bounds in plan.topics.items()
            if topic != installation.kafka.topics.positions.name
        )
        for number in unfinished(installation, plan, path)
    }
    total, workers = sum(waiting.values()), min(workers, len(waiting))
    # The longest first, so that none is left to the end alone.
    numbers = sorted(waiting, key=lambda number: -waiting[number])
    if workers > 1:
        run_in_processes(
            rebuild_partition,
            installation,
            path,
            numbers,
            workers,
            lambda read: report(read, max(read, total)),
        )
        return
    read = 0

    def advance(count: int) -> None:
        nonlocal read
        read += count
        report(read, max(read, total))

    for number in numbers:
        rebuild_partition(installation, plan, path, number, advance)


def unfinished(installation: Installation, plan: Plan, path: Path) -> list[int]:
    """Return the partitions that are not done."""
    folder = work_folder(path)
    return [
        number
        for number in partitions_of(plan, installation.kafka)
        if read_result(folder, number) is None
    ]


def rebuild_partition(
    installation: Installation,
    plan: Plan,
    path: Path,
    number: int,
    advance: Callable[[int], None],
) -> None:
    """Write what partition ``number`` gives to the folder of the work of ``plan``.

    Raises:
        PlanMovedError: retention has removed records that the plan says are there.
        BrokerError: Kafka cannot be reached.
        StateError: a row was suppressed under an unknown secret.
    """
    settings, folder = installation.kafka, work_folder(path)
    _, uncovered = options_of(plan)
    with kafka.broker_errors(settings):
        began = time.monotonic()
        try:
            shadow = ShadowFolder(installation, plan, number, folder, advance).fold()
        except OffsetGoneError as error:
            raise PlanMovedError([f"retention has removed events of partition {number}"]) from error
        seconds = time.monotonic() - began
        settle_erased(shadow, installation, plan, number, folder)
        end = plan.topics[settings.topics.desired_consents.name].ends[number]
        standing = read_standing(installation, number, end, advance)
    comparison = Comparison(
        shadow,
        standing,
        plan,
        installation.codec,
        installation.suppressions,
        reaches=number not in uncovered,
    )
    changes = write_changes(folder, number, comparison.changes())
    digests = comparison.digests
    result = PartitionResult(
        partition=number,
        events=shadow.events,
        seconds=seconds,
        keys=digests.keys,
        computed=digests.computed,
        standing=digests.standing,
        counts=changes.counts,
        changes=changes.digest,
    )
    write_result(folder, result)
