"""Read a topic from beginning to end, as any subscriber would."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from izin.kafka.bounded_reader import BoundedReader
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topic


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
    with (
        kafka.broker_errors(settings),
        closing(BoundedReader(settings, "izin-console-reader", topic.name)) as reader,
    ):
        for messages in reader.every():
            for message in messages:
                if (one := record_of(message, codec, topic)) is not None:
                    yield one


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
