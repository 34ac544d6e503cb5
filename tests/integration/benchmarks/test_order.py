"""A trial of the order comparison, and of the library, on the real broker."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.brands import register_brand
from benchmarks.order.command import order
from benchmarks.publisher import BARE, BRAND, CUSTOMER, LIBRARY, bare, library, speeds
from izin.kafka.clients import committed_ends, consumer
from izin.runtime.settings import KafkaSettings
from tests.support.order.verdict import until

pytestmark = pytest.mark.broker


def test_a_short_comparison_runs_and_leaves_no_topics(kafka: str):
    """Contenders start, finish, and are gone; their figures are reported."""
    found = order(
        contender=["pass-through", "izin-latest-wins", "izin"],
        events=2000,
        recipients=400,
        trials=1,
        limit=60,
        bootstrap_servers=kafka,
    )
    assert [one["name"] for one in found.data["contenders"]] == [
        "librdkafka pass-through",
        "izin, the same work",
        "izin, everything on",
    ]
    assert all(one["events_per_second"]["median"] > 0 for one in found.data["contenders"])
    assert all(one["readable_ms"]["p50"] > 0 for one in found.data["contenders"])
    assert found.data["absent"] == found.data["failed"] == {}
    assert found.figures["order-events"] > 0 < found.figures["order-cpu"]
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    # Other benchmarks may have topics on the broker too; these names are of a comparison alone.
    ours = re.compile("bench-[0-9a-f]+-(full|short|live)-")
    until(
        lambda: not [name for name in admin.list_topics(timeout=10).topics if ours.match(name)],
        within=20,
        what="broker without the topics of the comparison",
    )


def test_a_contender_that_ends_fails_the_comparison(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A contender that dies is no contender with a good time."""
    monkeypatch.setattr("benchmarks.order.contenders.registry.sys.executable", "/bin/false")
    file = tmp_path / "order.json"
    words = ["order", "--contender", "pass-through", "--events", "1000", "--trials", "1"]
    ran = CliRunner().invoke(app, [*words, "--bootstrap-servers", kafka, "--results", str(file)])
    assert ran.exit_code == 1, ran.output
    assert "it ended with 1" in json.loads(file.read_text())["failed"]["librdkafka pass-through"]


Record = tuple[str, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


def written(settings: KafkaSettings) -> list[Record]:
    """Return what both lanes hold: topic, partition, key, value and headers of each record."""
    found: list[Record] = []
    for topic in (settings.topics.events.name, settings.topics.express.name):
        ends = committed_ends(settings, topic)
        client = consumer(settings, "test")
        client.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in ends])
        for _ in range(sum(ends.values())):
            one = client.poll(20)
            assert one is not None
            headers = tuple(one.headers() or ())
            found.append((topic, one.partition() or 0, one.key(), one.value(), headers))
        client.close()
    return found


def test_contenders_write_the_same_records(make_settings: Callable[[int], KafkaSettings]):
    """Byte by byte: each is on its partition twice, or the ratio would compare different work."""
    settings = make_settings(3)
    register_brand(settings, BRAND, CUSTOMER)
    assert library(settings, 50) > 0
    assert bare(settings, 50) > 0
    counts = Counter(written(settings))
    # The library publishes the first event once more, before its time begins.
    assert sorted(counts.values()) == [2] * 49 + [3]


def test_speeds_are_measured_for_both(make_settings: Callable[[int], KafkaSettings]):
    """How they compare is for the bar to judge."""
    found = {one.name: one for one in speeds(make_settings(1), events=200, trials=1)}
    assert found.keys() == {LIBRARY, BARE}
    assert min(one.least for one in found.values()) > 0
