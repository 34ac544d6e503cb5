"""Compare what should stand with what does, partition by partition, and repair what differs.

A dry run compares. An execution compares again, by the plan that the dry run has made, and writes
what is missing or differs: only where what should stand is what the dry run found, by its digest.
So nothing is kept in between, and an execution that was killed is given again: what it has written
stands. Each partition is done in one process at a time.

An opt-out is written for each key whose effective status becomes RET by it, unless the topic was
lost: its opt-outs were written once, and nobody is notified twice. Nothing else is written.

A partition is acquired as an order worker acquires it, so that one that starts meanwhile is fenced,
or fences this. Every transaction has the positions too, which stay where they were; where the topic
was lost they speak of the new one from then on. A row that is there already is not written again,
and none is written over a newer one.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from izin.consent import Consent, OurError, Status, outranks
from izin.kafka import clients as kafka
from izin.kafka.bounded_reader import OffsetGoneError
from izin.kafka.clients import members
from izin.ledger.db import Ledger
from izin.ledger.history import act, append
from izin.replay.order_state.comparison import (
    WRITTEN,
    StateComparison,
    StateDifference,
    fold,
    read_current,
    settle_erased,
)
from izin.replay.order_state.planning import (
    Installation,
    decided_offsets,
    divide_history,
    options_of,
    partitions_of,
    plan_of,
)
from izin.replay.processes import Advance, working
from izin.runtime.plan import (
    OnProgress,
    Plan,
    PlanMovedError,
    Selection,
    silent,
    work_folder,
    write_private,
)
from izin.runtime.settings import LedgerSettings
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.fast.record_format import headers_bytes
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.records import Headers, derived_id, headers
from izin.streams.ownership import (
    Effects,
    LanePosition,
    OutputRecord,
    OwnedPartition,
    Positions,
    SharedClients,
)
from izin.streams.state.state import MemoryState, suppression

_ACT = "rebuild"
REPLAY = "izin-replay"
"""The header of a row that a replay has written: the digest of its plan."""
LISTED = 200
"""So many rows that differ are listed."""
_AT_ONCE = 1000
"""Rows of a transaction."""
_DERIVED = {"previous_status"}
"""What follows from the rest of a row, so that no state has it: where it alone is wrong, the row is
written in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionResult:
    """What was found of a partition, and what was written."""

    partition: int
    events: int
    """How many records of the lanes were folded."""
    seconds: float
    """How long that took."""
    keys: int
    computed: str
    """The digest of the rows that should stand."""
    current: str
    """The digest of the rows that do."""
    counts: Mapping[str, int]
    """Rows by how they differ."""
    listed: Sequence[Mapping[str, Any]]
    """The first that differ: ``key``, ``kind``, and ``fields`` by name, as they stand and as they
    should."""
    written: Mapping[str, int]
    """``rows`` and ``opt_outs`` that were written; nothing in a dry run."""

    @property
    def waiting(self) -> int:
        """How many rows an execution writes."""
        return sum(count for kind, count in self.counts.items() if kind in WRITTEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRebuild:
    """Plans and executes rebuilds of ``desired-consents``."""

    installation: Installation
    workers: int
    report: OnProgress = silent
    """Gets how many records of how many were read."""

    def plan(self, path: Path, selection: Selection, *, by: str, whole: bool = False) -> Plan:
        """Compare, and write the plan to ``path``, with what was found; ``whole`` as ``plan_of``.

        Raises:
            PlanMovedError: retention has removed records meanwhile.
            and as ``plan_of``.
        """
        installation = self.installation
        plan, folder = plan_of(installation, selection, by=by, whole=whole), work_folder(path)
        divide_history(
            installation.ledger, plan.history, folder, installation.kafka.partitions, self.report
        )
        found = self._run(plan, folder, writes=False)
        _check_starts(installation, plan)
        replace(
            plan, options={**plan.options, "partitions": [asdict(result) for result in found]}
        ).write(path)
        return Plan.read(path)

    def check(self, plan: Plan) -> None:
        """Raise unless ``plan`` can be executed now.

        Raises:
            OurError: a lost topic cannot be restored in full, or order workers run.
            PlanMovedError: something it relies on has changed.
            and as ``plan_of``.
        """
        lost, uncovered = options_of(plan)
        if lost & uncovered:
            raise OurError(
                "the topic was lost, and so were events that retention has removed: it cannot be "
                "restored in full. Set DATABASE_URL, if there is a ledger, and plan again; else an "
                "order worker decides again what the topics have"
            )
        settings = self.installation.kafka
        if count := members(settings, self.installation.streams.group(settings)):
            raise OurError(
                f"{count} order workers run; stop them (one that has stopped counts until its "
                "session ends), then give the command again"
            )
        whole: bool = plan.options["whole"]
        plan.check(plan_of(self.installation, plan.selection, by=plan.by, whole=whole))

    def execute(
        self, plan: Plan, path: Path, ledger: LedgerSettings, *, by: str
    ) -> list[PartitionResult]:
        """Write what ``plan`` says, and return what was written; ``check`` it first. The ``ledger``
        has who ordered it.

        Raises as ``check``, BrokerError, and LedgerUnavailableError before anything is written.
        """
        rows = sum(PartitionResult(**one).waiting for one in plan.options["partitions"])
        asyncio.run(_record(ledger, plan, by=by, rows=rows))
        found = self._run(plan, work_folder(path), writes=True)
        write_private(_executed(plan, path), [orjson.dumps([asdict(result) for result in found])])
        return found

    def _run(self, plan: Plan, folder: Path, *, writes: bool) -> list[PartitionResult]:
        """Compare the partitions of ``plan``, and repair them where it ``writes``."""
        settings = self.installation.kafka
        sizes = {
            number: sum(
                max(0, bounds.ends[number] - bounds.starts[number])
                for bounds in plan.topics.values()
            )
            for number in partitions_of(plan, settings)
        }
        work = PartitionWork(self.installation, plan, folder, writes)
        total, read = sum(sizes.values()), 0

        def advance(count: int) -> None:
            nonlocal read
            read += count
            self.report(read, max(read, total))

        # The longest first, so that none is left to the end alone.
        numbers = sorted(sizes, key=lambda number: -sizes[number])
        workers = min(self.workers, len(numbers))
        if workers <= 1:
            found = [work.run(number, advance) for number in numbers]
        else:
            with working(PartitionWork.run, (work,), numbers, workers) as running:
                found = running.finish(lambda read: self.report(read, max(read, total)))
        return sorted(found, key=lambda one: one.partition)


def results_of(plan: Plan, path: Path) -> tuple[list[PartitionResult], bool]:
    """Return what the dry run found, or the execution where there was one; and whether there was.

    What an execution found is what differed before it, without what another one had repaired.
    """
    executed = _executed(plan, path)
    is_executed = executed.exists()
    found = orjson.loads(executed.read_bytes()) if is_executed else plan.options["partitions"]
    return [PartitionResult(**one) for one in found], is_executed


def _executed(plan: Plan, path: Path) -> Path:
    return work_folder(path) / f"executed-{plan.digest[:16]}.json"


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


@dataclass(frozen=True, slots=True)
class PartitionWork:
    """What is done with each partition of a plan; ``folder`` has what the history has of it."""

    installation: Installation
    plan: Plan
    folder: Path
    writes: bool

    def run(self, number: int, advance: Advance) -> PartitionResult:
        """Compare partition ``number``, and repair it where rows are written; ``advance`` gets how
        many records were read, some at a time.

        Raises:
            PlanMovedError: retention has removed records that the plan says are there, or they
                give other rows than the dry run found.
            BrokerError: Kafka cannot be reached.
            StateError: a row was suppressed under an unknown secret.
        """
        settings = self.installation.kafka
        with kafka.broker_errors(settings):
            comparison, seconds = self._compared(number, advance)
            changes = list(comparison.changes())
            result = PartitionResult(
                partition=number,
                events=comparison.shadow.events,
                seconds=seconds,
                keys=comparison.keys,
                computed=comparison.computed_digest,
                current=comparison.current_digest,
                counts=dict(Counter(change.kind.value for change in changes)),
                listed=[
                    {
                        "key": one.key.decode(errors="replace"),
                        "kind": one.kind.value,
                        "fields": one.fields,
                    }
                    for one in changes[:LISTED]
                ],
                written={},
            )
            if not self.writes:
                return result
            return replace(result, written=dict(self._repaired(result, changes)))

    def _compared(self, number: int, advance: Advance) -> tuple[StateComparison, float]:
        """Return the comparison of a partition, and how long its events took."""
        installation, plan = self.installation, self.plan
        _, uncovered = options_of(plan)
        began = time.monotonic()
        try:
            shadow = fold(installation, plan, number, self.folder, advance)
        except OffsetGoneError as error:
            raise PlanMovedError([f"retention has removed events of partition {number}"]) from error
        seconds = time.monotonic() - began
        settle_erased(shadow, installation, plan, number, self.folder)
        rows = installation.kafka.topics.desired_consents.name
        end = plan.topics[rows].ends[number]
        if self.writes:  # an execution that was killed has written some
            end = kafka.committed_ends(installation.kafka, rows)[number]
        comparison = StateComparison(
            installation=installation,
            plan=plan,
            shadow=shadow,
            current=read_current(installation, number, end, advance),
            reaches=number not in uncovered,
        )
        return comparison, seconds

    def _repaired(
        self, result: PartitionResult, changes: Sequence[StateDifference]
    ) -> Mapping[str, int]:
        """Write ``changes`` of a partition of which ``result`` was found."""
        plan, number = self.plan, result.partition
        seen = {one["partition"]: one["computed"] for one in plan.options["partitions"]}
        if seen[number] != result.computed:
            raise PlanMovedError([f"the events of partition {number} give other rows"])
        if not result.waiting and number not in options_of(plan)[0]:
            return {}
        settings = self.installation.kafka
        with closing(SharedClients(settings, self.installation.streams.group(settings))) as clients:
            return asyncio.run(_RowWriter(self.installation, clients, plan, number).write(changes))


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
    async with Ledger(settings, owner=0) as ledger, ledger.transaction() as connection:
        await append.append(
            connection,
            [replace(ordered, source=f"act/{_ACT}/{plan.digest}", may_repeat=True)],
            now=now,
        )


class _RowWriter:
    """Writes rows of partition ``number`` for ``plan``."""

    def __init__(
        self, installation: Installation, clients: SharedClients, plan: Plan, number: int
    ) -> None:
        self._codec = installation.codec
        self._topics = installation.kafka.topics
        self._number = number
        self._digest = plan.digest.encode()
        self._is_lost = number in options_of(plan)[0]
        self._written = Counter[str]()
        self._owned = _CurrentPartition(
            number,
            clients=clients,
            codec=installation.codec,
            state=MemoryState(),
            suppressions=installation.suppressions,
        )
        self._owned.decided = decided_offsets(plan, installation.kafka, number)

    async def write(self, changes: Sequence[StateDifference]) -> Mapping[str, int]:
        """Write the rows of ``changes`` that are to be written.

        Raises:
            PlanMovedError: something was decided meanwhile.
            StateError: the topic has what this release cannot use.
            KafkaException: a transaction did not certainly commit; what it wrote is found then.
        """
        owned, lacks_positions = self._owned, self._is_lost
        try:
            await owned.acquire()
            for first in range(0, len(changes), _AT_ONCE):
                effects = Effects()
                for change in changes[first : first + _AT_ONCE]:
                    self._add_change(effects, change)
                if effects.writes:
                    await owned.commit(effects, {})
                    lacks_positions = False
            if lacks_positions:
                await owned.commit(Effects(), {})
        finally:
            owned.release()
            await owned.closed()
        return self._written

    def _add_change(self, effects: Effects, one: StateDifference) -> None:
        """Add to ``effects`` what repairs a row, unless it stands, or a newer one does."""
        state, rows = self._owned.state, self._topics.desired_consents.name
        if one.row is None:
            return
        packed = state.packed(one.key)
        if one.key.startswith(SUPPRESSED):
            at = self._codec.decode("Consent", one.row)["effective_at"]
            wanted_until = suppression((at - EPOCH) // MILLISECOND)
            if packed != wanted_until:
                self._written["rows"] += 1
                effects.changes[one.key] = wanted_until
                made = headers(
                    record="Consent",
                    event_id=derived_id(one.key.decode(), REPLAY, self._number, 0),
                    source="/izin/replay",
                    at=at,
                )
                self._add(effects, rows, one, made)
            return
        wanted = self._codec.decode_consent(one.row)
        found = None if packed is None else state.packing.unpack(one.key, packed)
        if found == wanted and one.fields.keys() != _DERIVED:
            return
        if found is not None and outranks(found.order, wanted.order):
            return
        self._written["rows"] += 1
        effects.changes[one.key] = state.packing.pack(wanted)
        self._add(effects, rows, one, self._headers(wanted, "/row"))
        was_ret = found is not None and found.status is Status.RET
        if wanted.status is Status.RET and not was_ret and not self._is_lost:
            self._written["opt_outs"] += 1
            self._add(effects, self._topics.opt_outs.name, one, self._headers(wanted, "/opt-out"))

    def _add(self, effects: Effects, topic: str, one: StateDifference, made: Headers) -> None:
        identified = headers_bytes([*made, (REPLAY, self._digest)])
        effects.writes.append(OutputRecord(topic, self._number, one.key, one.row, identified))

    def _headers(self, consent: Consent, part: str) -> Headers:
        return headers(
            record="Consent",
            event_id=derived_id(consent.event_id, REPLAY, self._number, 0, part),
            source=f"/{consent.customer_id}/{consent.origin}",
            at=consent.effective_at,
        )


class _CurrentPartition(OwnedPartition):
    """A partition of which nothing is decided: its positions stay."""

    decided: Mapping[str, int]

    def _resume(self, stored: Positions | None, origin: Positions) -> dict[str, LanePosition]:
        """Return the positions of the plan, whichever topic the stored ones speak of; raises
        PlanMovedError.

        What was decided beyond them is not said: its rows may be lost, so it is decided again.
        """
        is_other = stored is None or stored.logs(self._topics) != origin.logs(self._topics)
        if stored is not None and not is_other and stored.offsets(self._topics) != self.decided:
            raise PlanMovedError([f"partition {self.number} was decided further"])
        return {lane: LanePosition(offset) for lane, offset in self.decided.items()}
