"""One partition number, owned: its transactional producer, its state, and its lanes' offsets.

Exactly once rests on this sequence, run on every assignment and after every abort whatever its
cause:

1. a new producer, ``init_transactions``: the former owner of the transactional id is fenced, and
   its open transaction is completed or aborted;
2. markers are written, which no former leader can know (see ``mark``);
3. the group's committed offsets are read until they have the marker: records below were decided;
4. rows of ``desired-consents`` are read up to the marker, which comes after everything
   committed before;
5. only then is anything decided.

The state may be retained while another worker owns the partition, and caught up later. The producer
and the assumption that the state is fresh may not: an expired transactional id comes back silently
with a new producer id over an outdated state.

The state's position in ``desired-consents`` moves with each commit, because this worker is the only
writer: its rows are contiguous but for transaction markers. Where they are not, somebody erased a
key by a tombstone; the position stays, and the partition is acquired again to read it.

A batch is one transaction: the outputs and the input offset. The offset rides with the metadata of
a consumer that never subscribed, of the same group: the broker takes it beside the running group,
and refuses a fenced worker's.
"""

import asyncio
from collections.abc import Mapping

from confluent_kafka import (
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from izin.runtime import kafka
from izin.runtime.observe import get_logger
from izin.schemas.codec import Codec
from izin.streams.ownership.changelog import Changelog
from izin.streams.ownership.effects import Effects
from izin.streams.ownership.mark import set_marks
from izin.streams.ownership.shared_clients import SharedClients
from izin.streams.state.state import PartitionState

_TIMEOUT = 20.0
_COMMIT_TIMEOUT = 6.0
"""A batch may need it three times (repartition, offset, commit) on the event loop, and must be done
before the watchdog takes the loop for dead."""
_ANY_PARTITION = -1
"""Leaves the choice of the partition to librdkafka."""

_log = get_logger(__name__)


class OwnedPartition:
    """A partition number that this worker owns, or owned and may own again."""

    def __init__(
        self, number: int, *, clients: SharedClients, codec: Codec, state: PartitionState
    ) -> None:
        self.number = number
        self.state = state
        self.lock = asyncio.Lock()
        """Taken by both lanes' agents; one batch at a time."""
        self.generation: int | None = None
        """The assignment under which it was acquired; None: not to be decided upon."""
        self.next_offsets: dict[str, int] = {}
        """By lane topic: the offset below which everything is decided."""
        self._clients = clients
        self._topics = clients.settings.topics
        self._changelog = Changelog(number, clients.settings, clients.group, codec)
        self._producer: Producer | None = None
        self._is_open = False
        self._rows = 0
        """How many rows the open transaction has; ``_delivered``: the offset of the last of each
        :meth:`write`."""
        self._delivered: list[int | None] = []
        self._next_row = 0
        """The offset in ``desired-consents`` of our next row, without another writer."""

    def acquire(self) -> None:
        """Acquire the partition: fence, read offsets, catch up. Blocks: run it in a thread.

        Raises KafkaException, and StateError if ``desired-consents`` cannot be used.
        """
        self.release()
        producer = kafka.producer(
            self._clients.settings,
            **{
                "transactional.id": f"{self._clients.group}-{self.number}",
                "transaction.timeout.ms": 10000,
                "retry.backoff.ms": 10,
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
            },
        )
        producer.init_transactions(_TIMEOUT)
        rows = TopicPartition(self._topics.desired_consents.name, self.number)
        end = set_marks(producer, self._clients.offsets, rows, within=_TIMEOUT)
        self.next_offsets = self._committed(rows, end)
        self._catch_up(rows.topic, end)
        self._producer = producer

    def release(self) -> None:
        """Drop the producer; what it had not committed is aborted by the next owner."""
        self.generation = None
        self._is_open = False
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()

    def write(self, effects: Effects) -> None:
        """Send the ``writes`` of ``effects``, in the transaction that the next :meth:`commit` ends,
        and clear them. Raises KafkaException.
        """
        producer = self._in_transaction()
        topic_of_rows = self._topics.desired_consents.name
        rows = [write for write in effects.writes if write.topic == topic_of_rows]
        last_row = rows[-1] if rows else None
        self._rows += len(rows)
        for write in effects.writes:
            topic, partition, key, value, headers = write
            producer.produce(
                topic,
                value,
                key,
                _ANY_PARTITION if partition is None else partition,
                self._deliver if write is last_row else None,
                headers=headers,
            )
        effects.writes.clear()

    def _in_transaction(self) -> Producer:
        """Return the producer, in a transaction."""
        producer = self._producer
        if producer is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "the partition is not acquired"))  # noqa: SLF001  # librdkafka's name for it
        if not self._is_open:
            producer.begin_transaction()
            self._is_open, self._rows, self._delivered = True, 0, []
        return producer

    def _deliver(self, _: KafkaError | None, message: Message) -> None:
        self._delivered.append(message.offset())

    def commit(self, effects: Effects, *, topic: str, next_offset: int) -> None:
        """Write the rest of ``effects`` and the offset of ``topic``, end the transaction, then
        change the state.

        Raises KafkaException when the outcome is not a certain commit; the partition must then be
        acquired again before anything else is decided on it.
        """
        producer = self._in_transaction()
        self.write(effects)
        self._repartition(effects)
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, self.number, next_offset)],
            self._clients.offsets.consumer_group_metadata(),
            _COMMIT_TIMEOUT,
        )
        producer.commit_transaction(_COMMIT_TIMEOUT)
        self._is_open = False
        self.next_offsets[topic] = next_offset
        if self._rows:
            self._apply(effects.changes)

    def _apply(self, changes: Mapping[bytes, bytes]) -> None:
        """Apply the ``changes`` that the rows of the transaction made."""
        last = self._next_row + self._rows - 1
        if self._delivered[-1:] == [last]:
            self.state.apply(changes, last + 1)
            self._next_row = last + 2  # the transaction's marker lies between
        else:
            _log.warning("foreign row found in desired-consents", partition=self.number)
            self.state.apply(changes, self.state.position)
            self.release()

    def _repartition(self, effects: Effects) -> None:
        """Write what belongs to other partitions, and wait: the offset may pass it only once it is
        safe there.
        """
        if not effects.repartitioned:
            return
        failures: list[KafkaError] = []
        producer = self._clients.repartition_producer
        for topic, partition, key, value, headers in effects.repartitioned:
            producer.produce(
                topic,
                value,
                key,
                _ANY_PARTITION if partition is None else partition,
                lambda error, _: failures.append(error) if error else None,
                headers=headers,
            )
        if producer.flush(_COMMIT_TIMEOUT) or failures:
            first = failures[0] if failures else KafkaError(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001  # librdkafka's name for it
            raise KafkaException(first)

    def _committed(self, marked: TopicPartition, mark: int) -> dict[str, int]:
        """Return the offset of each lane; report it if retention removed undecided records."""
        lanes = [
            TopicPartition(lane.name, self.number)
            for lane in (self._topics.events, self._topics.express)
        ]
        earliest = self._clients.earliest(lanes)
        found = {}
        for lane in self._clients.committed(lanes, marked, mark):
            first = earliest[lane.topic]
            if 0 <= lane.offset < first:
                _log.critical(
                    "retention removed undecided records",
                    topic=lane.topic,
                    partition=self.number,
                    committed=lane.offset,
                    earliest=first,
                )
            found[lane.topic] = max(lane.offset, first)
        return found

    def _catch_up(self, topic: str, end: int) -> None:
        """Read ``topic`` from the state's position to ``end``."""
        self.state.open(self._clients.identity(topic))
        if self.state.position > end:
            _log.warning("state discarded", partition=self.number, why="it is ahead of its topic")
            self.state.clear()
        self._changelog.read(self.state, topic, end)
        self._next_row = max(end, self.state.position)
