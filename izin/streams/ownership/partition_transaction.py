"""One partition number, owned: its transactional producer, its state, and its lanes' positions.

Exactly once rests on this sequence, run on every assignment and after every abort whatever its
cause:

1. a new producer, ``init_transactions``: the former owner of the transactional id is fenced, and
   its open transaction is completed or aborted;
2. marks are written, which no former leader can know (see ``mark``);
3. rows of ``desired-consents`` are read up to their mark, which comes after everything
   committed before;
4. the latest positions below their mark are read: records below them were decided;
5. only then is anything decided.

The state may be retained while another worker owns the partition, and caught up later. The producer
and the assumption that the state is fresh may not: an expired transactional id comes back silently
with a new producer id over an outdated state.

The state's position in ``desired-consents`` moves with each commit, because this worker is the only
writer: its rows are contiguous but for transaction markers. Where they are not, somebody erased a
key by a tombstone; the position stays, and the partition is acquired again to read it.

A batch is one transaction: the outputs and the positions.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from izin.runtime import kafka
from izin.runtime.observe import get_logger
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.streams.errors import PositionAheadError
from izin.streams.ownership.bounded_reader import BoundedReader
from izin.streams.ownership.changelog import Changelog
from izin.streams.ownership.commit import commit_transaction
from izin.streams.ownership.effects import Effects, produce_all
from izin.streams.ownership.mark import set_marks
from izin.streams.ownership.positions import Positions, key_of, latest_positions
from izin.streams.ownership.repartitioning import repartition
from izin.streams.ownership.shared_clients import SharedClients
from izin.streams.state.state import PartitionState

_TIMEOUT = 8.0
_DROPPED: Any = None
"""In place of the producer of an acquisition that is over: nobody uses it again."""

_log = get_logger(__name__)


@dataclass(slots=True)
class _Acquisition:
    """What an acquisition gives; dropped as a whole, and never used again."""

    producer: Producer
    origin: Positions
    """The ids of the cluster and of the topics."""
    next_row: int
    """The offset in ``desired-consents`` of our next row, without another writer."""
    is_open: bool = False
    rows: int = 0
    """How many rows the open transaction has."""
    delivered: list[int | None] = field(default_factory=list)
    """The offset of the last row of each write."""


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
        self.next_offsets: dict[str, int] = {}
        """By lane topic: the offset below which everything is decided."""
        self._clients = clients
        self._codec = codec
        self._topics = clients.settings.topics
        self._changelog = Changelog(number, clients.settings, clients.group, codec, suppressions)
        self._acquisition: _Acquisition | None = None

    @property
    def is_acquired(self) -> bool:
        """Whether it may be decided upon."""
        return self._acquisition is not None

    @property
    def origin(self) -> Positions | None:
        """The ids of the cluster and of the topics under which it was acquired; None: it is not."""
        return None if self._acquisition is None else self._acquisition.origin

    def acquire(self) -> None:
        """Acquire the partition: fence, catch up, read positions. Blocks: run it in a thread.

        Raises KafkaException; StateError if ``desired-consents`` cannot be used; PositionAheadError
        if an input topic ends before what was decided of it.
        """
        self.release()
        clients, topics = self._clients, self._topics
        producer = kafka.producer(
            clients.settings,
            **{
                "transactional.id": f"{clients.group}-{self.number}",
                "transaction.timeout.ms": 10000,
                "retry.backoff.ms": 10,
                # A commit sends what waits at once. Until then a request is made of a megabyte, for
                # librdkafka's threads spin while five requests of a partition are on their way.
                "linger.ms": 50,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
            },
        )
        # Unconnected it may find no coordinator, and would look again half a second later.
        producer.list_topics(topics.positions.name, timeout=_TIMEOUT)
        producer.init_transactions(_TIMEOUT)
        marked = [topics.desired_consents.name, topics.positions.name]
        ends = set_marks(
            producer, [TopicPartition(topic, self.number) for topic in marked], within=_TIMEOUT
        )
        origin = clients.origin()
        end = ends[topics.desired_consents.name]
        self._catch_up(origin, end)
        self.next_offsets = self._resume(self._stored(ends[topics.positions.name]), origin)
        self._acquisition = _Acquisition(producer, origin, max(end, self.state.position))

    def _catch_up(self, origin: Positions, end: int) -> None:
        """Read ``desired-consents`` from the state's position to ``end``."""
        self.state.open(f"{origin.cluster_id}/{origin.desired_consents_topic_id}")
        if self.state.position > end:
            _log.warning("state discarded", partition=self.number, why="it is ahead of its topic")
            self.state.clear()
        self._changelog.read(self.state, self._topics.desired_consents.name, end)

    def _stored(self, end: int) -> Positions | None:
        """Return the last committed positions below ``end``."""
        clients = self._clients
        topic = self._topics.positions.name
        reader = BoundedReader(clients.settings, f"{clients.group}-positions", topic)
        try:
            found = latest_positions(reader, self._codec, {self.number: end})
        finally:
            reader.close()
        return found.get(self.number)

    def _resume(self, stored: Positions | None, origin: Positions) -> dict[str, int]:
        """Return the next offset of each lane.

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
            offset = 0
            if stored is not None and stored.logs(self._topics)[lane] == logs[lane]:
                offset = stored.offsets(self._topics)[lane]
                if offset < earliest:
                    self._alert("retention removed undecided records", lane, offset, earliest)
            elif stored is not None or len(self.state):
                why = "topic recreated" if stored is not None else "positions not found"
                self._alert(why, lane, offset, earliest)
            if offset > end:
                raise PositionAheadError(lane, self.number, offset, end)
            found[lane] = max(offset, earliest)
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
            # Its destruction waits for its own threads, and no other partition may wait for it.
            last = [acquisition.producer]
            acquisition.producer = _DROPPED
            threading.Thread(target=last.clear, name="release", daemon=True).start()

    def write(self, effects: Effects) -> None:
        """Send the ``writes`` of ``effects``, in the transaction that the next :meth:`commit` ends,
        and clear them. Raises KafkaException.
        """
        acquisition = self._in_transaction()
        delivered = acquisition.delivered

        def deliver(_: KafkaError | None, message: Message) -> None:
            delivered.append(message.offset())

        acquisition.rows += produce_all(
            acquisition.producer.produce,
            effects.writes,
            self._topics.desired_consents.name,
            deliver,
        )
        effects.writes.clear()

    def _in_transaction(self) -> _Acquisition:
        """Return the acquisition, in a transaction."""
        acquisition = self._acquisition
        if acquisition is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "the partition is not acquired"))  # noqa: SLF001  # librdkafka's name for it
        if not acquisition.is_open:
            acquisition.producer.begin_transaction()
            acquisition.is_open, acquisition.rows = True, 0
            acquisition.delivered.clear()
        return acquisition

    async def commit(
        self,
        effects: Effects,
        *,
        topic: str,
        next_offset: int,
        is_assigned: Callable[[], bool] = lambda: True,
    ) -> None:
        """Write the rest of ``effects`` and the position in ``topic``, end the transaction, then
        change the state.

        Raises KafkaException when the outcome is not a certain commit; the partition must then be
        acquired again before anything else is decided on it.
        """
        acquisition = self._in_transaction()
        self.write(effects)
        await repartition(self._clients.repartition_producer, effects.repartitioned)
        offsets = {**self.next_offsets, topic: next_offset}
        acquisition.producer.produce(
            self._topics.positions.name,
            acquisition.origin.at(self._topics, offsets).encode(self._codec),
            key_of(self.number),
            self.number,
        )
        await commit_transaction(acquisition.producer, is_assigned)
        acquisition.is_open = False
        self.next_offsets = offsets
        if acquisition.rows:
            self._apply(acquisition, effects.changes)

    def _apply(self, acquisition: _Acquisition, changes: Mapping[bytes, bytes]) -> None:
        """Apply the ``changes`` that the rows of the transaction made."""
        last = acquisition.next_row + acquisition.rows - 1
        if acquisition.delivered[-1:] == [last]:
            self.state.apply(changes, last + 1)
            acquisition.next_row = last + 2  # the transaction's marker lies between
        else:
            _log.warning("foreign row found in desired-consents", partition=self.number)
            self.state.apply(changes, self.state.position)
            self.release()
