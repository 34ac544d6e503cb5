"""Write rows of one partition, in transactions of its own.

The partition is acquired as an order worker acquires it, so that one that starts meanwhile is
fenced, or fences this. Every transaction has the positions too, which stay where they were; where
the topic was lost they speak of the new one from then on.

Every row has the digest of the plan in a header, so that an execution that was killed knows its own
rows from those of others. A row that is there already is not written again, and none is written
over a newer one.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from izin.consent.fold import outranks
from izin.consent.model import Consent, Status
from izin.kafka.bounded_reader import BoundedReader
from izin.replay.errors import PlanMovedError
from izin.replay.order_state.comparison import Change
from izin.replay.order_state.planning import Installation
from izin.runtime.kafka_clients import headers_of
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.fast.record_format import headers_bytes
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.records import Headers, derived_id, headers
from izin.streams.ownership.effects import Effects, OutputRecord
from izin.streams.ownership.partition_transaction import OwnedPartition
from izin.streams.ownership.positions import LanePosition, Positions
from izin.streams.ownership.shared_clients import SharedClients
from izin.streams.state.state import MemoryState, suppression

REPLAY = "izin-replay"
"""The header of a row that a replay has written: the digest of its plan."""
_AT_ONCE = 1000
"""Rows of a transaction."""
_DERIVED = {"previous_status"}
"""What follows from the rest of a row, so that no state has it: where it alone is wrong, the row is
written in any case."""


class Written(NamedTuple):
    """What was written of a partition."""

    rows: int
    opt_outs: int
    newer: int
    """Rows that were not, for a newer one stands."""


class RowWriterOfPlan:
    """Writes rows of partition ``number`` for the plan with ``digest``.

    ``decided`` is the offset of each lane below which all is decided.
    """

    def __init__(  # noqa: PLR0913  # which partition, and what is known of it
        self,
        installation: Installation,
        clients: SharedClients,
        number: int,
        *,
        digest: str,
        decided: Mapping[str, int],
        is_lost: bool,
    ) -> None:
        self._installation = installation
        self._topics = installation.kafka.topics
        self._number = number
        self._digest = digest
        self._is_lost = is_lost
        self._owned = _StandingPartition(
            number,
            clients=clients,
            codec=installation.codec,
            state=MemoryState(),
            suppressions=installation.suppressions,
        )
        self._owned.decided = decided

    def write(self, changes: Iterable[Change]) -> Written:
        """Write the rows of ``changes`` that are to be written.

        Raises:
            PlanMovedError: something was decided meanwhile.
            StateError: the topic has what this release cannot use.
            KafkaException: a transaction did not certainly commit; what it wrote is found then.
        """
        return asyncio.run(self._write(changes))

    async def _write(self, changes: Iterable[Change]) -> Written:
        owned = self._owned
        try:
            await owned.acquire()
            done = Written(0, 0, 0)
            waiting = iter(changes)
            is_first = True
            while (some := list(islice(waiting, _AT_ONCE))) or (is_first and self._is_lost):
                effects, written = self._effects(some)
                if effects.writes or self._is_lost:
                    await owned.commit(effects, {})
                done = Written(*(a + b for a, b in zip(done, written, strict=True)))
                is_first = False
            return done
        finally:
            owned.release()
            await owned.closed()

    def _effects(self, changes: Sequence[Change]) -> tuple[Effects, Written]:
        effects = Effects()
        rows = opt_outs = newer = 0
        for one in changes:
            if one.row is None:
                continue
            if one.key.startswith(SUPPRESSED):
                rows += self._suppress(effects, one.key, one.row)
                continue
            wanted = self._installation.codec.decode_consent(one.row)
            found = self._standing(one.key)
            if found == wanted and one.fields.keys() != _DERIVED:
                continue
            if found is not None and outranks(found.order, wanted.order):
                newer += 1
                continue
            rows += 1
            effects.changes[one.key] = self._owned.state.packing.pack(wanted)
            topic = self._topics.desired_consents.name
            self._add(effects, topic, one.key, one.row, self._headers(wanted, "/row"))
            was_ret = found is not None and found.status is Status.RET
            if wanted.status is Status.RET and not was_ret and not self._is_lost:
                opt_outs += 1
                topic = self._topics.opt_outs.name
                self._add(effects, topic, one.key, one.row, self._headers(wanted, "/opt-out"))
        return effects, Written(rows, opt_outs, newer)

    def _suppress(self, effects: Effects, key: bytes, row: bytes) -> int:
        at = self._installation.codec.decode("Consent", row)["effective_at"]
        packed = suppression((at - EPOCH) // MILLISECOND)
        if self._owned.state.packed(key) == packed:
            return 0
        effects.changes[key] = packed
        identity = derived_id(key.decode(), REPLAY, self._number, 0)
        made = headers(record="Consent", event_id=identity, source="/izin/replay", at=at)
        self._add(effects, self._topics.desired_consents.name, key, row, made)
        return 1

    def _standing(self, key: bytes) -> Consent | None:
        state = self._owned.state
        packed = state.packed(key)
        return None if packed is None else state.packing.unpack(key, packed)

    def _add(self, effects: Effects, topic: str, key: bytes, row: bytes, made: Headers) -> None:
        identified = headers_bytes([*made, (REPLAY, self._digest.encode())])
        effects.writes.append(OutputRecord(topic, self._number, key, row, identified))

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


def has_only_rows_of(
    installation: Installation, number: int, start: int, end: int, digest: str
) -> bool:
    """Whether every row of partition ``number`` from ``start`` to ``end`` was written for the plan
    with ``digest``. Raises KafkaException.
    """
    reader = BoundedReader(
        installation.kafka, REPLAY, installation.kafka.topics.desired_consents.name
    )
    expected = (REPLAY, digest.encode())
    try:
        return all(
            expected in headers_of(one)
            for messages in reader.read({number: start}, {number: end})
            for one in messages
        )
    finally:
        reader.close()
