"""Rebuild partitions, each in one process at a time, and keep what each gave.

A process has one partition at a time: what it should have, packed, and the rows that stand. A
partition gives a file of numbers and a file of what differs, in the folder of the work. Both are
written whole or not at all, so that a rebuild that was killed goes on with the partitions that have
none. They name recipients in full; only their owner may read them.
"""

import base64
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import orjson

from izin.kafka.bounded_reader import OffsetGoneError
from izin.replay.order_state.comparison import Change, ChangeKind, Comparison, read_standing
from izin.replay.order_state.planning import (
    Installation,
    divide_history,
    options_of,
    partitions_of,
    plan_of,
)
from izin.replay.order_state.shadow import fold, settle_erased
from izin.replay.processes import Advance, working
from izin.runtime import kafka
from izin.runtime.kafka import codec
from izin.runtime.plan import (
    OnProgress,
    OtherPlanError,
    Plan,
    PlanMovedError,
    Selection,
    UnreadablePlanError,
    work_folder,
    write_private,
)
from izin.runtime.settings import KafkaSettings, StreamSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionResult:
    """What the dry run found of a partition."""

    partition: int
    events: int
    """How many records of the lanes were folded."""
    seconds: float
    """How long that took."""
    keys: int
    computed: str
    """The digest of the rows that should stand."""
    standing: str
    """The digest of the rows that do."""
    counts: Mapping[str, int]
    """Rows by how they differ."""
    changes: str
    """The digest of the file of what differs."""


def changes_path(folder: Path, number: int) -> Path:
    """Return the file of what differs in partition ``number``."""
    return folder / f"changes-{number}.jsonl"


def result_path(folder: Path, number: int) -> Path:
    """Return the file of the numbers of partition ``number``."""
    return folder / f"result-{number}.json"


def dry_run(  # noqa: PLR0913  # where, what of it, by whom, and how
    installation: Installation,
    path: Path,
    selection: Selection,
    *,
    by: str,
    workers: int,
    report: OnProgress,
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
    installation: Installation, plan: Plan, path: Path, workers: int, report: OnProgress
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
    total, read = sum(waiting.values()), 0
    # The longest first, so that none is left to the end alone.
    numbers = sorted(waiting, key=lambda number: -waiting[number])
    if min(workers, len(numbers)) > 1:
        # Plain values: topics and plans cannot be sent to another process.
        arguments = (installation.kafka.model_dump(), installation.streams.model_dump(), path)
        with working(_rebuild_apart, arguments, numbers, min(workers, len(numbers))) as running:
            running.finish(lambda read: report(read, max(read, total)))
        return

    def advance(count: int) -> None:
        nonlocal read
        read += count
        report(read, max(read, total))

    for number in numbers:
        rebuild_partition(installation, plan, path, number, advance)


def _rebuild_apart(
    kafka_values: Mapping[str, Any],
    stream_values: Mapping[str, Any],
    path: Path,
    number: int,
    advance: Advance,
) -> None:
    """Rebuild a partition of the plan in ``path``, in a process of its own."""
    settings, streams = KafkaSettings(**kafka_values), StreamSettings(**stream_values)
    installation = Installation(kafka=settings, streams=streams, codec=codec(settings))
    rebuild_partition(installation, Plan.read(path), path, number, advance)


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
    advance: Advance,
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
            shadow = fold(installation, plan, number, folder, advance)
        except OffsetGoneError as error:
            raise PlanMovedError([f"retention has removed events of partition {number}"]) from error
        seconds = time.monotonic() - began
        settle_erased(shadow, installation, plan, number, folder)
        end = plan.topics[settings.topics.desired_consents.name].ends[number]
        standing = read_standing(installation, number, end, advance)
    comparison = Comparison(
        installation=installation,
        plan=plan,
        shadow=shadow,
        standing=standing,
        reaches=number not in uncovered,
    )
    digest, counts = write_changes(folder, number, comparison.changes())
    result = PartitionResult(
        partition=number,
        events=shadow.events,
        seconds=seconds,
        keys=comparison.keys,
        computed=comparison.computed_digest,
        standing=comparison.standing_digest,
        counts=counts,
        changes=digest,
    )
    write_private(result_path(folder, number), [orjson.dumps(asdict(result))])


def write_changes(
    folder: Path, number: int, changes: Iterable[Change]
) -> tuple[str, Mapping[str, int]]:
    """Write what differs in partition ``number``; return the digest of the file, and how many rows
    differ in which way.
    """
    digest, counts = sha256(), Counter[str]()

    def lines() -> Iterator[bytes]:
        for one in changes:
            line = _line(one)
            digest.update(line)
            counts[one.kind.value] += 1
            yield line

    write_private(changes_path(folder, number), lines())
    return digest.hexdigest(), dict(counts)


def check_changes(folder: Path, result: PartitionResult) -> None:
    """Compare the file of what differs in the partition of ``result`` with its digest.

    Raises:
        UnreadablePlanError: it is gone, or was edited.
    """
    path = changes_path(folder, result.partition)
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadablePlanError(path, "it cannot be read") from error
    if found != result.changes:
        raise UnreadablePlanError(path, "it was edited")


def read_changes(folder: Path, result: PartitionResult) -> Iterator[Change]:
    """Yield what differs in the partition of ``result``; raises as ``check_changes``."""
    check_changes(folder, result)
    with changes_path(folder, result.partition).open("rb") as file:
        yield from map(_change, file)


def read_result(folder: Path, number: int) -> PartitionResult | None:
    """Return the numbers of partition ``number``; None: it is not done."""
    path = result_path(folder, number)
    return PartitionResult(**orjson.loads(path.read_bytes())) if path.exists() else None


def _line(change: Change) -> bytes:
    row = None if change.row is None else base64.b64encode(change.row).decode()
    key = change.key.decode(errors="replace")
    values = {"kind": change.kind, "key": key, "fields": change.fields, "row": row}
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def _change(line: bytes) -> Change:
    values: Mapping[str, Any] = orjson.loads(line)
    row = None if values["row"] is None else base64.b64decode(values["row"])
    fields = {name: (both[0], both[1]) for name, both in values["fields"].items()}
    return Change(ChangeKind(values["kind"]), values["key"].encode(), fields, row)
