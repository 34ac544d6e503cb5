"""Topics under a prefix of their own, and what they hold."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from izin.producers.publishing.publisher import KafkaPublisher, KafkaRecord
from izin.runtime.kafka import access_of, committed_ends, consumer
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from izin.schemas.codec import Codec
from tests.support.builders import NOON


@pytest.fixture
def settings(kafka: str, topic_prefix: str) -> KafkaSettings:
    found = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=3)
    ensure_topics(found)
    return found


@pytest.fixture
def publisher(settings: KafkaSettings) -> Iterator[KafkaPublisher]:
    with KafkaPublisher(
        access_of(settings), Codec(), clock=lambda: NOON + timedelta(hours=1)
    ) as one:
        yield one


@pytest.fixture
def written(settings: KafkaSettings) -> Callable[[], Sequence[KafkaRecord]]:
    """Return all records of both lanes, by the broker's time."""

    def written() -> Sequence[KafkaRecord]:
        found = []
        for topic in (settings.topics.events, settings.topics.express):
            ends = committed_ends(settings, topic.name)
            client = consumer(settings, "test")
            client.assign([TopicPartition(topic.name, one, OFFSET_BEGINNING) for one in ends])
            for _ in range(sum(ends.values())):
                message = client.poll(20)
                assert message is not None
                assert message.error() is None
                one = KafkaRecord(
                    topic=topic.name,
                    key=message.key() or b"",
                    value=message.value() or b"",
                    headers=message.headers() or [],
                )
                found.append((message.timestamp()[1], message.offset(), one))
            client.close()
        return [one for _, _, one in sorted(found, key=lambda each: each[:2])]

    return written
