"""What a contender wrote is verified, summed up and timed.

The contenders' names, and the environments that they run in.

The dataset of the order comparison, and the contenders' common rule.
What the law costs, on a small dataset.

What each kind of state costs, on a few keys.

The profile of the order worker adds up, and its clocks count the steps that they are put on.

What is asked of a contender counts only while the backlog lasts.

The files of the import benchmarks: the same consents in both formats.

Figures, their bars, and what a run prints, writes and ends with.

Archives that are made to stop a verifier are refused in words, within what it may take.
"""

import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
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

from benchmarks import ROOT, __main__ as command
from benchmarks.__main__ import app, arguments
from benchmarks.bars import BARS, OTHER_RUNS, RUNS, BarSide, FigureBar, bars_of
from benchmarks.cpu_timing import CpuTiming, compare
from benchmarks.events import canonical_events
from benchmarks.evidence import hostile, verification
from benchmarks.evidence.hostile import HOSTILE, some_rows, with_files, zipped
from benchmarks.gate import drain
from benchmarks.gate.contenders import AnsweringProcess, AnswerRate
from benchmarks.gate.drain import DrainLoad, DrainTrial
from benchmarks.imports.export import BRAND, HEADER, opt_outs, write_csv, write_workbook
from benchmarks.law import ADMIT_AND_DECIDE, DICT_UPDATE, timings
from benchmarks.machine import describe_machine
from benchmarks.order import command as order
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
from benchmarks.replay import rebuild
from benchmarks.results import RunReport, publish
from benchmarks.simulator import command as simulator
from benchmarks.sink import command as sink, erasure, outbox, rate_limit
from benchmarks.worker import cpu_profile, latency, poison, replay, restart, state
from benchmarks.worker.probe import LatencySummary
from benchmarks.worker.sample_consents import sample_consents
from benchmarks.worker.state import KINDS
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
from izin.evidence.container import UnreadableEvidenceError, unpacked
from izin.evidence.verification import verify
from izin.local import Child, Command
from izin.producers.files import ColumnChoices, open_table
from izin.producers.mapping.columns import resolve
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
    found = state.state(keys=2000).data
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


def beyond(bar: FigureBar) -> float:
    """Return a value that just misses the bar."""
    return bar.limit + (0.001 if bar.comparison is BarSide.AT_MOST else -0.001)


def published(value: float | None, bar: FigureBar, folder: Path) -> int:
    report = RunReport(tables=["a table"], data={"events": 7}, figures={bar.name: value})
    return publish(report, bars=[bar.name], results=folder / "new" / "run.json")


@pytest.mark.parametrize("bar", BARS.values(), ids=lambda bar: bar.name)
def test_a_figure_beyond_its_bar_is_short_and_ends_with_1(
    bar: FigureBar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Every bar can be missed, in the last line and in the exit code; the limit itself is met."""
    assert published(beyond(bar), bar, tmp_path) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{bar.name}: ")
    assert last.endswith(f"(bar {bar.bar}) short")
    assert published(bar.limit, bar, tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"(bar {bar.bar}) ok")


def test_a_failure_ends_with_1_whatever_the_figures(tmp_path: Path):
    """A run of which a part failed is no success."""
    report = RunReport(tables=(), data={}, figures={"law-cpu": 1.0}, failures=["a part failed"])
    assert publish(report, bars=["law-cpu"], results=tmp_path / "run.json") == 1


def test_json_output_is_the_file_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The JSON names the machine; the verdict goes to standard error."""
    report = RunReport(tables=["a table"], data={"events": 7}, figures={"law-cpu": 7})
    file = tmp_path / "run.json"
    assert publish(report, bars=["law-cpu"], results=file, as_json=True) == 1
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found == json.loads(file.read_text(encoding="utf-8"))
    assert (found["events"], found["figures"][0]["ok"]) == (7, False)
    assert "Python" in found["machine"]
    assert shown.err == "law-cpu: 7 µs (bar ≤ 6 µs) short\n"


def test_bars_have_a_run_and_runs_have_bars():
    """A figure without a command cannot be measured, and a run without a bar checks nothing."""
    assert {bar.run for bar in BARS.values()} == RUNS.keys() | OTHER_RUNS.keys()
    assert set(RUNS) >= {words[0] for words in RUNS.values()}


def summary(name: str, speed: float) -> Any:  # noqa: ANN401  # a summary of this one trial
    trial: Any = SimpleNamespace(events_per_second=speed, cpu_us=1e6 / speed, peak_mb=1)
    return summarize(name, "", 1, [trial])


def contenders(speeds: dict[str, float]) -> list[Any]:
    """Return summaries of all contenders; izin's speed and CPU as given, the others' 1,000."""
    return [summary(one.name, speeds.get(one.slug, 1000.0)) for one in CONTENDERS]


def at_the_limit(used: float, opt_out: float, registered: bool) -> SimpleNamespace:
    opt_outs = [SimpleNamespace(seconds=opt_out, registered=registered)]
    return SimpleNamespace(
        used=used, settled_of_possible=used, throttled_in_100k=1000, opt_outs=opt_outs
    )


def rates(**fields: float) -> SimpleNamespace:
    return SimpleNamespace(**{"jitter": 0, "refused": 0, "failing": 0} | fields)


SHORT: dict[str, Callable[[], Any]] = {
    "state": lambda: state.figures(
        [state.StateSize(kind=state.MEMORY, keys=1, resident=300, reported=0, on_disk=0)],
        {"get": [SimpleNamespace(name=state.MEMORY, median=9)]},
    ),
    "order": lambda: order.figures(
        contenders(
            {
                "izin-latest-wins": 1000.0,
                "izin": 30_000.0,
                "streams-eos": 1100.0,
                "flink-heap": 70_000.0,
            }
        )
    ),
    "latency": lambda: latency.figures(
        latency.Latencies(
            summaries=[
                SimpleNamespace(name=f"x, {name}", p50=301, p99=301)
                for name in (latency.IDLE, latency.BACKLOG)
            ],
            while_draining=1,
        )
    ),
    "restart": lambda: restart.figures(
        [SimpleNamespace(is_cold=cold, seconds=31) for cold in (True, False)]
    ),
    "passes": lambda: replay.figures(
        [
            SimpleNamespace(
                result=SimpleNamespace(events_per_second=34_000), output=SimpleNamespace(digest=one)
            )
            for one in "ab"
        ]
    ),
    "rebuild": lambda: rebuild.figures(
        rebuild.RebuildRun(
            events=1, keys=1, workers=1, seconds=1, per_worker=34_000, different=0, written=0
        )
    ),
    "poison": lambda: poison.figures(
        poison.PoisonCost(
            summaries=[summary(poison.CLEAN, 100), summary(poison.POISONED, 96)],
            poisoned=1,
            dead_letters=1,
        )
    ),
    "sink": lambda: sink.figures(
        SimpleNamespace(ingested_a_second=0, settled_ms=101, entry_bytes=451),
        SimpleNamespace(used=0.94, throttled=1),
    ),
    "outbox": lambda: outbox.figures(
        outbox.OutboxReads(delivered=1, empty_ms=0.2, floor_ms=0.7, first_id_ms=114)
    ),
    "erasure": lambda: erasure.figures(
        erasure.ErasureSteps(
            keys=2,
            erased=1,
            entries=1,
            requested=61,
            decided=0,
            ingested=0,
            removed=0,
            history=0,
        )
    ),
    "rate-limit": lambda: rate_limit.figures(at_the_limit(0.94, 4, False), rates(jitter=0.08)),
    "rate-limit-steady": lambda: rate_limit.figures(at_the_limit(0.94, 4, False), rates()),
    "rate-limit-degraded": lambda: rate_limit.figures(
        at_the_limit(0.89, 4, False), rates(jitter=0.08, failing=0.02)
    ),
    "opt-out-backlog": lambda: rate_limit.figures(at_the_limit(1, 4, False), rates()),
    "simulator": lambda: simulator.figures(
        [SimpleNamespace(errors=1, cpu_share=0.61, per_second=9_999)] * 2
    ),
}
"""Of each run, figures of measurements that miss every bar."""


@pytest.mark.parametrize("run", SHORT)
def test_bad_measurements_are_short_of_every_bar(run: str, tmp_path: Path):
    """What a run measures reaches its bars, under their names and in their units."""
    figures = SHORT[run]()
    for bar in bars_of(run):
        assert figures[bar.name] is not None
        report = RunReport(tables=(), data={}, figures=figures)
        assert publish(report, bars=[bar.name], results=tmp_path / "x.json") == 1, bar.name


def test_absent_contenders_leave_their_figures_unmeasured():
    """A ratio to a contender that did not run would be an invention."""
    found = order.figures([one for one in contenders({}) if "izin, the same" in one.name])
    assert set(found.values()) == {None}


def test_a_figure_becomes_its_command_with_what_it_needs():
    """Options of the caller go last, so they replace those of the run."""
    given = command.arguments(["order-speed-quix", "--trials", "1"])
    assert given[0] == "order"
    assert given[given.index("--contender") :][:4] == [
        *("--contender", "izin-latest-wins", "--contender", "quix")
    ]
    assert given[-2:] == ["--trials", "1"]
    assert given.count("--figure") == 1
    assert command.arguments(["latency"]).count("--figure") == 3
    assert command.arguments(["list"]) == ["list"]


def test_a_figure_of_a_campaign_names_its_command(capsys: pytest.CaptureFixture[str]):
    """It is no benchmark, and no bar is missed: wrong usage."""
    with pytest.raises(SystemExit, match="2"):
        command.arguments(["sink-unexplained"])
    assert "make chaos STAGE=sink" in capsys.readouterr().err


def test_list_names_every_figure_with_its_bar():
    """The list of figures names the command that measures each."""
    shown = CliRunner().invoke(command.app, ["list"]).output
    for bar in BARS.values():
        assert f"{bar.name} " in shown
        assert bar.bar in shown
        assert bar.command in shown


def a_run_that(write: Callable[[Path], int]) -> Callable[..., Any]:
    """Return a stub of a process that measures and writes its results."""

    def run(argv: list[str], **_: object) -> SimpleNamespace:
        assert argv[:4] == [sys.executable, "-m", "benchmarks", "law"]
        return SimpleNamespace(returncode=write(Path(argv[-1])))

    return run


@pytest.mark.parametrize(
    ("value", "code", "line"),
    [
        (5.0, 0, "law-cpu: 5 µs (bar ≤ 6 µs) ok"),
        (7.0, 1, "law-cpu: 7 µs (bar ≤ 6 µs) short"),
        (None, 1, "law-cpu: not measured (bar ≤ 6 µs) short"),
    ],
)
def test_all_runs_end_with_a_summary_and_its_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: float | None,
    code: int,
    line: str,
):
    """One figure that is short makes the whole short, and so does a run that wrote nothing."""

    def write(file: Path) -> int:
        assert not file.exists(), "what an earlier run wrote is no result"
        if value is None:
            return 1
        report = RunReport(tables=(), data={}, figures={"law-cpu": value})
        return publish(report, bars=["law-cpu"], results=file)

    (tmp_path / "law.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(subprocess, "run", a_run_that(write))
    ran = CliRunner().invoke(command.app, ["all", "law", "--results", str(tmp_path)])
    assert (ran.exit_code, ran.output.splitlines()[-1]) == (code, line)


def test_logs_go_to_standard_error_and_only_from_warnings_on():
    """A log line amid the results would make them unreadable as JSON."""
    code = (
        "import sys; sys.argv[1:] = ['list']\n"
        "from benchmarks.__main__ import main\n"
        "from izin.runtime.logs import get_logger\n"
        "try: main()\n"
        "finally: get_logger('x').info('quiet'); get_logger('x').warning('loud')"
    )
    argv = [sys.executable, "-c", code]
    ran = subprocess.run(argv, check=True, cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1].startswith(list(BARS)[-1])
    assert "loud" in ran.stderr
    assert "quiet" not in ran.stderr


def test_an_unknown_run_is_refused():
    """A misspelt name would measure nothing and look like a pass."""
    assert CliRunner().invoke(command.app, ["all", "lwa"]).exit_code == 2
    assert CliRunner().invoke(command.app, command.arguments(["lwa"])).exit_code == 2


QUICK = (
    *("place 10^15", "place of 4,000 digits", "sizes of 4 GiB", "sizes of 3 bytes"),
    *("sizes of 0 bytes", "deep JSON", "deep JSON in a row", "deep JSON in a header", "keys"),
    *("instants out of range", "numbers of 4,000 digits", "escapes"),
    *("text of 8 MB, four bytes a letter", "header of 8 MB, four bytes a letter"),
)


@pytest.mark.parametrize("name", QUICK)
def test_hostile_archive_is_refused_in_words(name: str) -> None:
    """Whatever is in it, nothing but a fault comes of it."""
    found = verify(HOSTILE[name](), {(3, 1): "00" * 32})
    assert found.faults
    assert not found.is_proven


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_file_that_is_packed_otherwise_is_refused(method: int) -> None:
    """Python unpacks it without regard to the size that is claimed."""
    with pytest.raises(UnreadableEvidenceError, match="packed otherwise"):
        unpacked(zipped({"rows.json": b"[]"}, method))


def test_file_that_is_larger_than_it_claims_is_not_unpacked_whole() -> None:
    """As much as is claimed is read."""
    archive = hostile.sized(with_files(rows=b"\0" * (64 << 20)), 1024)
    with pytest.raises(UnreadableEvidenceError, match="cannot be unpacked"):
        unpacked(archive)


def test_rows_within_the_bounds_are_read() -> None:
    """So that the others are refused for what they are."""
    found = verify(with_files(rows=some_rows(10)), {(3, 1): "00" * 32})
    assert "row 1 of shard 3 stands in no segment of a chain" in found.faults


def test_verifier_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    """With its exit code, and what it said first."""
    anchors = tmp_path / "anchors.jsonl"
    anchors.write_text(json.dumps({"shard": 3, "place": 1, "link": "00" * 32}) + "\n")
    found = verification.measured("place 10^15", tmp_path / "evidence.zip", anchors)
    assert (found.is_refused, found.code) == (True, 1)
    assert "no segment" in found.said
    assert 5 < found.megabytes < 300


def test_report_has_the_worst_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """And names what was not refused in words."""
    monkeypatch.setattr(verification, "HOSTILE", {"a": lambda: b"", "b": lambda: b""})
    codes = {"a": (1, 2.0, 100.0), "b": (-1, 1.0, 200.0)}

    def measured(name: str, *_: Path) -> verification.HostileArchive:
        code, seconds, megabytes = codes[name]
        return verification.HostileArchive(
            name=name, bytes=0, code=code, seconds=seconds, megabytes=megabytes, said="x"
        )

    monkeypatch.setattr(verification, "measured", measured)
    found = verification.verify_hostile(only="")
    assert found.figures == {"verify-hostile-seconds": 2.0, "verify-hostile-megabytes": 200.0}
    assert found.failures == ["b: x"]
