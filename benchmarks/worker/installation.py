"""An installation to measure: its own topics, on a broker of our own or on one that is given."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from benchmarks.order.trials import delete
from izin.local import Kafka
from izin.runtime.kafka import ensure_topics
from izin.runtime.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ALMOST_NOTHING = 2
"""Of what librdkafka says; a worker that ends breaks connections."""


@contextmanager
def installation(
    folder: Path, *, partitions: int, given: str | None = None
) -> Iterator[KafkaSettings]:
    """Give an installation with its topics made, under a prefix that nobody else has; they are
    deleted from a ``given`` broker, and a broker of our own ends with them.
    """
    if given is None:
        with Kafka(folder, heap="1g", java_options=()) as broker:
            yield _made(broker.bootstrap_servers, partitions)
        return
    settings = _made(given, partitions)
    try:
        yield settings
    finally:
        delete(settings, {topic.name for topic in settings.topics})


def empty(settings: KafkaSettings) -> None:
    """Make every topic anew but the lane that holds the events; raises KafkaException."""
    lane = settings.topics.events.name
    delete(settings, {topic.name for topic in settings.topics} - {lane})
    ensure_topics(settings)


def _made(bootstrap_servers: str, partitions: int) -> KafkaSettings:
    settings = KafkaSettings(
        bootstrap_servers=bootstrap_servers,
        registry_url=None,
        topic_prefix=f"bench-{uuid4().hex[:8]}-",
        partitions=partitions,
        client_log_level=_ALMOST_NOTHING,
    )
    ensure_topics(settings)
    return settings
