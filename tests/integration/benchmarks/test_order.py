"""A trial of the order comparison on the real broker."""

import json
import re
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.order.command import order
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
