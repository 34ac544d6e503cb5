import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.cpu_timing import Lap, machine, race
from benchmarks.events import canonical_events
from benchmarks.law import ADMIT_AND_DECIDE, DICT_UPDATE, law
from benchmarks.worker.sample_consents import consents
from benchmarks.worker.state import KINDS, ROCKSDB, weigh


def test_each_runner_is_timed_lap_by_lap_in_turn():
    """What disturbs the machine for a while disturbs every runner."""
    ran = []
    ticks = iter([0.0, 2.0, 10.0, 13.0, 20.0, 24.0, 30.0, 39.0, 40.0, 43.0, 50, 51])
    found = race(
        {"a": lambda: ran.append("a"), "b": lambda: ran.append("b")},
        steps=1_000_000,
        laps=3,
        clock=lambda: next(ticks),
    )
    assert ran == ["a", "b", "a", "b", "a", "b"]
    assert found == [
        Lap(name="a", median=3.0, least=2.0, most=4.0),
        Lap(name="b", median=3.0, least=1.0, most=9.0),
    ]


def test_the_course_is_lawful_repeats_itself_and_is_the_same_for_a_seed():
    """A course that is refused would be run fast and prove nothing."""
    course = canonical_events(2_000, keys=300, rng=Random(7))
    assert course == canonical_events(2_000, keys=300, rng=Random(7))
    assert len({one.event_id for one in course}) < len(course) * 0.9
    instants = [one.consent_date for one in course if one.consent_date]
    assert any(later < earlier for earlier, later in pairwise(instants))


def test_every_key_of_the_course_is_decided():
    """The law's runner does the law's work."""
    runners = {lap.name: lap for lap in law(events=500, laps=1)}
    assert runners[ADMIT_AND_DECIDE].median > runners[DICT_UPDATE].median > 0


def test_the_machine_is_named(tmp_path: Path):
    """A figure without its machine says nothing."""
    told = tmp_path / "cpuinfo"
    told.write_text(
        "processor\t: 0\nmodel name\t: Abacus 9\nprocessor\t: 1\nmodel name\t: Abacus 9\n"
    )
    assert machine(told).startswith("Abacus 9, ")
    assert "Python" in machine(tmp_path / "absent")


def test_figures_are_printed_and_kept(tmp_path: Path):
    """The table is for people, the JSON for whoever compares runs."""
    kept = tmp_path / "new" / "law.json"
    ran = CliRunner().invoke(app, ["law", "--events", "200", "--laps", "3", "--results", str(kept)])
    assert ran.exit_code == 0, ran.output
    assert ADMIT_AND_DECIDE in ran.output
    found = json.loads(kept.read_text())
    assert {one["name"]: one["ratio"] for one in found["runners"]}[DICT_UPDATE] == 1
    assert found["machine"]


def test_made_up_consents_are_each_of_another_key():
    """A key that comes twice would weigh nothing."""
    made = list(consents(2_000, rng=Random(7)))
    assert made == list(consents(2_000, rng=Random(7)))
    assert len({one.key for one in made}) == len(made)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_state_is_weighed(kind: str):
    """What is weighed is held, and what lies on disk is counted apart."""
    found = weigh(kind, 3_000)
    assert (found.kind, found.keys) == (kind, 3_000)
    assert (found.on_disk > 0) == (kind == ROCKSDB)


def test_what_a_state_costs_is_printed_and_kept(tmp_path: Path):
    """Weights and speeds of every kind stand in one table and in one file."""
    kept = tmp_path / "state.json"
    ran = CliRunner().invoke(app, ["state", "--keys", "2000", "--results", str(kept)])
    assert ran.exit_code == 0, ran.output
    found = json.loads(kept.read_text())
    assert tuple(one["kind"] for one in found["weights"]) == KINDS
    for course in ("get", "apply"):
        assert tuple(one["name"] for one in found[course]) == KINDS
        assert all(one["median"] > 0 for one in found[course])
