"""Topics under a prefix of their own, and a writer of what subscribers read."""

from collections.abc import Callable

import pytest

from izin.kafka.access import KafkaAccess
from izin.runtime.settings import KafkaSettings
from tests.support.published import TopicWriter


@pytest.fixture
def settings(make_settings: Callable[[int], KafkaSettings]) -> KafkaSettings:
    return make_settings(3)


@pytest.fixture
def access(settings: KafkaSettings) -> KafkaAccess:
    return KafkaAccess(
        bootstrap_servers=settings.bootstrap_servers, topic_prefix=settings.topic_prefix
    )


@pytest.fixture
def writer(settings: KafkaSettings) -> TopicWriter:
    return TopicWriter(settings)
