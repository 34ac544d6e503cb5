"""Topics of a broker that tests share: written to, cut and deleted as others do it."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from izin.runtime.kafka import admin, producer
from izin.runtime.settings import KafkaSettings
from tests.support.waiting import until


def produce(settings: KafkaSettings, topic: str, *values: bytes | None, **more: Any) -> None:  # noqa: ANN401  # a producer's
    """Write ``values``, each with the same key, partition or headers; wait for the broker."""
    client = producer(settings)
    for value in values:
        client.produce(topic, value=value, **more)
    assert client.flush(20) == 0


def remove_below(settings: KafkaSettings, topic: str, ends: Mapping[int, int]) -> None:
    """Remove the records below an offset of each partition, as retention does."""
    client = admin(settings)  # gone, it would take the answer with it
    places = [TopicPartition(topic, number, end) for number, end in ends.items()]
    for removed in client.delete_records(places).values():
        removed.result(20)


def delete_topics(settings: KafkaSettings, *some: str) -> None:
    """Delete our topics, or ``some`` of them; return once the broker has them no more."""
    client = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    names = [*some] or [one.name for one in settings.topics]
    for deleted in client.delete_topics(names).values():
        deleted.result(20)
    until(lambda: not set(names) & set(client.list_topics(timeout=10).topics))
