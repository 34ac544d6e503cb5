"""Execute the plan of a rebuild: check it again, say in the history who ordered it, write.

An opt-out is written for each key whose effective status becomes RET by it, unless the topic was
lost: its opt-outs were written once, and nobody is notified twice. Nothing else is written.

A partition is acquired as an order worker acquires it, so that one that starts meanwhile is fenced,
or fences this. Every transaction has the positions too, which stay where they were; where the topic
was lost they speak of the new one from then on. Every row has the digest of the plan in a header,
so that an execution that was killed knows its own rows from those of others. A row that is there
already is not written again, and none is written over a newer one.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import orjson

from izin.consent.fold import outranks
from izin.consent.model import Consent, Status
from izin.replay.errors import InputLostError, UnfinishedDryRunError
from izin.replay.order_state.comparison import WRITTEN, Change
from izin.replay.order_state.planning import (
    Installation,
    decided_offsets,
    open_history,
    options_of,
    partitions_of,
    plan_of,
    records_between,
)
from izin.replay.order_state.rebuilding import (
    PartitionResult,
    check_changes,
    read_changes,
    read_result,
    unfinished,
)
from izin.replay.processes import refuse_live_group
from izin.runtime import kafka
from izin.runtime.kafka_clients import headers_of
from izin.runtime.plan import OnProgress, Plan, PlanMovedError, work_folder, write_private
from izin.runtime.settings import LedgerSettings
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.fast.record_format import headers_bytes
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.records import Headers, derived_id, headers
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.append import act
from izin.streams.ownership.effects import Effects, OutputRecord
from izin.streams.ownership.partition_transaction import OwnedPartition
from izin.streams.ownership.positions import LanePosition, Positions
from izin.streams.ownership.shared_clients import SharedClients
from izin.streams.state.state import MemoryState, suppression

_ACT = "rebuild"
REPLAY = "izin-replay"
"""The header of a row that a replay has written: the digest of its plan."""
_AT_ONCE = 1000
"""Rows of a transaction."""
_DERIVED = {"previous_status"}
"""What follows from the rest of a row, so that no state has it: where it alone is wrong, the row is
written in any case."""


@dataclass(slots=True)
class Written:
    """What was written of a partition."""

    rows: int = 0
    opt_outs: int = 0
    newer: int = 0
    """Rows that were not, for a newer one stands."""


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
    report: OnProgress,
) -> None:
    """Write what ``plan`` says; an execution that was stopped goes on. ``check`` it first.

    ``report`` gets how many partitions of how many are done. Raises as ``check``, BrokerError, and
    LedgerUnavailableError before anything is written.
    """
    settings, folder = installation.kafka, work_folder(path)
    results = results_of(installation, plan, path)
    lost, _ = options_of(plan)
    asyncio.run(_record(ledger, plan, by=by, rows=sum(map(waiting_rows, results))))
    with (
        kafka.broker_errors(settings),
        closing(SharedClients(settings, installation.streams.group(settings))) as clients,
    ):
        for done, result in enumerate(results):
            number = result.partition
            report(done, len(results))
            if written_of(folder, number) is not None:
                continue
            if number in lost or waiting_rows(result):
                write_private(_written(folder, number), [b"null"])
                writer = _RowWriter(installation, clients, plan, number)
                written = asyncio.run(writer.write(read_changes(folder, result)))
                write_private(_written(folder, number), [orjson.dumps(asdict(written))])
        report(len(results), len(results))


def results_of(installation: Installation, plan: Plan, path: Path) -> list[PartitionResult]:
    """Return what the partitions gave that are done."""
    folder = work_folder(path)
    found = (read_result(folder, one) for one in partitions_of(plan, installation.kafka))
    return [one for one in found if one is not None]


def waiting_rows(result: PartitionResult) -> int:
    """Return how many rows the execution writes."""
    return sum(count for kind, count in result.counts.items() if kind in WRITTEN)


def written_of(folder: Path, number: int) -> Written | None:
    """Return what the execution has written of partition ``number``; None: it is not done."""
    path = _written(folder, number)
    found = orjson.loads(path.read_bytes()) if path.exists() else None
    return None if found is None else Written(**found)


def _written(folder: Path, number: int) -> Path:
    """Return the file of what was written of a partition; it says null from the beginning on."""
    return folder / f"written-{number}.json"


def _without_own_rows(installation: Installation, plan: Plan, path: Path, now: Plan) -> Plan:
    """Return ``now`` as it would be without what an execution of ``plan`` has written so far."""
    topics, folder = installation.kafka.topics, work_folder(path)
    rows, positions = topics.desired_consents.name, topics.positions.name
    before, after = plan.topics[rows], now.topics[rows]
    own = [
        number
        for number, end in before.ends.items()
        if _written(folder, number).exists()
        and before.topic_id == after.topic_id
        and decided_offsets(now, installation.kafka, number)
        == decided_offsets(plan, installation.kafka, number)
        and _has_only_rows_of(installation, number, end, after.ends[number], plan.digest)
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
        self._written = Written()
        self._owned = _StandingPartition(
            number,
            clients=clients,
            codec=installation.codec,
            state=MemoryState(),
            suppressions=installation.suppressions,
        )
        self._owned.decided = decided_offsets(plan, installation.kafka, number)

    async def write(self, changes: Iterable[Change]) -> Written:
        """Write the rows of ``changes`` that are to be written.

        Raises:
            PlanMovedError: something was decided meanwhile.
            StateError: the topic has what this release cannot use.
            KafkaException: a transaction did not certainly commit; what it wrote is found then.
        """
        owned, waiting = self._owned, iter(changes)
        lacks_positions = self._is_lost
        try:
            await owned.acquire()
            while some := list(islice(waiting, _AT_ONCE)):
                effects = Effects()
                for one in some:
                    self._add_change(effects, one)
                if effects.writes:
                    await owned.commit(effects, {})
                    lacks_positions = False
            if lacks_positions:
                await owned.commit(Effects(), {})
        finally:
            owned.release()
            await owned.closed()
        return self._written

    def _add_change(self, effects: Effects, one: Change) -> None:
        """Add to ``effects`` what mends a row, unless it stands, or a newer one does."""
        state, rows = self._owned.state, self._topics.desired_consents.name
        if one.row is None:
            return
        packed = state.packed(one.key)
        if one.key.startswith(SUPPRESSED):
            at = self._codec.decode("Consent", one.row)["effective_at"]
            wanted_until = suppression((at - EPOCH) // MILLISECOND)
            if packed != wanted_until:
                self._written.rows += 1
                effects.changes[one.key] = wanted_until
                identity = derived_id(one.key.decode(), REPLAY, self._number, 0)
                made = headers(record="Consent", event_id=identity, source="/izin/replay", at=at)
                self._add(effects, rows, one, made)
            return
        wanted = self._codec.decode_consent(one.row)
        found = None if packed is None else state.packing.unpack(one.key, packed)
        if found == wanted and one.fields.keys() != _DERIVED:
            return
        if found is not None and outranks(found.order, wanted.order):
            self._written.newer += 1
            return
        self._written.rows += 1
        effects.changes[one.key] = state.packing.pack(wanted)
        self._add(effects, rows, one, self._headers(wanted, "/row"))
        was_ret = found is not None and found.status is Status.RET
        if wanted.status is Status.RET and not was_ret and not self._is_lost:
            self._written.opt_outs += 1
            self._add(effects, self._topics.opt_outs.name, one, self._headers(wanted, "/opt-out"))

    def _add(self, effects: Effects, topic: str, one: Change, made: Headers) -> None:
        identified = headers_bytes([*made, (REPLAY, self._digest)])
        effects.writes.append(OutputRecord(topic, self._number, one.key, one.row, identified))

    def _headers(self, consent: Consent, part: str) -> Headers:
        return headers(
            record="Consent",
            event_id=derived_id(consent.event_id, REPLAY, self._number, 0, part),
            source=f"/{consent.customer_id}/{consent.origin}",
            at=consent.effective_at,
        )


class _StandingPartition(OwnedPartition):
    """A partition of which nothing is decided: its positions stay."""

    decided: Mapping[str, int]

    def _resume(self, stored: Positions | None, origin: Positions) -> dict[str, LanePosition]:
        """Return the positions of the plan, whichever topic the stored ones speak of; raises
        PlanMovedError.

        What was decided beyond them is not said: its rows may be lost, so it is decided again.
        """
        del origin
        if stored is None or stored.offsets(self._topics) != self.decided:
            raise PlanMovedError([f"partition {self.number} was decided further"])
        return {lane: LanePosition(offset) for lane, offset in self.decided.items()}


def _has_only_rows_of(
    installation: Installation, number: int, start: int, end: int, digest: str
) -> bool:
    """Whether every row of partition ``number`` from ``start`` to ``end`` was written for the plan
    with ``digest``. Raises KafkaException.
    """
    settings, expected = installation.kafka, (REPLAY, digest.encode())
    return all(
        expected in headers_of(one)
        for messages in records_between(
            settings, settings.topics.desired_consents.name, number, start, end
        )
        for one in messages
    )
