"""Topics under a prefix of their own, and what they hold."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest

from izin.kafka.clients import access_of, ensure_topics
from izin.producers.publishing.publisher import KafkaPublisher, KafkaRecord
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import NOON
from tests.support.order.verdict import committed_records


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
        found = [
            message
            for topic in (settings.topics.events, settings.topics.express)
            for message in committed_records(settings, topic.name)
        ]
        return [
            KafkaRecord(
                topic=str(message.topic()),
                key=message.key() or b"",
                value=message.value() or b"",
                headers=message.headers() or [],
            )
            for message in sorted(found, key=lambda one: (one.timestamp()[1], one.offset()))
        ]

    return written
