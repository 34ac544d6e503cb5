"""Figures, their bars, and what a run prints, writes and ends with.

Archives that are made to stop a verifier are refused in words, within what it may take.
"""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import ROOT, __main__ as command
from benchmarks.bars import BARS, OTHER_RUNS, RUNS, BarSide, FigureBar, bars_of
from benchmarks.evidence import hostile, verification
from benchmarks.evidence.hostile import HOSTILE, some_rows, with_files, zipped
from benchmarks.order import command as order
from benchmarks.order.contenders.registry import CONTENDERS
from benchmarks.order.summary import summarize
from benchmarks.replay import rebuild
from benchmarks.results import RunReport, publish
from benchmarks.simulator import command as simulator
from benchmarks.sink import command as sink, erasure, outbox, rate_limit
from benchmarks.worker import latency, poison, replay, restart, state
from izin.evidence.container import UnreadableEvidenceError, unpacked
from izin.evidence.verification import verify


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
