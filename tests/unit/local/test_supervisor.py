"""Supervised children: restarted when they die, killed by name, stopped in reverse order.

One child process: ready by an effect, stopped in bounded time, never an orphan.

Ports: find a free one, or name the one that is taken.

Locks on folders, and the cache folder.

Servers that are not started, because the environment says otherwise.

A server of the caller's own that gives no database is an error with its words.

What the processes of one run share, and where its servers' data is.

A proxy forwards, falls silent with its connections open, and shows that its server is away.

A process under a wrong clock, which jumps at a signal.
"""

import asyncio
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import chain, repeat
from multiprocessing.connection import Client
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest

from izin.local import (
    Child,
    Command,
    LocalError,
    LocalServers,
    PortTakenError,
    RestartPolicy,
    StartError,
    StateInUseError,
    Supervisor,
    ensure_database,
    free_port,
    reservations,
)
from izin.local.processes import answers
from izin.local.reservations import HOST, FolderLock, cache_folder, claim, is_free, is_listening
from tests.support.project_rules import ROOT
from tests.support.proxy import proxy_to
from tests.support.servers import distribution
from tests.support.servers.distribution import (
    ServerScheduling,
    SharedBroker,
    memory_folder,
    require_listed,
    shared_broker,
)
from tests.support.skewed_process import JUMPS, MOST_SKEW
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


AT_ONCE = timedelta(0)
SECRET = "obviously-fake"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def test_claim_of_a_taken_port_names_port_and_setting(taken: int) -> None:
    """The error names who wanted it, the port, and the setting that chooses another."""
    with pytest.raises(PortTakenError) as caught:
        claim(taken, name="Kafka", setting="--port kafka=NUMBER")
    assert f"Kafka cannot listen on 127.0.0.1:{taken}" in str(caught.value)
    assert "--port kafka=NUMBER" in str(caught.value)


def test_taken_port_is_listening_and_not_free(taken: int) -> None:
    """A port that a program listens on is not free."""
    assert not is_free(taken)
    assert is_listening(f"{HOST}:{taken}")


def test_free_port_can_be_claimed() -> None:
    """A free port can be claimed, and nothing answers there."""
    port = free_port()
    assert claim(port, name="Kafka", setting="--port kafka=NUMBER") == port
    assert not is_listening(f"{HOST}:{port}")


def test_port_in_time_wait_is_free(taken: int) -> None:
    """Connections left over from a killed run do not block the next one."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection((HOST, port))
        served, _ = listener.accept()
        served.close()
        client.close()
    assert is_free(port)


def test_claim_without_a_port_is_below_the_ephemeral_range() -> None:
    """Without a port, a free one below the kernel.s ephemeral range."""
    assert 20_000 <= claim(None, name="Kafka", setting="--port kafka=NUMBER") <= 32_000


def choose(monkeypatch: pytest.MonkeyPatch, *chosen: int) -> None:
    """Let chance choose these ports, one after the other."""
    upcoming = iter(chosen)
    monkeypatch.setattr(reservations.random, "randint", lambda *_: next(upcoming))


def test_port_is_chosen_once_before_anybody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers of one run get different ports, though neither listens yet."""
    first, other = free_port(), free_port()
    monkeypatch.setattr(reservations, "_chosen", deque())
    choose(monkeypatch, first, first, other)
    assert (free_port(), free_port()) == (first, other)


def test_port_that_another_process_chose_is_not_free() -> None:
    """Runs that start at the same time get different ports, until the other has ended."""
    program = "from izin.local import free_port; print(free_port(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        chosen = int(process.stdout.readline())
        assert is_free(chosen)
        assert not reservations._reserve(chosen)
        process.communicate("\n")
    assert reservations._reserve(chosen)


def test_folder_lock_taken_names_the_folder_and_its_owner(tmp_path: Path) -> None:
    """The second run learns which folder is in use, and by which process."""
    with (
        FolderLock(tmp_path, within=AT_ONCE),
        pytest.raises(StateInUseError, match=r"is in use by another run \(pid \d+"),
        FolderLock(tmp_path, within=AT_ONCE),
    ):
        pytest.fail("two runs have locked the same folder")


def test_folder_lock_inherited_lasts_as_long_as_the_server(tmp_path: Path) -> None:
    """The next run waits for a server that outlives its parent."""
    lock = FolderLock(tmp_path, within=AT_ONCE)
    lock.acquire()
    server = subprocess.Popen(
        [sys.executable, "-c", "input()"], pass_fds=[lock.descriptor], stdin=subprocess.PIPE
    )
    lock.release()
    with pytest.raises(StateInUseError):
        lock.acquire()
    server.communicate(b"\n")
    until(lambda: server.poll() is not None)
    with lock:
        pass


def test_folder_lock_not_taken_has_no_descriptor(tmp_path: Path) -> None:
    """Passing on a lock that is not held is a bug, and an error."""
    with pytest.raises(RuntimeError, match="is not locked"):
        _ = FolderLock(tmp_path, within=AT_ONCE).descriptor


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({"XDG_CACHE_HOME": "/c"}, Path("/c/izin")), ({}, Path.home() / ".cache/izin")],
)
def test_cache_folder_follows_xdg_cache_home(environ: dict[str, str], expected: Path) -> None:
    """XDG_CACHE_HOME where it is set; else ~/.cache."""
    assert cache_folder(environ) == expected


def test_protocol_of_brokers_that_are_not_named_is_refused(tmp_path: Path) -> None:
    """Our processes would speak it to the broker that is started here, which does not."""
    servers = LocalServers(tmp_path, environ={"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"})
    with pytest.raises(LocalError, match="KAFKA_SECURITY_PROTOCOL=SASL_SSL") as refused:
        servers.start()
    assert "KAFKA_BOOTSTRAP_SERVERS" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "protocol", [{"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, {"KAFKA_SECURITY_PROTOCOL": ""}, {}]
)
def test_protocol_of_named_brokers_is_theirs(tmp_path: Path, protocol: dict[str, str]) -> None:
    """Nothing is started, and nothing refused."""
    named = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9093", "DATABASE_URL": "postgresql:///x"}
    with LocalServers(tmp_path, environ={**named, **protocol}) as servers:
        assert servers.environment() == named


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql://izin:{SECRET}@127.0.0.1:1/izin", "port 1 failed"),
        (f"postgresql://izin:{SECRET}@127.0.0.1:1/izin?sslmode=verify-full", "sslrootcert"),
        (f"izin {SECRET}", "is not a PostgreSQL URL"),
    ],
)
def test_unusable_server_is_named_without_the_password(url: str, why: str) -> None:
    """Who starts a stack on it has to correct DATABASE_URL."""
    with pytest.raises(LocalError, match="DATABASE_URL") as refused:
        ensure_database(url, "izin_run")
    assert why in str(refused.value)
    assert SECRET not in str(refused.value)


SECURE = "tests/integration/runtime/test_secure_kafka.py"


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Return the server of a broker that processes share."""
    made = Mock(bootstrap_servers="127.0.0.1:1")
    monkeypatch.setattr(distribution, "Kafka", lambda _: made)
    return made


@pytest.fixture
def broker(kafka: Mock) -> Iterator[SharedBroker]:
    """Yield a broker that processes share, of which none has asked yet."""
    shared = SharedBroker()
    yield shared
    if not kafka.stop.called:
        shared.stop()


def test_broker_of_all_is_started_by_the_first_who_asks(broker: SharedBroker, kafka: Mock) -> None:
    """Each gets the same address; a run that asks for none has started none."""
    assert kafka.method_calls == []
    Client(broker.address).close()  # of a process that ended before it asked
    assert {shared_broker(broker.address) for _ in range(2)} == {"127.0.0.1:1"}
    broker.stop()
    assert (kafka.method_calls[0], kafka.method_calls[-1]) == (call.start(), call.stop())
    assert not Path(broker.address).exists()


def test_broker_that_cannot_start_is_an_error_of_who_asks(
    broker: SharedBroker, kafka: Mock
) -> None:
    """And the next is answered too."""
    kafka.start.side_effect = LocalError("no Java")
    for _ in range(2):
        with pytest.raises(LocalError, match="no Java"):
            shared_broker(broker.address)


def test_files_that_share_a_server_are_of_one_scope() -> None:
    """Any other file is of its own; every file that is named exists."""
    scheduling = object.__new__(ServerScheduling)
    scopes = {
        one: scheduling._split_scope(f"{one}::test_it[1]")
        for one in (SECURE, "tests/e2e/test_secure_demo.py", "tests/e2e/test_up.py")
    }
    assert list(scopes.values()) == ["secure_kafka", "secure_kafka", "tests/e2e/test_up.py"]
    assert [one for one in distribution._GROUPS if not (ROOT / one).exists()] == []


def test_test_that_shares_a_server_and_is_not_listed_is_refused() -> None:
    """It would start one more of that server, or meet another's topics."""
    require_listed(SECURE, {"secure_kafka", "tmp_path"})
    require_listed("tests/unit/test_a.py", {"tmp_path"})
    for file in ("tests/unit/test_a.py", SECURE):
        with pytest.raises(pytest.UsageError, match=r"uses registry: list it in distribution\.py"):
            require_listed(file, {"unprefixed_kafka"})


@pytest.mark.parametrize(("free", "there"), [(5, False), (7, True)])
def test_data_is_in_memory_where_there_is_room(
    free: int, there: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else it is on disk, as where a machine has no such folder."""
    usage = SimpleNamespace(free=free * 1024**3)
    monkeypatch.setattr(distribution, "_MEMORY", tmp_path)
    monkeypatch.setattr(distribution, "shutil", SimpleNamespace(disk_usage=lambda _: usage))
    assert memory_folder() == (tmp_path if there else None)
    monkeypatch.undo()
    monkeypatch.setattr(distribution, "_MEMORY", tmp_path / "absent")
    assert memory_folder() is None


_LIMIT = 10


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line with itself, until the client ends."""
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def test_silent_proxy_forwards_what_it_held_back_and_then_the_end() -> None:
    """A client that gave up meanwhile has its request arrive late, as at a network's return."""
    arrived = asyncio.Queue[bytes]()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.put_nowait(await reader.read())
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with (
        asyncio.timeout(_LIMIT),
        server,
        proxy_to("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        while not proxy.ports:  # noqa: ASYNC110 - of the other side
            await asyncio.sleep(0)
        proxy.silence()
        writer.write(b"late")
        writer.close()
        await writer.wait_closed()
        assert arrived.empty()
        proxy.resume()
        assert await arrived.get() == b"late"


async def test_server_that_is_away_ends_the_connection() -> None:
    """The client is not left waiting, and can connect once the server is back."""
    port = free_port()
    async with asyncio.timeout(_LIMIT), proxy_to("127.0.0.1", port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read() == b""
        writer.close()
        async with await asyncio.start_server(echo, "127.0.0.1", port):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"there\n")
            assert await reader.readline() == b"there\n"
            assert len(proxy.ports) == 1
            writer.close()


_ROUNDED = 0.001
PROGRAM = "tests.unit.local.show_clock"


@pytest.mark.parametrize("skew", [-MOST_SKEW, 0.0, MOST_SKEW])
def test_clock_is_wrong_from_the_first_import_and_jumps(skew: float) -> None:
    """Wall clocks only: the monotonic one is right, or time-outs would be."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.skewed_process", str(skew), PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for number, expected in [(None, skew), *JUMPS.items()]:
            if number is not None:
                process.send_signal(signal.Signals(number))
            before = time.time(), time.monotonic()
            process.stdin.write("show\n")
            process.stdin.flush()
            wall, monotonic = map(float, process.stdout.readline().split())
            after = time.time(), time.monotonic()
            assert before[0] - _ROUNDED <= wall - expected <= after[0] + _ROUNDED
            assert before[1] <= monotonic <= after[1]
        process.stdin.close()
