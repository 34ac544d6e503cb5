"""Topics on the real broker, their owners and workers, all gone with the test."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings
from tests.support.order.harness import OrderHarness
from tests.support.order.verdict import Worker


@pytest.fixture
async def harness(make_settings: Callable[[int], KafkaSettings]) -> AsyncIterator[OrderHarness]:
    """Yield topics of one partition, with ten events to decide."""
    harness = OrderHarness(make_settings(1))
    harness.publish(10)
    yield harness
    await harness.close()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[[str, KafkaSettings], Worker]]:
    """Yield a starter of worker processes; whatever still runs is killed at the end."""
    started: list[Worker] = []

    def start(name: str, settings: KafkaSettings) -> Worker:
        worker = Worker(name, settings, tmp_path / f"{name}.log")
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
