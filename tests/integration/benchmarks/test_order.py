"""A lap of the order race on the real broker."""

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from benchmarks.__main__ import app
from tests.streams.workers import until

pytestmark = pytest.mark.broker

NAMES = ("pass-through", "izin-latest-wins", "izin")


def test_a_short_race_is_run_and_kept(kafka: str, tmp_path: Path):
    """Runners start, come through, and are gone; what they did is in the table and the JSON."""
    kept = tmp_path / "order.json"
    field = [word for name in NAMES for word in ("--only", name)]
    course = ["--events", "2000", "--recipients", "400", "--laps", "1", "--limit", "60"]
    words = ["order", *field, *course, "--bootstrap-servers", kafka, "--results", str(kept)]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output
    told = json.loads(kept.read_text())
    assert [one["name"] for one in told["runners"]] == [
        "librdkafka pass-through",
        "izin, the peers' work",
        "izin, everything on",
    ]
    assert all(one["events_per_second"]["median"] > 0 for one in told["runners"])
    assert told["absent"] == told["failed"] == {}
    admin = AdminClient({"bootstrap.servers": kafka})
    until(
        lambda: not [name for name in admin.list_topics(timeout=10).topics if "bench-" in name],
        within=20,
        what="broker without the topics of the race",
    )


def test_a_runner_that_ends_is_told_and_fails_the_race(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A runner that dies is no runner with a good time."""
    monkeypatch.setattr("benchmarks.order.contenders.registry.sys.executable", "/bin/false")
    kept = tmp_path / "order.json"
    words = ["order", "--only", "pass-through", "--events", "1000", "--laps", "1"]
    ran = CliRunner().invoke(app, [*words, "--bootstrap-servers", kafka, "--results", str(kept)])
    assert ran.exit_code == 1, ran.output
    assert "it ended with 1" in json.loads(kept.read_text())["failed"]["librdkafka pass-through"]
