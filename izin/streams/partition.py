"""One partition number, owned: its transactional producer, its state, and where its lanes stand.

Exactly once rests on this sequence, taken on every assignment and after every abort whatever its
cause:

1. a new producer, ``init_transactions``: whoever held the transactional id before is fenced, and
   what it left open is completed or aborted;
2. marks are set, which no broker of the past can know (see ``mark``);
3. the group's committed offsets are read until they hold the mark: records below them were decided;
4. rows of ``consents`` are read up to the mark, which lies behind all that was ever committed;
5. only then is anything decided.

State may be kept while another worker owns the partition and caught up by the difference. The
producer and the claim that the state is fresh may not: an expired transactional id comes back
silently with a new producer id over a stale state.

A batch is one transaction: the outputs and the input offset. The offset rides with the metadata of
a consumer that never subscribed, of the same group: the broker takes it beside the running group,
and refuses a zombie's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from confluent_kafka import (
    OFFSET_BEGINNING,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

from izin.consent.errors import SourceError
from izin.consent.model import LAW_VERSION
from izin.runtime import kafka
from izin.runtime.observe import get_logger
from izin.schemas.records import consent_from_avro
from izin.streams.errors import StateError
from izin.streams.mark import set_marks

if TYPE_CHECKING:
    from izin.consent.model import Consent
    from izin.schemas.codec import Codec
    from izin.streams.connections import Connections
    from izin.streams.order import Effects
    from izin.streams.state import State

_TIMEOUT = 20.0
_COMMIT_TIMEOUT = 6.0
"""A batch may need it three times (re-file, offset, commit) on the event loop, and must be done
before the watchdog takes the loop for dead."""
_READ_AT_ONCE = 5000
_READ_WITHIN = 0.1
"""librdkafka waits for all of ``_READ_AT_ONCE`` until then, even where the end was reached."""
_READ_WAIT = 0.05
"""librdkafka waits so long for a full helping, even at the end of the topic."""
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
        self._codec = codec
        self._producer: Producer | None = None

    def acquire(self) -> None:
        """Take the partition: fence, read offsets, catch up. Blocks: run it in a thread.

        Raises KafkaException, and StateError if ``consents`` cannot be honoured.
        """
        self.release()
        settings = self._connections.settings
        producer = kafka.producer(
            settings,
            **{
                "transactional.id": f"{self._connections.group}-{self.number}",
                "transaction.timeout.ms": 10000,
                "retry.backoff.ms": 10,
                "linger.ms": 1,
                "queue.buffering.max.messages": 1_000_000,
            },
        )
        producer.init_transactions(_TIMEOUT)
        consents = TopicPartition(self._connections.settings.topics.consents.name, self.number)
        end = set_marks(producer, self._connections.offsets, consents, within=_TIMEOUT)
        self.next_offsets = self._committed(consents, end)
        self._catch_up(consents.topic, end)
        self._producer = producer

    def release(self) -> None:
        """Drop the producer; what it had not committed is aborted by the next owner."""
        self.generation = None
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()

    def commit(self, effects: Effects, *, topic: str, next_offset: int) -> None:
        """Write ``effects`` and the offset of ``topic`` in one transaction, then change the state.

        Raises KafkaException when the outcome is not a certain commit; the partition must then be
        acquired again before anything else is decided on it.
        """
        producer = self._producer
        if producer is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "the partition is not held"))  # noqa: SLF001  # librdkafka's name for it
        self._refile(effects)
        producer.begin_transaction()
        for write in effects.writes:
            producer.produce(
                write.topic,
                key=write.key,
                value=write.value,
                headers=write.headers,
                partition=_ANYWHERE if write.partition is None else write.partition,
            )
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, self.number, next_offset)],
            self._connections.offsets.consumer_group_metadata(),
            _COMMIT_TIMEOUT,
        )
        producer.commit_transaction(_COMMIT_TIMEOUT)
        self.state.apply(effects.changes)
        self.next_offsets[topic] = next_offset

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
        """Read ``consents`` from where the state stands to ``end``."""
        if self.state.position > end:
            _log.warning(
                "the state is ahead of its topic; reading all of it", partition=self.number
            )
            self.state.clear()
        self._read_back(consents, end)

    def _read_back(self, topic: str, end: int) -> None:
        reader = kafka.consumer(
            self._connections.settings,
            f"{self._connections.group}-state",
            **{
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                # The end is told by an empty fetch, which the broker holds back for so long.
                "fetch.wait.max.ms": 10,
            },
        )
        try:
            start = self.state.position or OFFSET_BEGINNING
            reader.assign([TopicPartition(topic, self.number, start)])
            silent = 0.0
            while self.state.position < end:
                rows: dict[bytes, Consent | None] = {}
                position = self.state.position
                messages = reader.consume(_READ_AT_ONCE, _READ_WAIT)
                silent = 0.0 if messages else silent + _READ_WAIT
                if silent >= _TIMEOUT:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
                for message in messages:
                    error = message.error()
                    if error is None:
                        offset = message.offset() or 0
                        rows[message.key() or b""] = self._row(message.value(), offset)
                        position = offset + 1
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name for it
                        # Transaction markers and compaction leave offsets that no record has.
                        position = max(position, message.offset() or 0)
                    elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # the same
                        _log.warning(
                            "the state's place is gone; reading all of it", partition=self.number
                        )
                        self.state.clear()
                        rows, position = {}, 0
                        reader.assign([TopicPartition(topic, self.number, OFFSET_BEGINNING)])
                    else:
                        raise KafkaException(error)
                self.state.restore(rows, position)
        finally:
            reader.close()

    def _row(self, value: bytes | None, offset: int) -> Consent | None:
        if value is None:
            return None
        try:
            consent = consent_from_avro(self._codec.decode("Consent", value))
        except (SourceError, ValueError) as error:
            raise StateError(f"consents[{self.number}]@{offset} is no state of ours") from error
        if consent.law_version > LAW_VERSION:
            raise StateError(
                f"consents[{self.number}]@{offset} was decided by law version "
                f"{consent.law_version}, this release knows {LAW_VERSION}; start the newer release"
            )
        return consent
