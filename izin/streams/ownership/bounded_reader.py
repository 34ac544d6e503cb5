"""Read the committed records of partitions up to given offsets."""

from collections.abc import Iterator, Mapping, Sequence

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from izin.consent.errors import OurError
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings

_TIMEOUT = 10.0
_RECORDS_AT_ONCE = 1000
_AHEAD_KB = 4096
_WAIT = 0.05
"""How long librdkafka waits for a full batch, even at the end of the topic."""


class OffsetGoneError(OurError):
    """The topic has neither a record at the offset to start from nor one before it."""


class BoundedReader:
    """Reads partitions of ``topic``; to be closed."""

    def __init__(self, settings: KafkaSettings, group: str, topic: str) -> None:
        self.positions: dict[int, int] = {}
        """By partition: the offset below which all was read."""
        self._topic = topic
        self._consumer = kafka.consumer(
            settings,
            group,
            **{
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                # Only an empty fetch shows the end, and the broker holds it back for so long.
                "fetch.wait.max.ms": 10,
                # Many partitions are read at once, and each would fetch 64 MB ahead.
                "queued.max.messages.kbytes": _AHEAD_KB,
                # Else it would fetch no further for a second once it is so far ahead.
                "fetch.queue.backoff.ms": 5,
            },
        )

    def ends(self) -> Mapping[int, int]:
        """Return the last stable offset of each partition. Raises KafkaException."""
        return kafka.ends_seen_by(self._consumer, self._topic)

    def read(
        self, starts: Mapping[int, int], ends: Mapping[int, int]
    ) -> Iterator[Sequence[Message]]:
        """Yield the records of the partitions of ``starts``, each from there (0: the earliest) up
        to its end, some at a time.

        Raises OffsetGoneError, and KafkaException where nothing came in time.
        """
        self.positions = dict(starts)
        self._consumer.assign(
            [
                TopicPartition(self._topic, number, start or OFFSET_BEGINNING)
                for number, start in starts.items()
            ]
        )
        idle = 0.0
        while any(position < ends[number] for number, position in self.positions.items()):
            messages = self._consumer.consume(_RECORDS_AT_ONCE, _WAIT)
            idle = 0.0 if messages else idle + _WAIT
            if idle >= _TIMEOUT:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
            yield [one for one in messages if self._is_record(one)]

    def _is_record(self, message: Message) -> bool:
        """Return whether ``message`` is a record. An end moves the position too: transaction
        markers and compaction leave offsets that no record has.
        """
        error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
        if error is None:
            self.positions[number] = offset + 1
            return True
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name for it
            self.positions[number] = max(self.positions[number], offset)
            return False
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # the same
            raise OffsetGoneError
        raise KafkaException(error)

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()
