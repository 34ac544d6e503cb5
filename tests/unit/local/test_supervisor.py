"""Supervised children: restarted when they die, killed by name, stopped in reverse order.

One child process: ready by an effect, stopped in bounded time, never an orphan.
"""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from izin.local import Child, Command, LocalError, RestartPolicy, StartError, Supervisor
from izin.local.processes import answers
from tests.support.waiting import runs, until

FOREVER = "import threading; threading.Event().wait()"
QUICK = RestartPolicy(first=timedelta(milliseconds=10), most_in_a_row=3)
IGNORES_SIGTERM = (
    "import pathlib, signal, sys, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "pathlib.Path(sys.argv[1]).touch(); threading.Event().wait()"
)
PARENT = """
import sys, threading, pathlib
from izin.local import Child, Command
folder = pathlib.Path(sys.argv[1])
argv = (sys.executable, "-c", "import threading; threading.Event().wait()")
child = Child(Command(name="child", argv=argv, log=folder / "child.log"))
starter = threading.Thread(target=child.start)  # a thread that ends long before the parent
starter.start()
starter.join()
print(child.pid, flush=True)
threading.Event().wait()
"""

MakeChild = Callable[..., Child]


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def supervisor(events: list[str]) -> Iterator[Supervisor]:
    with Supervisor(policy=QUICK, on_event=events.append) as started:
        yield started


def a_command(folder: Path, name: str = "worker", code: str = FOREVER) -> Command:
    return Command(name=name, argv=(sys.executable, "-c", code), log=folder / f"{name}.log")


def test_child_killed_is_restarted_where_it_is_kept_up(
    supervisor: Supervisor, tmp_path: Path, events: list[str]
) -> None:
    """A kill -9 is followed by a new start under a new id; without `keep_up` by nothing."""
    kept = supervisor.start(a_command(tmp_path, "kept"), keep_up=True)
    single = supervisor.start(a_command(tmp_path, "single"))
    before = kept.pid
    supervisor.kill("single")
    supervisor.kill("kept")
    until(lambda: kept.is_alive and kept.pid != before)
    assert events == ["kept ended with exit code -9; starting it again in 0.01 s"]
    assert not single.is_alive


def test_start_together_failed_stops_those_not_ready(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """Each waits for the other here; where one ends, what was not ready yet ends with it."""
    pair = [
        Command(
            name=name,
            argv=(sys.executable, "-c", f"open({str(tmp_path / name)!r}, 'w'); {FOREVER}"),
            log=tmp_path / f"{name}.log",
            ready=(tmp_path / other).exists,
        )
        for name, other in (("one", "two"), ("two", "one"))
    ]
    supervisor.start_together(*pair, keep_up=True)
    assert all(supervisor.child(name).is_alive for name in ("one", "two"))
    ends = a_command(tmp_path, "ends", "raise SystemExit(3)")
    never = Command(name="ends", argv=ends.argv, log=ends.log, ready=lambda: False)
    with pytest.raises(StartError, match="ended with exit code 3"):
        supervisor.start_together(never, a_command(tmp_path, "late"), keep_up=True)
    assert not supervisor.child("late").is_alive
    assert supervisor.child("one").is_alive


def test_child_dying_in_a_row_is_given_up_with_its_log(
    supervisor: Supervisor, tmp_path: Path, events: list[str]
) -> None:
    """Restarts are bounded; the last event reports that it stays down, and quotes its log."""
    mark = tmp_path / "first-run"
    code = (
        f"import pathlib, threading; p = pathlib.Path({str(mark)!r}); "
        "first = not p.exists(); p.touch(); threading.Event().wait() if first else None; "
        "print('no more'); raise SystemExit(4)"
    )
    supervisor.start(a_command(tmp_path, code=code), keep_up=True)
    until(mark.exists)
    supervisor.kill("worker")
    until(lambda: any("4 times in a row; it stays down" in event for event in events))
    assert events[-1].endswith("no more")
    supervisor.tend(time.monotonic() + 3600)
    assert not supervisor.child("worker").is_alive


def test_supervisor_stop_is_in_reverse_order(supervisor: Supervisor, tmp_path: Path) -> None:
    """The last one started is stopped first, so that none loses what it depends on."""
    order = tmp_path / "order"
    code = (
        "import pathlib, signal, sys, threading\n"
        "def end(*_):\n"
        f"    open({str(order)!r}, 'a').write(sys.argv[1] + ' ')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({str(tmp_path)!r}, sys.argv[1]).touch()\n"
        "threading.Event().wait()\n"
    )
    for name in ("broker", "worker", "console"):
        argv = (sys.executable, "-c", code, name)
        log = tmp_path / f"{name}.log"
        supervisor.start(Command(name=name, argv=argv, log=log, ready=(tmp_path / name).exists))
    supervisor.stop()
    assert order.read_text().split() == ["console", "worker", "broker"]


def test_child_stopped_by_name_is_not_restarted(
    supervisor: Supervisor, tmp_path: Path, events: list[str]
) -> None:
    """A stop by name ends the supervision."""
    supervisor.start(a_command(tmp_path), keep_up=True)
    supervisor.stop("worker")
    supervisor.tend(time.monotonic() + 3600)
    assert not supervisor.child("worker").is_alive
    assert events == []


def test_start_with_a_running_name_is_refused(supervisor: Supervisor, tmp_path: Path) -> None:
    """Names are unique among running children; after the first has ended, the name is free."""
    supervisor.start(a_command(tmp_path))
    with pytest.raises(ValueError, match="named worker runs already"):
        supervisor.start(a_command(tmp_path))
    supervisor.stop("worker")
    assert supervisor.start(a_command(tmp_path)).is_alive


def test_child_that_fails_to_start_is_gone(supervisor: Supervisor, tmp_path: Path) -> None:
    """The wait has a limit, which the error names; the process is gone."""
    command = Command(
        name="worker",
        argv=(sys.executable, "-c", FOREVER),
        log=tmp_path / "worker.log",
        ready=lambda: False,
        ready_within=timedelta(milliseconds=50),
    )
    with pytest.raises(StartError, match=r"it was not ready within 0\.05 s"):
        supervisor.start(command, keep_up=True)
    assert not supervisor.child("worker").is_alive


def test_restart_that_fails_is_reported_and_bounded(
    supervisor: Supervisor, tmp_path: Path, events: list[str]
) -> None:
    """What keeps it from starting is reported, counts as a death, and ends in giving up."""
    child = supervisor.start(a_command(tmp_path))
    starts = chain([child], repeat(LocalError("its port is taken")))
    supervisor.keep_up("server", Mock(side_effect=starts))
    supervisor.kill("worker")
    assert supervisor.gave_up.wait(10)
    assert events[0] == "server ended with exit code -9; starting it again in 0.01 s"
    assert events[1].startswith("server cannot be started: its port is taken; starting it again")
    assert "4 times in a row; it stays down" in events[-1]


def test_restart_pause_doubles_and_is_bounded() -> None:
    """Doubled with each death in a row, up to the longest; then no more."""
    policy = RestartPolicy(
        first=timedelta(seconds=1), longest=timedelta(seconds=3), most_in_a_row=3
    )
    pauses = [policy.pause(deaths) for deaths in (1, 2, 3, 4)]
    assert pauses == [timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=3), None]


def test_deaths_far_apart_do_not_add_up(supervisor: Supervisor, tmp_path: Path) -> None:
    """Deaths far apart never add up to giving up."""
    child = supervisor.start(a_command(tmp_path), keep_up=True)
    for hour in range(1, 2 * QUICK.most_in_a_row):
        child.kill()
        supervisor.tend(time.monotonic() + 3600 * hour)
        supervisor.tend(time.monotonic() + 3600 * hour + 1)
        assert child.is_alive


@pytest.fixture
def make_child(tmp_path: Path) -> Iterator[MakeChild]:
    made: list[Child] = []

    def make(code: str, *arguments: str, **fields: Any) -> Child:  # noqa: ANN401 - what Command takes
        argv = (sys.executable, "-c", code, *arguments)
        child = Child(Command(name="worker", argv=argv, log=tmp_path / "worker.log", **fields))
        made.append(child)
        return child

    yield make
    for child in made:
        child.kill()


def test_child_stop_ends_the_process_with_sigterm(make_child: MakeChild) -> None:
    """SIGTERM ends it, and its exit code shows that."""
    child = make_child(FOREVER)
    child.start()
    child.wait_ready()
    assert child.is_alive
    child.stop()
    assert not child.is_alive
    assert child.exit_code == -signal.SIGTERM


def test_child_stop_ignored_kills_the_process(make_child: MakeChild, tmp_path: Path) -> None:
    """After the limit SIGTERM becomes SIGKILL."""
    mark = tmp_path / "ready"
    child = make_child(
        IGNORES_SIGTERM, str(mark), ready=mark.exists, stop_within=timedelta(milliseconds=100)
    )
    child.start()
    child.wait_ready()
    child.stop()
    assert child.exit_code == -signal.SIGKILL


def test_child_that_ends_at_once_reports_its_log_tail(make_child: MakeChild) -> None:
    """The error has the name, the exit code, the log and its last lines."""
    child = make_child("print('the port is mine'); raise SystemExit(3)", ready=lambda: False)
    child.start()
    with pytest.raises(
        StartError, match="worker did not start: it ended with exit code 3"
    ) as raised:
        child.wait_ready()
    assert raised.value.log_tail == "the port is mine"
    assert str(raised.value.log) in str(raised.value)


def test_log_tail_after_a_restart_has_the_last_run_only(make_child: MakeChild) -> None:
    """The log is appended to from run to run; an error quotes the last run only."""
    for word in ("first", "second"):
        child = make_child(f"print('{word}'); raise SystemExit(1)")
        child.start()
        until(lambda child=child: not child.is_alive)
    assert child.log_tail() == "second"
    assert child.command.log.read_text() == "first\nsecond\n"


def test_child_with_a_missing_program_fails_to_start(tmp_path: Path) -> None:
    """A misspelt program is reported like any other failed start."""
    command = Command(
        name="typo", argv=("/nowhere/at-all",), log=tmp_path / "typo.log", ready=lambda: False
    )
    child = Child(command)
    child.start()
    with pytest.raises(StartError, match="No such file or directory"):
        child.wait_ready()


@pytest.mark.parametrize(("status", "ready"), [(204, True), (503, False)])
def test_answers_by_status_is_ready_below_400(status: int, ready: bool) -> None:
    """A status below 400 is ready; an error is not, and neither is no answer."""

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with http.server.HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/healthz"
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        assert answers(url) is ready
        serving.join()
    assert not answers(url)


def test_child_killed_takes_its_own_children_along(make_child: MakeChild, tmp_path: Path) -> None:
    """A kill reaches the whole group."""
    pid_file = tmp_path / "grandchild"
    code = (
        "import pathlib, subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-c', 'import threading; "
        "threading.Event().wait()']); "
        "part = pathlib.Path(sys.argv[1] + '.part'); part.write_text(str(p.pid)); "
        "part.rename(sys.argv[1]); p.wait()"
    )
    child = make_child(code, str(pid_file), ready=pid_file.exists)
    child.start()
    child.wait_ready()
    grandchild = int(pid_file.read_text())
    child.kill()
    until(lambda: not runs(grandchild))


def test_child_environment_given_replaces_ours(make_child: MakeChild) -> None:
    """The environment is the given one, not added to ours."""
    child = make_child("import os; print(sorted(os.environ))", environment={"IZIN_A": "b"})
    child.start()
    until(lambda: not child.is_alive)
    assert "IZIN_A" in child.log_tail()
    assert "PATH" not in child.log_tail()


def test_child_of_a_killed_parent_is_killed_too(tmp_path: Path) -> None:
    """Kill -9 of the parent ends the child, though the thread that started it is long gone."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    pid = int(parent.stdout.readline())
    assert runs(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    until(lambda: not runs(pid))
