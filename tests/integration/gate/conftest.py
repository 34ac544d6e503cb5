"""The topics of a gate."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from tests.support.published import PARTITIONS, GateTopics, key_of, publish_key
from tests.unit.gate.conftest import SENDER


@pytest.fixture(scope="module")
def topics(kafka: str) -> GateTopics:
    """Return topics in which two recipients may be sent to, and an API key."""
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=f"gate-{uuid4().hex[:8]}-", partitions=PARTITIONS
    )
    ensure_topics(settings)
    made = GateTopics(settings)
    made.brand()
    made.pulled(key_of(), datetime.now(UTC))
    made.permit(key_of(1), key_of(2))
    publish_key(settings, SENDER)
    return made
