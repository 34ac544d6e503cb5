"""One child process: ready by an effect, stopped in bounded time, never an orphan."""

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.local import Child, Command, StartError
from izin.local.processes import answers
from tests.support.waiting import runs, until

FOREVER = "import threading; threading.Event().wait()"
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


def test_child_never_ready_fails_at_its_limit(make_child: MakeChild) -> None:
    """The wait has a limit, and the error names it."""
    child = make_child(FOREVER, ready=lambda: False, ready_within=timedelta(milliseconds=100))
    child.start()
    with pytest.raises(StartError, match=r"it was not ready within 0\.1 s"):
        child.wait_ready()


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
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert runs(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    until(lambda: not runs(pid))
