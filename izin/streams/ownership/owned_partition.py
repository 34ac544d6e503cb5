"""One partition number, owned: its transactional producer, its state, and where its lanes stand.

Exactly once rests on this sequence, taken on every assignment and after every abort whatever its
cause:

1. a new producer, ``init_transactions``: whoever held the transactional id before is fenced, and
   what it left open is completed or aborted;
2. marks are set, which no broker of the past can know (see ``mark``);
3. the group's committed offsets are read until they hold the mark: records below them were decided;
4. rows of ``desired-consents`` are read up to the mark, which lies behind all that was ever committed;
5. only then is anything decided.

State may be kept while another worker owns the partition and caught up by the difference. The
producer and the claim that the state is fresh may not: an expired transactional id comes back
silently with a new producer id over a stale state.

The state's place in ``desired-consents`` moves with each commit, for nobody else writes there: our rows
follow one another with a transaction marker between. Where they do not, somebody erased a key by a
tombstone; the place stays, and the partition is taken again to read it.

A batch is one transaction: the outputs and the input offset. The offset rides with the metadata of
a consumer that never subscribed, of the same group: the broker takes it beside the running group,
and refuses a zombie's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from confluent_kafka import (
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

from izin.runtime import kafka
from izin.runtime.observe import get_logger
from izin.streams.ownership.changelog import Changelog
from izin.streams.ownership.mark import set_marks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka import Message

    from izin.schemas.codec import Codec
    from izin.streams.ownership.effects import Effects
    from izin.streams.ownership.positions import Connections
    from izin.streams.state.state import State

_TIMEOUT = 20.0
_COMMIT_TIMEOUT = 6.0
"""A batch may need it three times (re-file, offset, commit) on the event loop, and must be done
before the watchdog takes the loop for dead."""
_ANYWHERE = -1
"""librdkafka's own choice of partition."""

_log = get_logger(__name__)


class OwnedPartition:
    """A partition number that this worker owns, or owned and may own again."""

    def __init__(
        self, number: int, *, connections: Connections, codec: Codec, state: State
    ) -> None:
        self.number = number
        self.state = state
        self.lock = asyncio.Lock()
        """Both lanes' agents come here; one batch at a time."""
        self.generation: int | None = None
        """The assignment under which it was acquired; None: not to be decided upon."""
        self.next_offsets: dict[str, int] = {}
        """By lane topic: the offset below which everything is decided."""
        self._connections = connections
        self._changelog = Changelog(number, connections.settings, connections.group, codec)
        self._producer: Producer | None = None
        self._is_open = False
        self._rows = 0
        """Of the open transaction, how many; and where the last of each helping landed."""
        self._landed: list[int | None] = []
        self._next_row = 0
        """The offset in ``desired-consents`` where our next row lands if nobody else writes there."""

    def acquire(self) -> None:
        """Take the partition: fence, read offsets, catch up. Blocks: run it in a thread.

        Raises KafkaException, and StateError if ``desired-consents`` cannot be honoured.
        """
        self.release()
        settings = self._connections.settings
        producer = kafka.producer(
            settings,
            **{
                "transactional.id": f"{self._connections.group}-{self.number}",
                "transaction.timeout.ms": 10000,
                "retry.backoff.ms": 10,
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
            },
        )
        producer.init_transactions(_TIMEOUT)
        consents = TopicPartition(
            self._connections.settings.topics.desired_consents.name, self.number
        )
        end = set_marks(producer, self._connections.offsets, consents, within=_TIMEOUT)
        self.next_offsets = self._committed(consents, end)
        self._catch_up(consents.topic, end)
        self._producer = producer

    def release(self) -> None:
        """Drop the producer; what it had not committed is aborted by the next owner."""
        self.generation = None
        self._is_open = False
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()

    def write(self, effects: Effects) -> None:
        """Send what ``effects`` hold to be written on its way, in the transaction that the next
        :meth:`commit` ends; they hold it no longer. Raises KafkaException.
        """
        producer = self._opened()
        consents = self._connections.settings.topics.desired_consents.name
        rows = [write for write in effects.writes if write.topic == consents]
        last_row = rows[-1] if rows else None
        self._rows += len(rows)
        for write in effects.writes:
            topic, partition, key, value, headers = write
            producer.produce(
                topic,
                value,
                key,
                _ANYWHERE if partition is None else partition,
                self._land if write is last_row else None,
                headers=headers,
            )
        effects.writes.clear()

    def _opened(self) -> Producer:
        """Return the producer, in a transaction."""
        producer = self._producer
        if producer is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "the partition is not held"))  # noqa: SLF001  # librdkafka's name for it
        if not self._is_open:
            producer.begin_transaction()
            self._is_open, self._rows, self._landed = True, 0, []
        return producer

    def _land(self, _: KafkaError | None, message: Message) -> None:
        self._landed.append(message.offset())

    def commit(self, effects: Effects, *, topic: str, next_offset: int) -> None:
        """Write what is left of ``effects`` and the offset of ``topic``, end the transaction, then
        change the state.

        Raises KafkaException when the outcome is not a certain commit; the partition must then be
        acquired again before anything else is decided on it.
        """
        producer = self._opened()
        self.write(effects)
        self._refile(effects)
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, self.number, next_offset)],
            self._connections.offsets.consumer_group_metadata(),
            _COMMIT_TIMEOUT,
        )
        producer.commit_transaction(_COMMIT_TIMEOUT)
        self._is_open = False
        self.next_offsets[topic] = next_offset
        if self._rows:
            self._apply(effects.changes)

    def _apply(self, changes: Mapping[bytes, bytes]) -> None:
        """Hold the ``changes`` that the rows of the transaction told."""
        last = self._next_row + self._rows - 1
        if self._landed[-1:] == [last]:
            self.state.hold(changes, last + 1)
            self._next_row = last + 2  # the transaction's marker lies between
        else:
            _log.warning("somebody else writes desired-consents", partition=self.number)
            self.state.hold(changes, self.state.position)
            self.release()

    def _refile(self, effects: Effects) -> None:
        """Write what belongs elsewhere, and wait: the offset may pass it only once it is safe
        there.
        """
        if not effects.refiles:
            return
        failures: list[KafkaError] = []
        refiler = self._connections.refiler
        for one in effects.refiles:
            refiler.produce(
                one.topic,
                partition=one.partition,
                key=one.key,
                value=one.value,
                headers=one.headers,
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
        if refiler.flush(_COMMIT_TIMEOUT) or failures:
            first = failures[0] if failures else KafkaError(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001  # librdkafka's name for it
            raise KafkaException(first)

    def _committed(self, marked: TopicPartition, mark: int) -> dict[str, int]:
        """Return where each lane stands; says so loudly if retention took undecided records."""
        topics = self._connections.settings.topics
        lanes = [TopicPartition(lane.name, self.number) for lane in (topics.events, topics.express)]
        earliest = self._connections.earliest(lanes)
        found = {}
        for lane in self._connections.committed(lanes, marked, mark):
            first = earliest[lane.topic]
            if 0 <= lane.offset < first:
                _log.critical(
                    "retention removed records that were never decided",
                    topic=lane.topic,
                    partition=self.number,
                    committed=lane.offset,
                    earliest=first,
                )
            found[lane.topic] = max(lane.offset, first)
        return found

    def _catch_up(self, consents: str, end: int) -> None:
        """Read ``desired-consents`` from where the state stands to ``end``."""
        self.state.open(self._connections.home(consents))
        if self.state.position > end:
            _log.warning(
                "the state is ahead of its topic; reading all of it", partition=self.number
            )
            self.state.clear()
        self._changelog.read(self.state, consents, end)
        self._next_row = max(end, self.state.position)
