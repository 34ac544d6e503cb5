"""A worker whose broker is slow holds a few batches, however many wait."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from tests.support.order.workers import Worker, until

BATCH = 100
BATCHES = 200
"""That wait in the topic."""
BOUND = 5
"""Batches that may be held: the one in hand, the one that waits, and a few on their way; far from
all that wait."""


@pytest.fixture
def stuck(make_settings: Callable[[int], KafkaSettings], tmp_path: Path) -> Iterator[Worker]:
    settings = make_settings(1)
    producer = kafka.producer(settings)
    for number in range(BATCH * BATCHES):
        producer.produce(settings.topics.events.name, value=f"{number}", partition=0)
    assert producer.flush(20) == 0
    worker = Worker(
        "stuck",
        settings,
        tmp_path / "stuck.log",
        module="tests.integration.streams.stuck_worker",
        environment={"IZIN_MAX_POLL_RECORDS": str(BATCH)},
    )
    yield worker
    worker.kill()


def brought(worker: Worker) -> int:
    log = worker.log.read_text(encoding="utf-8", errors="replace")
    return sum(map(int, re.findall(r"brought (\d+)$", log, re.MULTILINE)))


@pytest.mark.broker
def test_records_fetched_ahead_are_bounded(stuck: Worker) -> None:
    """The rest stays at the broker, and the worker still answers, and ends on a signal."""
    until(lambda: brought(stuck) >= 2 * BATCH, within=60, what="batch that waits")
    looks: list[int] = []

    def at_rest() -> bool:
        looks.append(brought(stuck))
        return len(looks) > 40 and len(set(looks[-40:])) == 1

    until(at_rest, within=60, what="end of the fetching")
    assert brought(stuck) <= BOUND * BATCH
    assert stuck.health()["assigned"] == [0]
    stuck.send(signal.SIGTERM)
    stuck.process.wait(30)
