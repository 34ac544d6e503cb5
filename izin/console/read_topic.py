"""Read a topic from beginning to end, as any subscriber would."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from izin.runtime import kafka
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topic

_BATCH = 5000
_WAIT = 0.1
_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecord:
    """One record of a topic."""

    key: str
    partition: int
    offset: int
    value: dict[str, Any]


def read_all(settings: KafkaSettings, codec: Codec, topic: Topic) -> Iterator[TopicRecord]:
    """Yield every committed record of ``topic``, each partition in its order.

    Raises:
        BrokerError: There is no such topic, or Kafka cannot be read.
    """
    reader = kafka.consumer(settings, "izin-console-reader", **{"enable.partition.eof": True})
    try:
        with kafka.broker_errors(settings):
            # A client that only consumes waits silently for a broker that is away.
            topics = reader.list_topics(topic.name, timeout=_TIMEOUT).topics
            found = topics[topic.name].partitions
            if not found:
                raise BrokerError(
                    f"topic {topic.name} does not exist; run: izin up, or izin doctor --fix"
                )
            reader.assign([TopicPartition(topic.name, one, OFFSET_BEGINNING) for one in found])
            open_ends = set(found)
            while open_ends:
                for message in reader.consume(_BATCH, _WAIT):
                    error = message.error()
                    if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name for it
                        open_ends.discard(message.partition())
                    elif error is not None:
                        raise KafkaException(error)
                    elif (one := record_of(message, codec, topic)) is not None:
                        yield one
    finally:
        reader.close()


def record_of(message: Message, codec: Codec, topic: Topic) -> TopicRecord | None:
    """Return the record of a message of ``topic``, None for a deletion."""
    value = message.value()
    if value is None:
        return None
    return TopicRecord(
        key=(message.key() or b"").decode(errors="replace"),
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        value=codec.decode(topic.record, value),
    )
