"""What a contender wrote is verified, summed up and timed."""

import json
import os
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.order.broker import PublishedDataset, delete_topics
from benchmarks.order.comparison import FULL, OrderComparison
from benchmarks.order.contenders import quix_environment
from benchmarks.order.contenders.quix_environment import NotInstalledError
from benchmarks.order.contenders.registry import CONTENDERS
from benchmarks.order.dataset import ExpectedOutput
from benchmarks.order.summary import Spread, as_json, render, summarize
from benchmarks.order.timer import TrialError, TrialResult, time_trial
from benchmarks.order.verify_output import OutputDigest, digest_rows, find_mismatch
from benchmarks.process_usage import cpu_seconds, peak_megabytes
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings


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
    other = OutputDigest(rows=3, digest="y")
    mismatch = find_mismatch(found, expected=3, others={"peer": other})
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


def test_cpu_time_is_that_of_the_process():
    """Of all its threads, and to less than a tick: a quick trial used some, too."""
    before = time.process_time()
    used = cpu_seconds(os.getpid())
    assert 0 < before <= used <= time.process_time()
    with pytest.raises(OSError, match=r"Invalid|No such"):
        cpu_seconds(1 << 22)


def test_a_trial_over_at_the_first_poll_has_a_time():
    """A short dataset on a quick machine: it counts from the start of the clock."""
    child = SimpleNamespace(is_alive=True, pid=os.getpid())
    result = time_trial(
        [child], lambda: (True, 1.0), events=100, limit=timedelta(seconds=5), what="output"
    )
    assert result.events_per_second > 0
    assert result.cpu_us > 0


def test_peak_memory_is_read_of_the_process_alone(tmp_path: Path):
    """The most that it has had, not what it has."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\ta\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n")
    assert peak_megabytes(7, tmp_path) == 2.0


def test_an_unknown_contender_is_refused():
    """A misspelt name would run nothing and look like a pass."""
    ran = CliRunner().invoke(app, ["order", "--contender", "quicks"])
    assert ran.exit_code == 2
    assert "quicks is none of" in ran.output


def test_an_absent_contender_is_written_with_the_reason_and_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who could not run is in the JSON, and its figure misses its bar."""

    def absent(**_: object) -> str:
        raise NotInstalledError("no network")

    monkeypatch.setattr(quix_environment, "python", absent)
    file = tmp_path / "order.json"
    words = ["order", "--contender", "quix", "--figure", "order-speed-quix"]
    given = ["--bootstrap-servers", "127.0.0.1:1", "--results", str(file)]
    ran = CliRunner().invoke(app, [*words, *given])
    assert ran.exit_code == 1, ran.output
    assert json.loads(file.read_text())["absent"] == {"Quix Streams": "no network"}
    assert "skipped" in ran.output
    assert ran.output.endswith("not measured (bar ≥ 2.50 x) short\n")


def test_deleted_topics_are_awaited_until_the_broker_lists_none(monkeypatch: pytest.MonkeyPatch):
    """The broker learns of it after the controller: until then it could not be created again."""
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    admin = Mock()
    admin.delete_topics.return_value = {}
    admin.list_topics.side_effect = [
        SimpleNamespace(topics={"a": None, "b": None, "others": None}),
        SimpleNamespace(topics={"others": None}),
    ]
    monkeypatch.setattr(kafka, "admin", lambda _: admin)
    delete_topics(settings, {"a", "b"})
    assert admin.list_topics.call_count == 2
