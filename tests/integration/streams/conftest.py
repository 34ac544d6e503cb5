"""Topics on the real broker, their owners and workers, all gone with the test."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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
def start_worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Yield a starter of worker processes, a log each; whatever still runs is killed at the end."""
    with ExitStack() as stack:

        def start(name: str, settings: KafkaSettings, *, log: str = "", **more: Any) -> Worker:  # noqa: ANN401  # as Worker has them
            worker = Worker(name, settings, tmp_path / f"{log or name}.log", **more)
            return stack.enter_context(worker)

        yield start
