"""Execute the plan of a rebuild: check it again, say in the history who ordered it, write.

An opt-out is written for each key whose effective status becomes RET by it, unless the topic was
lost: its opt-outs were written once, and nobody is notified twice. Nothing else is written.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from izin.replay.errors import InputLostError, UnfinishedDryRunError
from izin.replay.order_state.comparison import ChangeKind
from izin.replay.order_state.planning import (
    Installation,
    decided_offsets,
    open_history,
    options_of,
    partitions_of,
    plan_of,
)
from izin.replay.order_state.rebuilding import unfinished
from izin.replay.order_state.results import (
    PartitionResult,
    check_changes,
    read_changes,
    read_result,
)
from izin.replay.order_state.written_rows import PlannedRowWriter, Written, has_only_rows_of
from izin.replay.processes import refuse_live_group
from izin.runtime import kafka
from izin.runtime.plan import Plan, work_folder, write_private
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.acts import act
from izin.streams.ownership.shared_clients import SharedClients

_ACT = "rebuild"


def check(installation: Installation, plan: Plan, path: Path) -> None:
    """Raise unless ``plan`` can be executed now.

    Raises:
        UnfinishedDryRunError: nobody has seen yet what it would do.
        UnreadablePlanError: what it would do was edited.
        InputLostError: a lost topic cannot be restored in full.
        LiveGroupError: order workers run.
        PlanMovedError: something it relies on has changed.
        and as ``plan_of``.
    """
    if left := unfinished(installation, plan, path):
        raise UnfinishedDryRunError(len(left))
    lost, uncovered = options_of(plan)
    if lost & uncovered:
        raise InputLostError(
            "the topic was lost, and so were events that retention has removed: it cannot be "
            "restored in full. Set DATABASE_URL, if there is a ledger, and plan again; else an "
            "order worker decides again what the topics have"
        )
    for one in results_of(installation, plan, path):
        check_changes(work_folder(path), one)
    settings = installation.kafka
    refuse_live_group(settings, installation.streams.group(settings), "order workers")
    now = plan_of(installation, plan.selection, by=plan.by)
    with kafka.broker_errors(settings):
        plan.check(_without_own_rows(installation, plan, path, now))


def execute(  # noqa: PLR0913  # which plan of what, ordered by whom
    installation: Installation,
    ledger: LedgerSettings,
    plan: Plan,
    path: Path,
    *,
    by: str,
    report: Callable[[int, int], None],
) -> None:
    """Write what ``plan`` says; an execution that was stopped goes on. ``check`` it first.

    ``report`` gets how many partitions of how many are done. Raises as ``check``, BrokerError, and
    LedgerUnavailableError before anything is written.
    """
    settings, folder = installation.kafka, work_folder(path)
    results = results_of(installation, plan, path)
    lost, _ = options_of(plan)
    asyncio.run(_record(ledger, plan, by=by, rows=sum(map(waiting_rows, results))))
    digest = plan.digest
    with (
        kafka.broker_errors(settings),
        closing(SharedClients(settings, installation.streams.group(settings))) as clients,
    ):
        for done, result in enumerate(results):
            number, is_lost = result.partition, result.partition in lost
            report(done, len(results))
            if written_of(folder, number) is not None or not (is_lost or waiting_rows(result)):
                continue
            _begun(folder, number).touch()
            writer = PlannedRowWriter(
                installation,
                clients,
                number,
                digest=digest,
                decided=decided_offsets(plan, settings, number),
                is_lost=is_lost,
            )
            written = writer.write(read_changes(folder, result))
            write_private(_written(folder, number), [orjson.dumps(list(written))])
        report(len(results), len(results))


def results_of(installation: Installation, plan: Plan, path: Path) -> list[PartitionResult]:
    """Return what the partitions gave that are done."""
    folder = work_folder(path)
    found = (read_result(folder, one) for one in partitions_of(plan, installation.kafka))
    return [one for one in found if one is not None]


def waiting_rows(result: PartitionResult) -> int:
    """Return how many rows the execution writes."""
    return sum(count for kind, count in result.counts.items() if ChangeKind(kind).is_written)


def written_of(folder: Path, number: int) -> Written | None:
    """Return what the execution has written of partition ``number``; None: it is not done."""
    path = _written(folder, number)
    return Written(*orjson.loads(path.read_bytes())) if path.exists() else None


def _written(folder: Path, number: int) -> Path:
    return folder / f"written-{number}.json"


def _begun(folder: Path, number: int) -> Path:
    return folder / f"begun-{number}"


def _without_own_rows(installation: Installation, plan: Plan, path: Path, now: Plan) -> Plan:
    """Return ``now`` as it would be without what an execution of ``plan`` has written so far."""
    topics, folder = installation.kafka.topics, work_folder(path)
    rows, positions = topics.desired_consents.name, topics.positions.name
    before, after = plan.topics[rows], now.topics[rows]
    own = [
        number
        for number, end in before.ends.items()
        if _begun(folder, number).exists()
        and before.topic_id == after.topic_id
        and decided_offsets(now, installation.kafka, number)
        == decided_offsets(plan, installation.kafka, number)
        and has_only_rows_of(installation, number, end, after.ends[number], plan.digest)
    ]
    found = dict(now.topics)
    for topic in (rows, positions):
        ends = {**now.topics[topic].ends, **{one: plan.topics[topic].ends[one] for one in own}}
        found[topic] = replace(now.topics[topic], ends=ends)
    return replace(now, topics=found)


async def _record(settings: LedgerSettings, plan: Plan, *, by: str, rows: int) -> None:
    """Write to the history who executes ``plan``; once, however often it is gone on with."""
    now = datetime.now(UTC)
    lost, _ = options_of(plan)
    ordered = act(
        _ACT,
        f"topic/{plan.target}",
        by=by,
        now=now,
        before={"lost": sorted(lost)},
        after={"plan": plan.digest, "planned_by": plan.by, "rows": rows},
    )
    once = replace(ordered, source=f"act/{_ACT}/{plan.digest}", may_repeat=True)
    async with open_history(settings) as ledger, ledger.transaction() as connection:
        await append.append(connection, [once], now=now)
