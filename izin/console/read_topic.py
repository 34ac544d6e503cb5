"""What the topics tell, read from beginning to end as any subscriber would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from izin.runtime import kafka

if TYPE_CHECKING:
    from collections.abc import Iterator

    from izin.runtime.settings import KafkaSettings
    from izin.schemas.codec import Codec
    from izin.schemas.topics import Topic

_AT_ONCE = 5000
_WAIT = 0.1
_TIMEOUT = 15.0

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One record of a topic."""

    key: str
    partition: int
    offset: int
    value: Record


def read_all(settings: KafkaSettings, codec: Codec, topic: Topic) -> Iterator[Told]:
    """Yield every committed record of ``topic``, each partition in its order.

    Raises BrokerError where there is no such topic, for its ends would never be reached.
    """
    reader = kafka.consumer(settings, "izin-console-reader", **{"enable.partition.eof": True})
    try:
        # A client that only consumes waits in silence for a broker that is away.
        found = reader.list_topics(topic.name, timeout=_TIMEOUT).topics[topic.name].partitions
        if not found:
            raise kafka.BrokerError(
                f"topic {topic.name} does not exist; run: izin up, or izin doctor --fix"
            )
        reader.assign([TopicPartition(topic.name, number, OFFSET_BEGINNING) for number in found])
        open_ends = set(found)
        while open_ends:
            for message in reader.consume(_AT_ONCE, _WAIT):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name for it
                    open_ends.discard(message.partition())
                elif error is not None:
                    raise KafkaException(error)
                elif (value := message.value()) is not None:
                    yield Told(
                        key=(message.key() or b"").decode(errors="replace"),
                        partition=message.partition() or 0,
                        offset=message.offset() or 0,
                        value=codec.decode(topic.record, value),
                    )
    finally:
        reader.close()
