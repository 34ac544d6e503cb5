"""What the law costs, on a small dataset.

What each kind of state costs, on a few keys.

The profile of the order worker adds up, and its clocks count the steps that they are put on.

What is asked of a contender counts only while the backlog lasts.

The files of the import benchmarks: the same consents in both formats.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app, arguments
from benchmarks.cpu_timing import CpuTiming, compare
from benchmarks.events import canonical_events
from benchmarks.gate import drain
from benchmarks.gate.contenders import AnsweringProcess, AnswerRate
from benchmarks.gate.drain import DrainLoad, DrainTrial
from benchmarks.imports.export import BRAND, HEADER, opt_outs, write_csv, write_workbook
from benchmarks.law import ADMIT_AND_DECIDE, DICT_UPDATE, timings
from benchmarks.machine import describe_machine
from benchmarks.order.dataset import DatasetShape
from benchmarks.order.timer import TrialError
from benchmarks.worker import cpu_profile
from benchmarks.worker.probe import LatencySummary
from benchmarks.worker.sample_consents import sample_consents
from benchmarks.worker.state import KINDS, state
from benchmarks.worker.timed_worker import (
    ALL,
    BATCH,
    COMPRESS,
    EVENTS,
    FETCH,
    FOLD,
    StepClocks,
    TimedStage,
)
from izin.local import Child, Command
from izin.producers.files import ColumnChoices, open_table
from izin.producers.files.columns import resolve
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import MappedRecord, read
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS
from izin.schemas.topics import Topics
from izin.streams.ownership import Effects
from izin.streams.state.state import MemoryState

ROWS = 40
UNTIL = datetime(2026, 3, 2, 12)  # noqa: DTZ001  # as an export writes it


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


def test_steps_add_up() -> None:
    """What no clock counted is the rest."""
    spent = {EVENTS: 2, FETCH: 1, FOLD: 10, BATCH: 2, COMPRESS: 3, ALL: 24}
    *steps, whole = cpu_profile._steps(spent, decided=0.4).values()
    assert steps == pytest.approx([0.5e6, 2e6, 3e6, 1e6, 1.5e6, 4e6])
    assert sum(steps) == pytest.approx(whole) == pytest.approx(12e6)


def test_share_of_deciding_is_a_share() -> None:
    """Deciding is a part of the fold, whatever the machine."""
    shape = DatasetShape(events=1000, recipients=200, partitions=1)
    assert 0 < cpu_profile._share_decided(shape) < 1


def test_stage_writes_what_was_spent(tmp_path: Path) -> None:
    """From a tenth of the events to the last of them, as soon as that is folded."""
    file, clocks = tmp_path / "steps.json", StepClocks()
    given = {"topics": Topics(), "partitions": 1, "codec": Codec(), "suppressions": NO_SUPPRESSIONS}
    records = list(cpu_profile._records(DatasetShape(events=100, recipients=20, partitions=1)))
    stage = TimedStage(clocks, len(records), file, **given)
    for start in (0, 50):
        assert not file.exists()
        stage.fold(0, records[start : start + 50], MemoryState(), Effects())
    spent = json.loads(file.read_text())
    assert spent[EVENTS] == 50
    assert 0 < spent[FOLD] <= spent[ALL]


def asked(monkeypatch: pytest.MonkeyPatch, shares: list[float]) -> DrainTrial:
    """Return a trial of ten questions a second, amid a drain that is so far before and after."""
    left: Iterator[float] = iter(shares)

    class Progress:
        def __init__(self, _settings: KafkaSettings) -> None:
            self.closed = False

        @property
        def share(self) -> float:
            return next(left)

        def close(self) -> None:
            self.closed = True

    def ask(one: AnsweringProcess, *_: object, seconds: float, **__: object) -> AnswerRate:
        latency = LatencySummary.of(one.name, [0.001])
        questions = round(10 * seconds)
        return AnswerRate(
            name=one.name, questions=questions, seconds=seconds, cpu_us=1, latency=latency
        )

    monkeypatch.setattr(drain, "DrainProgress", Progress)
    monkeypatch.setattr(drain, "ask", ask)
    load = DrainLoad(shape=DatasetShape(events=1000), keys=1, opt_outs=1, seconds=2)
    one = AnsweringProcess(
        name="gate", process=Child(Command(name="none", argv=(), log=None)), port=1
    )
    return drain._ask_while_draining(KafkaSettings(), one, "", load)


def test_only_what_lies_in_the_drain_counts(monkeypatch: pytest.MonkeyPatch):
    """Not before it has begun, and not what its end has cut short."""
    found = asked(monkeypatch, [0, 0, 0.1, 0.4, 0.4, 0.9, 0.9, 1])
    assert (found.questions, found.seconds) == (40, 4)
    assert found.per_second == 10
    assert found.drained > 0


@pytest.mark.parametrize("shares", [[0, 1], [0.5, 1], [0, 0, 0.9, 1]])
def test_a_backlog_that_is_too_short_is_an_error(
    shares: list[float], monkeypatch: pytest.MonkeyPatch
):
    """A rate without a drain would look like one."""
    with pytest.raises(TrialError, match="take more events"):
        asked(monkeypatch, shares)


def records(path: Path) -> list[MappedRecord]:
    table = open_table(path, ColumnChoices())
    assert table.headers == HEADER
    columns = resolve(table.headers, ColumnChoices())
    parts = [part for row in table.rows() for part in columns.parts(row.fields)]
    return [read(one.values, DateRules()) for one in parts]


def test_csv_and_workbook_have_the_same_consents(tmp_path: Path):
    """Each is readable, and as many are opt-outs as the benchmark expects."""
    write_csv(tmp_path / "a.csv", ROWS, UNTIL)
    write_workbook(tmp_path / "a.xlsx", ROWS, UNTIL)
    found = records(tmp_path / "a.csv")
    assert found == records(tmp_path / "a.xlsx")
    assert not any(one.violations for one in found)
    assert len({one.recipient for one in found}) == len(found) == ROWS
    assert sum(one.status == "RET" for one in found) == opt_outs(ROWS)
    assert {one.brand_code for one in found} == {BRAND}
