"""One process: ready by an effect, ended within a bound, never an orphan."""

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
from izin.local.child import answers
from tests.support.waiting import runs, until

FOREVER = "import threading; threading.Event().wait()"
DEAF = (
    "import pathlib, signal, sys, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "pathlib.Path(sys.argv[1]).touch(); threading.Event().wait()"
)
PARENT = """
import sys, threading, pathlib
from izin.local import Child, Command
folder = pathlib.Path(sys.argv[1])
argv = (sys.executable, "-c", "import threading; threading.Event().wait()")
child = Child(Command(name="child", argv=argv, log=folder / "child.log"))
born = threading.Thread(target=child.start)  # a thread that ends long before the parent
born.start()
born.join()
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


def test_it_runs_until_it_is_stopped(make_child: MakeChild) -> None:
    """SIGTERM ends it, and its exit code tells so."""
    child = make_child(FOREVER)
    child.start()
    child.wait_ready()
    assert child.is_alive
    child.stop()
    assert not child.is_alive
    assert child.exit_code == -signal.SIGTERM


def test_one_that_does_not_listen_is_killed(make_child: MakeChild, tmp_path: Path) -> None:
    """After the bound SIGTERM becomes SIGKILL."""
    deaf = tmp_path / "deaf"
    child = make_child(DEAF, str(deaf), ready=deaf.exists, stop_within=timedelta(milliseconds=100))
    child.start()
    child.wait_ready()
    child.stop()
    assert child.exit_code == -signal.SIGKILL


def test_one_that_ends_at_once_shows_its_last_words(make_child: MakeChild) -> None:
    """The error carries name, exit code, log and last lines: no search for the reason."""
    child = make_child("print('the port is mine'); raise SystemExit(3)", ready=lambda: False)
    child.start()
    with pytest.raises(StartError, match="worker did not start: it ended with exit code 3") as told:
        child.wait_ready()
    assert told.value.log_tail == "the port is mine"
    assert str(told.value.log) in str(told.value)


def test_only_this_run_is_quoted(make_child: MakeChild) -> None:
    """The log goes on from run to run, an error quotes the last run."""
    for word in ("first", "second"):
        child = make_child(f"print('{word}'); raise SystemExit(1)")
        child.start()
        until(lambda child=child: not child.is_alive)
    assert child.log_tail() == "second"
    assert child.command.log.read_text() == "first\nsecond\n"


def test_one_that_never_gets_ready_is_given_up(make_child: MakeChild) -> None:
    """The wait has a limit, and the error names it."""
    child = make_child(FOREVER, ready=lambda: False, ready_within=timedelta(milliseconds=100))
    child.start()
    with pytest.raises(StartError, match=r"it was not ready within 0\.1 s"):
        child.wait_ready()


def test_a_command_that_is_not_there_is_a_start_that_failed(tmp_path: Path) -> None:
    """A misspelt program is told like any other failed start."""
    command = Command(
        name="typo", argv=("/nowhere/at-all",), log=tmp_path / "typo.log", ready=lambda: False
    )
    child = Child(command)
    child.start()
    with pytest.raises(StartError, match="No such file or directory"):
        child.wait_ready()


@pytest.mark.parametrize(("status", "ready"), [(204, True), (503, False)])
def test_an_address_is_ready_when_it_answers_well(status: int, ready: bool) -> None:
    """A URL below 400 is ready; a refusal is not, and neither is silence."""

    class Door(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with http.server.HTTPServer(("127.0.0.1", 0), Door) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/healthz"
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        assert answers(url) is ready
        serving.join()
    assert not answers(url)


def test_its_own_children_end_with_it(make_child: MakeChild, tmp_path: Path) -> None:
    """A kill reaches the whole group."""
    told = tmp_path / "grandchild"
    code = (
        "import pathlib, subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-c', 'import threading; "
        "threading.Event().wait()']); "
        "part = pathlib.Path(sys.argv[1] + '.part'); part.write_text(str(p.pid)); "
        "part.rename(sys.argv[1]); p.wait()"
    )
    child = make_child(code, str(told), ready=told.exists)
    child.start()
    child.wait_ready()
    grandchild = int(told.read_text())
    child.kill()
    until(lambda: not runs(grandchild))


def test_it_gets_the_environment_it_was_given(make_child: MakeChild) -> None:
    """The environment is the given one, not an addition to ours."""
    child = make_child("import os; print(sorted(os.environ))", environment={"IZIN_A": "b"})
    child.start()
    until(lambda: not child.is_alive)
    assert "IZIN_A" in child.log_tail()
    assert "PATH" not in child.log_tail()


def test_no_orphan_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
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
