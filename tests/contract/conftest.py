"""Topics on the real broker."""

from collections.abc import Callable

import pytest

from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics


@pytest.fixture
def kafka_house(kafka: str, topic_prefix: str) -> Callable[[int], KafkaSettings]:
    """Give a maker of settings whose topics exist, with so many partitions."""

    def make(partitions: int) -> KafkaSettings:
        settings = KafkaSettings(
            bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=partitions
        )
        ensure_topics(settings)
        return settings

    return make
