"""What a contender wrote is verified, summed up and timed.

The contenders' names, and the environments that they run in.

The dataset of the order comparison, and the contenders' common rule.
What the law costs, on a small dataset.

What each kind of state costs, on a few keys.

The profile of the order worker adds up, and its clocks count the steps that they are put on.

What is asked of a contender counts only while the backlog lasts.

The files of the import benchmarks: the same consents in both formats.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import ROOT
from benchmarks.__main__ import app, arguments
from benchmarks.cpu_timing import CpuTiming, compare
from benchmarks.events import canonical_events
from benchmarks.gate import drain
from benchmarks.gate.contenders import AnsweringProcess, AnswerRate
from benchmarks.gate.drain import DrainLoad, DrainTrial
from benchmarks.imports.export import BRAND, HEADER, opt_outs, write_csv, write_workbook
from benchmarks.law import ADMIT_AND_DECIDE, DICT_UPDATE, timings
from benchmarks.machine import describe_machine
from benchmarks.order.broker import PublishedDataset
from benchmarks.order.comparison import FULL, OrderComparison
from benchmarks.order.contenders import java_program, quix_environment
from benchmarks.order.contenders.latest_wins import newer, step
from benchmarks.order.contenders.quix_environment import NotInstalledError
from benchmarks.order.contenders.registry import CONTENDERS
from benchmarks.order.dataset import MARKERS_EACH, Dataset, DatasetShape, ExpectedOutput
from benchmarks.order.summary import Spread, as_json, render, summarize
from benchmarks.order.timer import TrialError, TrialResult, time_trial
from benchmarks.order.verify_output import OutputDigest, digest_rows, find_mismatch
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
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import NO_SUPPRESSIONS
from izin.schemas.partitioning import partition_of
from izin.schemas.topics import Topics
from izin.streams.ownership import Effects
from izin.streams.state.state import MemoryState

CODEC = Codec()
SHAPE = DatasetShape(events=4000, recipients=500)


def a_trial(speed: float, **overrides: object) -> TrialResult:
    fields: dict[str, Any] = {"cpu_us": 10.0, "peak_mb": 100.0} | overrides
    return TrialResult(events_per_second=speed, **fields)


def test_a_digest_is_of_the_last_row_of_each_key_in_any_order():
    """Partitions are read in any order; the latest row of a key is what counts."""
    one = digest_rows([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert one.rows == 3
    assert one == digest_rows([(b"a", b"1"), (b"a", b"3"), (b"b", b"2")])
    assert one.digest != digest_rows([(b"a", b"3"), (b"b", b"2"), (b"a", b"1")]).digest


def test_too_few_rows_and_other_rows_are_mismatches():
    """Each check of the output can fail."""
    found = OutputDigest(rows=3, digest="x")
    assert find_mismatch(found, expected=3, others={"peer": found}) is None
    assert find_mismatch(found, expected=4, others={}) == "it wrote 3 rows, not 4"
    mismatch = find_mismatch(found, expected=3, others={"peer": OutputDigest(rows=3, digest="y")})
    assert mismatch == "its rows are not those of peer"


def test_a_contender_with_other_rows_than_expected_has_no_time():
    """A contender that writes less does not count, however fast."""
    quick, wrong = [one for one in CONTENDERS if not one.writes_more and not one.is_slow][:2]
    comparison = OrderComparison(
        Console(quiet=True), name="x", folder=Path(), limit=timedelta(seconds=1)
    )
    comparison.datasets[FULL] = PublishedDataset(
        settings=KafkaSettings(topic_prefix="x-"),
        events=5,
        expected=ExpectedOutput(rows=Counter({0: 2, 1: 1})),
    )
    comparison.verify(quick, a_trial(9, output=OutputDigest(rows=3, digest="x")))
    with pytest.raises(TrialError, match="not those of"):
        comparison.verify(wrong, a_trial(9, output=OutputDigest(rows=3, digest="y")))
    with pytest.raises(TrialError, match="2 rows, not 3"):
        comparison.verify(wrong, a_trial(9, output=OutputDigest(rows=2, digest="x")))


def test_summaries_have_medians_and_ratios_to_those_that_ran():
    """There is no ratio to a contender that did not run."""
    fast = summarize("fast", "as it is", 1000, [a_trial(30), a_trial(20), a_trial(10, peak_mb=300)])
    slow = summarize("slow", "with a table", 100, [a_trial(5, cpu_us=20)])
    assert fast.speed == Spread(median=20, least=10, most=30)
    assert fast.peak_mb == 300
    found = as_json([fast, slow], ["slow", "absent"])
    assert found[0]["ratios"] == {"slow": {"speed": 4.0, "cpu": 0.5}}
    assert found[1]["events"] == 100
    table = render([fast, slow], ["slow", "absent"], title="comparison")
    headings = [str(column.header) for column in table.columns]
    assert headings[-1] == "× slow: speed, CPU"
    assert table.row_count == 2


def test_a_trial_over_at_the_first_poll_has_a_time():
    """A short dataset on a quick machine: it counts from the start of the clock."""
    child = SimpleNamespace(is_alive=True, pid=os.getpid())
    result = time_trial(
        [child], lambda: (True, 1.0), events=100, limit=timedelta(seconds=5), what="output"
    )
    assert result.events_per_second > 0
    assert result.cpu_us > 0


def test_an_unknown_contender_is_refused():
    """A misspelt name would run nothing and look like a pass."""
    ran = CliRunner().invoke(app, ["order", "--contender", "quicks"])
    assert ran.exit_code == 2
    assert "quicks is none of" in ran.output


def test_an_absent_contender_is_written_with_the_reason_and_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who could not run is in the JSON, and its figure misses its bar."""
    monkeypatch.setattr(
        quix_environment, "python", Mock(side_effect=NotInstalledError("no network"))
    )
    file = tmp_path / "order.json"
    words = ["order", "--contender", "quix", "--figure", "order-speed-quix"]
    given = ["--bootstrap-servers", "127.0.0.1:1", "--results", str(file)]
    ran = CliRunner().invoke(app, [*words, *given])
    assert ran.exit_code == 1, ran.output
    assert json.loads(file.read_text())["absent"] == {"Quix Streams": "no network"}
    assert "skipped" in ran.output
    assert ran.output.endswith("not measured (bar ≥ 2.50 x) short\n")


def test_contenders_have_names_of_their_own():
    """A name is a topic, a group, a file and a row of the table."""
    assert len({one.name for one in CONTENDERS}) == len(CONTENDERS)
    assert len({one.slug for one in CONTENDERS}) == len(CONTENDERS)


def test_quix_imports_izin_and_benchmarks_and_none_of_our_clients(tmp_path: Path):
    """Where izin is installed its clients lie beside it, and Quix pins others."""
    root = tmp_path / "site-packages"
    for name in ("izin", "confluent_kafka"):
        (root / name).mkdir(parents=True)
    (root / "izin__mypyc.cpython-311.so").touch()
    for _ in range(2):
        imports = quix_environment.make_import_folder(root, cache=tmp_path)
        assert {path.name for path in imports.iterdir()} == {
            *("benchmarks", "izin", "izin__mypyc.cpython-311.so")
        }
    assert (imports / "izin").resolve() == root / "izin"
    assert (imports / "benchmarks").resolve() == ROOT / "benchmarks"


def test_quix_packages_that_cannot_be_installed_are_reported(tmp_path: Path):
    """A contender that cannot be had is skipped with the reason, and nothing half made is used."""
    quix_environment.folder(tmp_path).write_text("in the way")
    with pytest.raises(NotInstalledError, match="venv"):
        quix_environment.python(cache=tmp_path)


def test_a_java_source_that_does_not_compile_is_reported(tmp_path: Path):
    """The compiler's own words reach the reader."""
    source = tmp_path / "Wrong.java"
    source.write_text("class Wrong {")
    with pytest.raises(java_program.NotCompiledError, match=r"Wrong\.java does not compile"):
        java_program.compile_sources([source], tmp_path / "classes", jars=[], compiler=[])


@pytest.mark.parametrize("slug", ["pass-through", "faust-table", "izin-latest-wins", "izin"])
def test_a_contender_in_our_environment_has_a_module(slug: str):
    """A renamed module would show only as a contender that ends at once."""
    (contender,) = (one for one in CONTENDERS if one.slug == slug)
    *_, module = contender.prepare(print)
    assert find_spec(module) is not None


def folded(shape: DatasetShape) -> tuple[ExpectedOutput, dict[bytes, bytes], Counter[int]]:
    """Fold a dataset by the common rule; return what was expected, the state and the rows."""
    dataset = Dataset(shape, CODEC)
    state: dict[bytes, bytes] = {}
    rows: Counter[int] = Counter()
    for record in dataset.records():
        row = step(CODEC, record.value, state.get(record.key))
        if row is not None:
            state[record.key] = row
            rows[record.partition] += 1
    return dataset.expected, state, rows


def test_the_dataset_expects_what_the_common_rule_makes_of_it():
    """A contender that wrote less than the rule demands would be fast for nothing."""
    expected, state, rows = folded(SHAPE)
    assert rows == expected.rows
    assert expected.records.total() == SHAPE.events
    assert set().union(*expected.last.values()) <= state.keys()


def test_the_dataset_is_the_same_for_a_seed_and_has_its_shares():
    """A fifth repeats byte for byte, a few are cut short, some recipients have many events."""
    records = list(Dataset(SHAPE, CODEC).records())
    assert records == list(Dataset(SHAPE, CODEC).records())
    assert 0.15 < 1 - len({one.value for one in records}) / len(records) < 0.25
    undecodable = 0
    for one in records:
        try:
            CODEC.decode("ConsentEvent", one.value)
        except UndecodableError:
            undecodable += 1
    assert 0 < undecodable < 20
    (most, _), *_ = Counter(one.key for one in records).most_common(1)
    assert sum(one.key == most for one in records) > SHAPE.events / 20


def test_the_last_records_of_each_partition_are_the_first_of_their_keys():
    """A contender that has written their rows has processed the whole partition."""
    dataset = Dataset(SHAPE, CODEC)
    records = list(dataset.records())
    markers = SHAPE.partitions * MARKERS_EACH
    last: dict[int, set[bytes]] = {number: set() for number in range(SHAPE.partitions)}
    for one in records[-markers:]:
        last[one.partition].add(one.key)
    assert last == dataset.expected.last
    assert {len(keys) for keys in last.values()} == {MARKERS_EACH}
    assert not {one.key for one in records[:-markers]} & set().union(*last.values())
    assert all(one.partition == partition_of(one.key, SHAPE.partitions) for one in records)


def test_ret_wins_a_tie_and_a_late_or_repeated_event_changes_nothing():
    """The contenders keep the law's order, or the comparison would not be of the same work."""
    dataset = Dataset(DatasetShape(events=50, recipients=1), CODEC)
    event = CODEC.decode("ConsentEvent", next(dataset.records()).value)
    onay, ret = event | {"status": "ONAY"}, event | {"status": "RET"}
    current = newer(onay, None)
    assert newer(onay, current) is None
    turned = newer(ret, current)
    assert (turned["status"], turned["previous_status"]) == ("RET", "ONAY")
    assert turned["latest_onay_at"] == turned["latest_ret_at"] == current["effective_at"]
    assert newer(onay, turned) is None
    late = ret["consent_date"].replace(year=2024)
    assert newer(ret | {"consent_date": late}, current) is None
    assert newer(onay | {"consent_date": late, "status": "ONAY"}, None) is not None


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
