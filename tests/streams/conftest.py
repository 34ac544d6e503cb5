"""A house of topics on the real broker, and workers that end with the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from izin.schemas.codec import Codec
from tests.streams.workers import Worker


@pytest.fixture(scope="session")
def codec() -> Codec:
    """Give the codec that needs no registry."""
    return Codec()


@pytest.fixture
def make_settings(kafka: str, topic_prefix: str) -> Callable[[int], KafkaSettings]:
    """Give a maker of settings whose topics exist, with so many partitions."""

    def make(partitions: int) -> KafkaSettings:
        settings = KafkaSettings(
            bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=partitions
        )
        ensure_topics(settings)
        return settings

    return make


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[[str, KafkaSettings], Worker]]:
    """Give a starter of worker processes; whatever still runs is killed at the end."""
    started: list[Worker] = []

    def start(name: str, settings: KafkaSettings) -> Worker:
        worker = Worker(name, settings, tmp_path / f"{name}.log")
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
