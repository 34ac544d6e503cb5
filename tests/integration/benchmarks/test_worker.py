"""The measurements of the order stage, each in small on the real broker."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.order.dataset import Course, Shape
from benchmarks.worker.poison import POISONS, PoisonedCourse
from benchmarks.worker.probe import Latency
from izin.schemas.codec import Codec, UndecodableError

BROKER = pytest.mark.broker
SMALL = ("--partitions", "1", "--recipients", "300", "--events", "1000")


def measured(kafka: str, kept: Path, *words: str) -> tuple[dict[str, object], str]:
    """Return the figures that a command kept, and what it printed."""
    given = ("--bootstrap-servers", kafka, "--results", str(kept))
    ran = CliRunner().invoke(app, [*words, *given])
    assert ran.exit_code == 0, ran.output
    return json.loads(kept.read_text()), ran.output


@BROKER
def test_latencies_are_measured(kafka: str, tmp_path: Path):
    """Every probe comes back on both outputs, idle and under a backlog, and is counted."""
    found, shown = measured(kafka, tmp_path / "one.json", "latency", "--probes", "20", *SMALL)
    names = [one["name"] for one in found["latencies"]]
    assert names == [
        f"{output}, {how}"
        for how in ("idle, bulk lane", "idle, express lane", "under the backlog, express lane")
        for output in ("consents", "consent-opt-outs")
    ]
    for one in found["latencies"]:
        assert one["probes"] >= 20
        assert 0 < one["p50"] <= one["p99"] <= one["most"]
    assert "p99, ms" in shown


@BROKER
def test_a_replay_gives_the_same_state(kafka: str, tmp_path: Path):
    """Three passes, one digest; the pass over what stands writes no row more."""
    found, shown = measured(kafka, tmp_path / "one.json", "replay", *SMALL)
    first, again, over = found["passes"]
    assert found["same"]
    assert "one state, byte for byte" in shown
    assert first["outcome"] == again["outcome"] == over["outcome"]
    assert first["outcome"]["rows"] > 300


@BROKER
def test_poison_is_counted_and_compared(kafka: str, tmp_path: Path):
    """Every poisoned record is a dead letter, on the one lane and not on the other."""
    found, _ = measured(
        kafka, tmp_path / "one.json", "poison", *SMALL, "--share", "0.02", "--laps", "1"
    )
    assert found["dead_letters"] == found["poisoned"] > 5
    assert [one["name"] for one in found["runners"]] == ["clean", "poisoned"]


@BROKER
def test_starts_are_timed(kafka: str, tmp_path: Path):
    """From the worker's start until both partitions are held."""
    found, shown = measured(
        kafka, tmp_path / "one.json", "restart", "--keys", "2000", "--state", "memory"
    )
    (start,) = found["starts"]
    assert start["name"] == "memory, from the topic"
    assert start["seconds"] > 0 < start["cpu"]
    assert "ready after" in shown


def test_each_poison_is_one():
    """What the codec could read would be no poison, and what ends a partition is never poisoned."""
    codec = Codec()
    course = PoisonedCourse(Shape(events=200, partitions=2, cut=0), codec, share=0.1)
    made = list(course.records())
    unreadable = []
    for item in made:
        try:
            codec.decode_event(item.value)
        except UndecodableError:
            unreadable.append(item)
    assert len(made) == 200
    assert len(unreadable) == course.poisoned > len(POISONS)
    whole = list(Course(Shape(events=200, partitions=2, cut=0), codec).records())
    assert [one.key for one in made] == [one.key for one in whole]


def test_latencies_are_ranked():
    """The nearest rank of few probes is one of them, and none is no figure."""
    found = Latency.of("x", [number / 1000 for number in range(1, 101)])
    assert (found.probes, found.p50, found.p99, found.most) == (100, 50, 99, 100)
    assert Latency.of("x", [0.007]).p99 == pytest.approx(7)
    with pytest.raises(ValueError, match="no probe of x"):
        Latency.of("x", [])
