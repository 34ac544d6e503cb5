"""What the law costs, on a small dataset.

What each kind of state costs, on a few keys.
"""

import json
from itertools import pairwise
from pathlib import Path
from random import Random

from typer.testing import CliRunner

from benchmarks.__main__ import app, arguments
from benchmarks.cpu_timing import CpuTiming, compare
from benchmarks.events import canonical_events
from benchmarks.law import ADMIT_AND_DECIDE, DICT_UPDATE, timings
from benchmarks.machine import describe_machine
from benchmarks.worker.sample_consents import sample_consents
from benchmarks.worker.state import KINDS, state


def test_contenders_are_timed_trial_by_trial_in_turn():
    """What disturbs the machine for a while disturbs every contender."""
    ran = []
    ticks = iter([0.0, 2.0, 10.0, 13.0, 20.0, 24.0, 30.0, 39.0, 40.0, 43.0, 50, 51])
    found = compare(
        {"a": lambda: ran.append("a"), "b": lambda: ran.append("b")},
        steps=1_000_000,
        trials=3,
        clock=lambda: next(ticks),
    )
    assert ran == ["a", "b", "a", "b", "a", "b"]
    assert found == [
        CpuTiming(name="a", median=3.0, least=2.0, most=4.0),
        CpuTiming(name="b", median=3.0, least=1.0, most=9.0),
    ]


def test_canonical_events_repeat_come_late_and_are_the_same_for_a_seed():
    """A dataset of refused events would be done fast and prove nothing."""
    dataset = canonical_events(2_000, keys=300, rng=Random(7))
    assert dataset == canonical_events(2_000, keys=300, rng=Random(7))
    assert len({one.event_id for one in dataset}) < len(dataset) * 0.9
    instants = [one.consent_date for one in dataset if one.consent_date]
    assert any(later < earlier for earlier, later in pairwise(instants))


def test_the_law_decides_every_key_of_the_dataset():
    """The law's contender does the law's work."""
    found = {one.name: one for one in timings(events=500, trials=1)}
    assert found[ADMIT_AND_DECIDE].median > found[DICT_UPDATE].median > 0


def test_the_machine_is_named_as_far_as_it_is_known(tmp_path: Path):
    """A figure without its machine is meaningless."""
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Abacus 9\nprocessor\t: 1\n")
    (tmp_path / "meminfo").write_text("MemTotal:       25165824 kB\n")
    found = describe_machine(tmp_path)
    assert found.startswith("Abacus 9, ")
    assert "cores, 24 GiB, " in found
    assert found.endswith(("compiled", "interpreted"))
    assert "Python" in describe_machine(tmp_path / "absent")


def test_figures_are_printed_and_written(tmp_path: Path):
    """The table is for people, the JSON for comparing runs."""
    file = tmp_path / "new" / "law.json"
    words = ["law-cpu", "--events", "200", "--trials", "3", "--results", str(file)]
    ran = CliRunner().invoke(app, arguments(words))
    assert ADMIT_AND_DECIDE in ran.output
    assert ran.output.splitlines()[-1].startswith("law-cpu: ")
    found = json.loads(file.read_text())
    assert {one["name"]: one["ratio"] for one in found["contenders"]}[DICT_UPDATE] == 1
    assert found["machine"]


def test_sample_consents_are_each_of_another_key():
    """A key that comes twice would take no memory."""
    made = list(sample_consents(2_000, rng=Random(7)))
    assert made == list(sample_consents(2_000, rng=Random(7)))
    assert len({one.key for one in made}) == len(made)


def test_sizes_and_speeds_of_every_kind_are_reported():
    """They are in one table and in one file."""
    found = state(keys=2000).data
    assert tuple(one["kind"] for one in found["sizes"]) == KINDS
    for action in ("get", "apply"):
        assert tuple(one["name"] for one in found[action]) == KINDS
        assert all(one["median"] > 0 for one in found[action])
