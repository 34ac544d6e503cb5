"""The benchmark of a rebuild, small: its events, what it compares, and what it counts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.replay.events import events, publish
from benchmarks.replay.rebuild import figures, measure
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from tests.support.order.harness import decide_all

pytestmark = pytest.mark.broker


def test_rebuild_of_the_benchmark_is_identical(
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path
):
    """Every key is there, nothing is written, and a row that somebody changes is noticed."""
    settings = make_settings(2)
    assert publish(settings, events(600, 100)) == 0
    decide_all(settings)
    found = measure(settings, tmp_path, workers=1)
    assert (found.events, found.keys, found.different, found.written) == (600, 100, 0, 0)
    assert figures(found)["replay"] == found.per_worker > 0
    topic = settings.topics.desired_consents.name
    producer = kafka.producer(settings)
    producer.produce(topic, b"no row", b"600001/MESAJ/BIREYSEL/+905000000001", 0)
    assert producer.flush(10) == 0
    (tmp_path / "plan.json").unlink()
    for one in (tmp_path / "plan.json.work").iterdir():
        one.unlink()
    assert measure(settings, tmp_path, workers=1).different == 1
