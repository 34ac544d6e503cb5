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
from benchmarks.order.command import FULL, Race
from benchmarks.order.contenders import kafka_streams, quix_environment
from benchmarks.order.contenders.latest_wins import newer, step
from benchmarks.order.contenders.quix_environment import NotInstalledError
from benchmarks.order.contenders.registry import RUNNERS
from benchmarks.order.contenders.task import Task
from benchmarks.order.dataset import Course, Foreseen, Shape
from benchmarks.order.summary import Spread, as_json, standing, table
from benchmarks.order.timer import LapError, Run, timed
from benchmarks.order.trials import Published, delete
from benchmarks.order.verify_output import Outcome, fault, outcome
from benchmarks.process_usage import cpu_seconds, peak_megabytes
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.partitioning import partition_of

CODEC = Codec()
SHAPE = Shape(events=4000, recipients=500)


def a_run(speed: float, **overrides: object) -> Run:
    fields: dict[str, Any] = {"cpu_us": 10.0, "peak_mb": 100.0} | overrides
    return Run(events_per_second=speed, **fields)


def folded(shape: Shape) -> tuple[Foreseen, dict[bytes, bytes], Counter[int]]:
    """Run the peers' rule over a course, and return what was foreseen, the state and the rows."""
    course = Course(shape, CODEC)
    state: dict[bytes, bytes] = {}
    rows: Counter[int] = Counter()
    for item in course.records():
        row = step(CODEC, item.value, state.get(item.key))
        if row is not None:
            state[item.key] = row
            rows[item.partition] += 1
    return course.foreseen, state, rows


def test_the_course_foresees_what_the_peers_rule_makes_of_it():
    """A runner that wrote less than the rule demands would be fast for nothing."""
    foreseen, state, rows = folded(SHAPE)
    assert rows == foreseen.rows
    assert foreseen.records.total() == SHAPE.events
    assert set(foreseen.last.values()) <= state.keys()


def test_the_course_is_the_same_for_a_seed_and_has_its_shares():
    """A fifth repeats byte for byte, a few are cut short, some recipients are spoken of often."""
    records = list(Course(SHAPE, CODEC).records())
    assert records == list(Course(SHAPE, CODEC).records())
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


def test_the_last_record_of_each_partition_is_the_first_of_its_key():
    """Whoever has written its row has been through the whole partition."""
    course = Course(SHAPE, CODEC)
    records = list(course.records())
    last = records[-SHAPE.partitions :]
    assert {one.partition: one.key for one in last} == course.foreseen.last
    earlier = {one.key for one in records[: -SHAPE.partitions]}
    for one in last:
        assert one.key not in earlier
    assert all(one.partition == partition_of(one.key, SHAPE.partitions) for one in records)


def test_ret_wins_a_tie_and_what_repeats_or_comes_late_changes_nothing():
    """The peers keep the law's order, or the race would not be about the same work."""
    course = Course(Shape(events=50, recipients=1), CODEC)
    event = CODEC.decode("ConsentEvent", next(course.records()).value)
    yes, no = event | {"status": "ONAY"}, event | {"status": "RET"}
    held = newer(yes, None)
    assert held is not None
    assert newer(yes, held) is None
    turned = newer(no, held)
    assert turned is not None
    assert (turned["status"], turned["previous_status"]) == ("RET", "ONAY")
    assert turned["latest_onay_at"] == turned["latest_ret_at"] == held["effective_at"]
    assert newer(yes, turned) is None
    late = no["consent_date"].replace(year=2024)
    assert newer(no | {"consent_date": late}, held) is None
    assert newer(yes | {"consent_date": late, "status": "ONAY"}, None) is not None


def test_what_cannot_be_decoded_is_dropped():
    """One bad record stops no peer."""
    assert step(CODEC, b"nonsense", None) is None
    assert step(CODEC, None, None) is None


def test_an_outcome_knows_the_last_row_of_each_key_whatever_their_order():
    """Partitions are read in any order; the latest row of a key is what counts."""
    one = outcome([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert one.rows == 3
    assert one == outcome([(b"a", b"1"), (b"a", b"3"), (b"b", b"2")])
    assert one.digest != outcome([(b"a", b"3"), (b"b", b"2"), (b"a", b"1")]).digest


def test_too_few_rows_and_other_rows_are_faults():
    """Each check of the outcome can fail."""
    found = Outcome(rows=3, digest="x")
    assert fault(found, foreseen=3, others={"peer": found}) is None
    assert fault(found, foreseen=4, others={}) == "it wrote 3 rows, not 4"
    other = Outcome(rows=3, digest="y")
    assert fault(found, foreseen=3, others={"peer": other}) == "its rows are not those of peer"


def test_a_runner_with_other_rows_than_foreseen_has_no_time():
    """Whoever writes less is no winner, however fast."""
    quick, wrong = [runner for runner in RUNNERS if not runner.writes_more and not runner.is_slow][
        :2
    ]
    race = Race(Console(quiet=True), name="race", folder=Path(), limit=timedelta(seconds=1))
    settings = KafkaSettings(topic_prefix="race-")
    foreseen = Foreseen(rows=Counter({0: 2, 1: 1}))
    race.courses[FULL] = Published(settings=settings, events=5, foreseen=foreseen)
    race.check(quick, a_run(9, outcome=Outcome(rows=3, digest="x")))
    with pytest.raises(LapError, match="not those of"):
        race.check(wrong, a_run(9, outcome=Outcome(rows=3, digest="y")))
    with pytest.raises(LapError, match="2 rows, not 3"):
        race.check(wrong, a_run(9, outcome=Outcome(rows=2, digest="x")))


def test_standings_have_medians_and_ratios_to_those_who_ran():
    """A ratio to somebody who did not run would be an invention."""
    fast = standing("fast", "as it is", 1000, [a_run(30), a_run(20), a_run(10, peak_mb=300)])
    slow = standing("slow", "with a table", 100, [a_run(5, cpu_us=20)])
    assert fast.speed == Spread(median=20, least=10, most=30)
    assert fast.peak_mb == 300
    told = as_json([fast, slow], ["slow", "absent"])
    assert told[0]["ratios"] == {"slow": {"speed": 4.0, "cpu": 0.5}}
    assert told[1]["events"] == 100
    drawn = table([fast, slow], ["slow", "absent"], title="race")
    headings = [str(column.header) for column in drawn.columns]
    assert headings[-1] == "× slow: speed, CPU"
    assert drawn.row_count == 2


def test_cpu_time_is_that_of_the_process():
    """Of all its threads, and to less than a tick: a quick lap used some, too."""
    before = time.process_time()
    used = cpu_seconds(os.getpid())
    assert 0 < before <= used <= time.process_time()
    with pytest.raises(OSError, match=r"Invalid|No such"):
        cpu_seconds(1 << 22)


def test_who_is_through_at_the_first_look_has_a_time():
    """A short course on a quick machine: it counts from the start of the watch."""
    child = SimpleNamespace(is_alive=True, pid=os.getpid())
    run = timed([child], lambda: (True, 1.0), events=100, limit=timedelta(seconds=5), what="output")
    assert run.events_per_second > 0
    assert run.cpu_us > 0


def test_memory_is_read_of_the_process_alone(tmp_path: Path):
    """The most that it has held, not what it holds."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\ta\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n")
    assert peak_megabytes(7, tmp_path) == 2.0


def test_runners_bear_names_of_their_own():
    """A name is a topic, a group, a file and a row of the table."""
    assert len({runner.name for runner in RUNNERS}) == len(RUNNERS)
    assert len({runner.short for runner in RUNNERS}) == len(RUNNERS)


def test_quix_imports_izin_and_none_of_its_clients(tmp_path: Path):
    """Where we are installed our clients lie beside us, and Quix pins others."""
    root = tmp_path / "site-packages"
    for name in ("izin", "confluent_kafka"):
        (root / name).mkdir(parents=True)
    (root / "izin__mypyc.cpython-311.so").touch()
    for _ in range(2):
        alone = quix_environment.izin_alone(root, cache=tmp_path)
        assert {path.name for path in alone.iterdir()} == {"izin", "izin__mypyc.cpython-311.so"}
    assert (alone / "izin").resolve() == root / "izin"


def test_a_runner_nobody_knows_is_refused():
    """A misspelt name would race nobody and look like a pass."""
    ran = CliRunner().invoke(app, ["order", "--only", "quicks"])
    assert ran.exit_code == 2
    assert "quicks is none of" in ran.output


def test_packages_that_cannot_be_installed_are_told(tmp_path: Path):
    """A peer that cannot be had is skipped with the reason, and nothing half made is used."""
    quix_environment.folder(tmp_path).write_text("in the way")
    with pytest.raises(NotInstalledError, match="venv"):
        quix_environment.python(cache=tmp_path)


def test_a_source_that_does_not_compile_is_told(tmp_path: Path):
    """The compiler's own words reach the reader."""
    source = tmp_path / "Wrong.java"
    source.write_text("class Wrong {")
    with pytest.raises(kafka_streams.NotCompiledError, match=r"Wrong\.java does not compile"):
        kafka_streams.compile_source(source, tmp_path / "classes", jars=[], compiler=[])


def test_a_task_is_words_on_a_command_line(monkeypatch: pytest.MonkeyPatch):
    """What the race tells a runner is what the runner hears."""
    task = Task("127.0.0.1:1", "p-", "p-consent-events", "p-out", "p-app", "folder", "4")
    monkeypatch.setattr("sys.argv", ["runner", *task])
    assert Task.told() == task


def test_results_are_kept_where_every_runner_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who could not race is in the JSON with the reason."""

    def absent(**_: object) -> str:
        raise NotInstalledError("no network")

    monkeypatch.setattr(quix_environment, "python", absent)
    kept = tmp_path / "order.json"
    words = ["order", "--only", "quix", "--results", str(kept)]
    ran = CliRunner().invoke(app, [*words, "--bootstrap-servers", "127.0.0.1:1"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(kept.read_text())["absent"] == {"Quix Streams": "no network"}
    assert "skipped" in ran.output


def test_topics_are_deleted_once_the_broker_names_them_no_more(monkeypatch: pytest.MonkeyPatch):
    """The broker hears of it after the controller: until then none could be made anew."""
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    admin = Mock()
    admin.delete_topics.return_value = {}
    admin.list_topics.side_effect = [
        SimpleNamespace(topics={"a": None, "b": None, "others": None}),
        SimpleNamespace(topics={"others": None}),
    ]
    monkeypatch.setattr(kafka, "admin", lambda _: admin)
    delete(settings, {"a", "b"})
    assert admin.list_topics.call_count == 2
