"""One partition number, owned: its transactional producer, its state, and its lanes' positions.

Exactly once rests on this sequence, run on every assignment and after every abort whatever its
cause:

1. a new producer starts: the former owner of the transactional id is fenced, and its open
   transaction is completed or aborted;
2. marks are written, which no former leader can know (``set_marks``);
3. rows of ``desired-consents`` are read up to their mark, which comes after everything
   committed before;
4. the latest positions below their mark are read: records below them were decided;
5. only then is anything decided.

The state may be retained while another worker owns the partition, and caught up later. The producer
and the assumption that the state is fresh may not: an expired transactional id comes back silently
with a new producer id over an outdated state. Nor may a state that was last caught up so long ago,
by the broker's clock, that the tombstone of a key erased since may be gone: it would bring the key
back.

The state's position in ``desired-consents`` moves with each commit, because this worker is the only
writer: its rows are contiguous but for transaction markers. Where they are not, somebody erased a
key by a tombstone; the position stays, and the partition is acquired again to read it.

A batch is one transaction: the outputs and the positions.

A mark is what only current leaders can know, so that responses of former leaders are detected.

A broker that was paused (a frozen machine, a long garbage collection) still acts as leader of its
partitions when it resumes, until it learns otherwise. It responds at once to requests sent
meanwhile, with outdated ends. A worker that trusted them would decide over an outdated state, or
decide again what others have decided.

Such a broker cannot accept a write, because it is not replicated. So the acquiring worker writes a
record to each partition that it is about to read, in a transaction that it aborts, and then reads
up to it. No subscriber ever sees the record; it has an offset, and everything that was committed
before lies below.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from time import monotonic

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from izin.kafka.bounded_reader import BoundedReader
from izin.runtime.logs import get_logger
from izin.runtime.process import in_daemon_thread
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.schemas.fast.record_format import NO_HEADERS, headers_of
from izin.schemas.topics import STATE_TOMBSTONES_KEPT_MS
from izin.streams.errors import PositionAheadError
from izin.streams.ownership.effects import Effects, OutputRecord
from izin.streams.ownership.positions import (
    Changelog,
    LanePosition,
    Positions,
    key_of,
    latest_positions,
)
from izin.streams.ownership.shared_clients import SharedClients
from izin.streams.ownership.transactional_producer import TransactionalProducer
from izin.streams.state.state import PartitionState

_KEPT_MS = STATE_TOMBSTONES_KEPT_MS - 24 * 60 * 60 * 1000

_log = get_logger(__name__)
_KEY = b"izin-mark"
"""A compacted topic accepts no record without a key."""
_OFFSETS_OF_A_MARK = 2
"""The record's, and that of the transaction's own marker."""
_WITHIN = 10.0
_POLL = 0.01
"""In seconds: another thread may take the acknowledgements from it."""


async def repartition(producer: Producer, records: Sequence[OutputRecord]) -> None:
    """Write ``records``, and wait: the position may pass what they came from only once they are
    safe there.

    Raises KafkaException where one was not acknowledged.
    """
    if records:
        await in_daemon_thread(lambda: _write(producer, records), name="repartition")


def _write(producer: Producer, records: Sequence[OutputRecord]) -> None:
    outcomes: list[KafkaError | None] = []
    for topic, partition, key, value, headers in records:
        producer.produce(
            topic,
            value,
            key,
            partition,
            lambda error, _: outcomes.append(error),
            headers=list(headers_of(headers)),
        )
    # Not flush: it would wait for what others write to partitions that have no leader.
    limit = monotonic() + _WITHIN
    while len(outcomes) < len(records) and monotonic() < limit:
        producer.poll(_POLL)
    if len(outcomes) < len(records):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
    for error in outcomes:
        if error is not None:
            raise KafkaException(error)


async def set_marks(
    producer: TransactionalProducer, topics: Iterable[str], number: int
) -> Mapping[str, int]:
    """Mark the end of partition ``number`` of each of ``topics``; return the offset behind each
    mark by topic. Raises KafkaException.
    """
    await producer.write([OutputRecord(topic, number, _KEY, None, NO_HEADERS) for topic in topics])
    marks = await producer.abort()
    return {topic: offset + _OFFSETS_OF_A_MARK for topic, offset in marks.items()}


@dataclass(slots=True)
class _Acquisition:
    """What an acquisition gives; dropped as a whole, and never used again."""

    producer: TransactionalProducer
    origin: Positions
    """The ids of the cluster and of the topics."""
    next_row: int
    """The offset in ``desired-consents`` of our next row, without another writer."""
    rows: int = 0
    """How many rows the open transaction has."""


class OwnedPartition:
    """A partition number that this worker owns, or owned and may own again."""

    def __init__(
        self,
        number: int,
        *,
        clients: SharedClients,
        codec: Codec,
        state: PartitionState,
        suppressions: SuppressionKeys = NO_SUPPRESSIONS,
    ) -> None:
        self.number = number
        self.state = state
        self.positions: Mapping[str, LanePosition] = {}
        """By lane topic."""
        self._clients = clients
        self._codec = codec
        self._topics = clients.settings.topics
        self._changelog = Changelog(number, clients.settings, clients.group, codec, suppressions)
        self._acquisition: _Acquisition | None = None
        self._closing = set[asyncio.Task[None]]()

    @property
    def next_offsets(self) -> Mapping[str, int]:
        """By lane topic: the offset below which everything is decided."""
        return {lane: one.next_offset for lane, one in self.positions.items()}

    @property
    def is_acquired(self) -> bool:
        """Whether it may be decided upon."""
        return self._acquisition is not None

    @property
    def origin(self) -> Positions | None:
        """The ids of the cluster and of the topics under which it was acquired; None: it is not."""
        return None if self._acquisition is None else self._acquisition.origin

    async def acquire(self) -> None:
        """Acquire the partition: fence, catch up, read positions.

        Raises KafkaException; StateError if ``desired-consents`` cannot be used; PositionAheadError
        if an input topic ends before what was decided of it.
        """
        self.release()
        clients, topics = self._clients, self._topics
        written = (
            topics.desired_consents,
            topics.decisions,
            topics.opt_outs,
            topics.positions,
            topics.dead_letters,
        )
        producer = await TransactionalProducer.start(
            clients.connection, f"{clients.group}-{self.number}", [topic.name for topic in written]
        )
        try:
            marked = [topics.desired_consents.name, topics.positions.name]
            ends = await set_marks(producer, marked, self.number)
            self._acquisition = await in_daemon_thread(
                lambda: self._read(producer, ends), name=f"acquire-{self.number}"
            )
        finally:
            if self._acquisition is None:
                self._drop(producer)

    def _read(self, producer: TransactionalProducer, ends: Mapping[str, int]) -> _Acquisition:
        """Read the state and the positions below the ``ends`` of their topics. Blocks."""
        topics, origin = self._topics, self._clients.origin()
        end = ends[topics.desired_consents.name]
        self._catch_up(origin, end, producer.appended_at)
        self.positions = self._resume(self._stored(ends[topics.positions.name]), origin)
        return _Acquisition(producer, origin, max(end, self.state.position))

    def _catch_up(self, origin: Positions, end: int, now: int) -> None:
        """Read ``desired-consents`` from the state's position to ``end``, appended at ``now``."""
        state = self.state
        state.open(f"{origin.cluster_id}/{origin.desired_consents_topic_id}")
        is_ahead = state.position > end
        if is_ahead or (state.position and now - state.caught_up_at > _KEPT_MS):
            why = "it is ahead of its topic" if is_ahead else "tombstones may be gone"
            _log.warning("state discarded", partition=self.number, why=why)
            state.clear()
        self._changelog.read(state, self._topics.desired_consents.name, end)
        state.caught_up_at = now
        state.apply({}, state.position)

    def _stored(self, end: int) -> Positions | None:
        """Return the last committed positions below ``end``."""
        clients = self._clients
        topic = self._topics.positions.name
        with closing(
            BoundedReader(clients.settings, f"{clients.group}-positions", topic)
        ) as reader:
            return latest_positions(reader, self._codec, {self.number: end}).get(self.number)

    def _resume(self, stored: Positions | None, origin: Positions) -> dict[str, LanePosition]:
        """Return the position of each lane.

        Where the positions cannot be used, all that the lane still has is decided again, which is
        safe: only stale decisions repeat. Where retention removed undecided records, it is
        reported.
        """
        found = {}
        lanes = [
            TopicPartition(lane.name, self.number)
            for lane in (self._topics.events, self._topics.express)
        ]
        logs = origin.logs(self._topics)
        for lane, (earliest, end) in self._clients.bounds(lanes).items():
            position = LanePosition()
            if stored is not None and stored.logs(self._topics)[lane] == logs[lane]:
                position = stored.lanes(self._topics)[lane]
                offset = position.next_offset
                if offset < earliest:
                    self._alert("retention removed undecided records", lane, offset, earliest)
            elif stored is not None or len(self.state):
                why = "topic recreated" if stored is not None else "positions not found"
                self._alert(why, lane, 0, earliest)
            if position.opt_outs_from > end:
                raise PositionAheadError(lane, self.number, position.opt_outs_from, end)
            found[lane] = position.decided(max(position.next_offset, earliest))
        return found

    def _alert(self, event: str, lane: str, decided: int, earliest: int) -> None:
        _log.critical(
            event,
            topic=lane,
            partition=self.number,
            decided_below=decided,
            earliest=earliest,
            effect="what the topic has is decided, again where it was",
        )

    def release(self) -> None:
        """Drop the producer; what it had not committed is aborted by the next owner."""
        acquisition, self._acquisition = self._acquisition, None
        if acquisition is not None:
            self._drop(acquisition.producer)

    def _drop(self, producer: TransactionalProducer) -> None:
        """Close ``producer``, for which nobody waits."""
        task = asyncio.ensure_future(producer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def closed(self) -> None:
        """Return once every producer that was dropped is closed."""
        if self._closing:
            await asyncio.wait(self._closing)

    async def write(self, effects: Effects) -> None:
        """Send the ``writes`` of ``effects``, in the transaction that the next :meth:`commit` ends,
        and clear them; others have a turn. Raises KafkaException.
        """
        acquisition, rows = self._acquired(), self._topics.desired_consents.name
        writes, effects.writes = effects.writes, []
        acquisition.rows += sum(one[0] == rows for one in writes)
        await acquisition.producer.write(writes)

    def _acquired(self) -> _Acquisition:
        if self._acquisition is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "the partition is not acquired"))  # noqa: SLF001  # librdkafka's name for it
        return self._acquisition

    async def commit(self, effects: Effects, positions: Mapping[str, LanePosition]) -> None:
        """Write the rest of ``effects`` and the new ``positions`` of lanes, by topic, end the
        transaction, then change the state.

        Raises KafkaException when the outcome is not a certain commit; the partition must then be
        acquired again before anything else is decided on it.
        """
        acquisition = self._acquired()
        lanes = {**self.positions, **positions}
        position = acquisition.origin.at(self._topics, lanes).encode(self._codec)
        effects.writes.append(
            OutputRecord(
                self._topics.positions.name,
                self.number,
                key_of(self.number),
                position,
                NO_HEADERS,
            )
        )
        await self.write(effects)
        await repartition(self._clients.repartition_producer, effects.repartitioned)
        stored = await acquisition.producer.commit()
        self.positions = lanes
        self.state.caught_up_at = acquisition.producer.appended_at
        if acquisition.rows:
            self._apply(acquisition, effects.changes, stored[self._topics.desired_consents.name])

    def _apply(self, acquisition: _Acquisition, changes: Mapping[bytes, bytes], last: int) -> None:
        """Apply the ``changes`` that the rows of the transaction made, of which ``last`` is the
        offset of the last.
        """
        rows, acquisition.rows = acquisition.rows, 0
        if last == acquisition.next_row + rows - 1:
            self.state.apply(changes, last + 1)
            acquisition.next_row = last + 2  # the transaction's marker lies between
        else:
            _log.warning("foreign row found in desired-consents", partition=self.number)
            self.state.apply(changes, self.state.position)
            self.release()
