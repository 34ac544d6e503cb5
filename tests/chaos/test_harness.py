"""What the commands of all stages share.

Which faults come in which order, and what is done between them.
What faults do to a process, and what is noted of it.
The reports of the campaigns on virtual time: each fault is in the last lines and the code.
Each stage of ``make chaos`` starts: its campaign itself runs by that command alone.

The network between workers and brokers falls silent for whom it should, and comes back.

A trigger takes effect where and when it was armed for, and nowhere else.
"""

import os
import re
import runpy
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import Mock, call

import pytest

from benchmarks.bars import bars_of
from benchmarks.results import RunReport
from tests.chaos import command
from tests.chaos.days import __main__ as days
from tests.chaos.onboarding import __main__ as onboarding
from tests.chaos.order.brokers import Network
from tests.chaos.order.instrumented_worker import (
    FaultPoint,
    FaultTrigger,
    InstrumentedClient,
    TriggerEffect,
)
from tests.chaos.outage import __main__ as outage
from tests.chaos.pipeline import Injection, Victim
from tests.support.waiting import until


def test_progress_without_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The first text at once, and then one in ten seconds; standard output is for the report."""
    seconds = count(0, 4)
    monkeypatch.setattr(command.time, "monotonic", lambda: next(seconds))
    with command.showing("starting") as show:
        for number in range(8):
            show(f"{number} files")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert next(line for line in shown.err.splitlines() if "files" in line) == "0 files"
    assert 1 < shown.err.count("files") < 8


async def test_each_kind_comes_before_any_comes_again() -> None:
    """Then by weight; there is time for what is done meanwhile."""
    injection = Injection(weights={"kill": 5, "freeze": 1}, pause=(2, 3), random=Random(1))
    hits: list[str] = []
    pauses: list[float] = []

    async def hit(fault: str) -> str:
        hits.append(fault)
        return "one"

    async def meanwhile(seconds: float) -> None:
        pauses.append(seconds)

    await injection.run(40, hit, meanwhile=meanwhile)
    assert hits[:2] == ["kill", "freeze"]
    assert injection.injected == {"kill": hits.count("kill"), "freeze": hits.count("freeze")}
    assert injection.injected["kill"] > injection.injected["freeze"] > 0
    assert len(pauses) == len(hits) == 40
    assert all(2 <= one <= 3 for one in pauses)


class Running:
    """A process that does nothing for a minute, or ends at once."""

    def __init__(self) -> None:
        self.argv = ["sleep", "60"]
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.process = subprocess.Popen(self.argv)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def running() -> Iterator[Running]:
    """Yield a process, which is killed afterwards."""
    found = Running()
    yield found
    found.kill()


@pytest.fixture
def victim(running: Running) -> Victim:
    """Return it as a victim that is up."""
    found = Victim(
        name="one",
        part="gate",
        process=lambda: running.process,
        start=running.start,
        kill=running.kill,
        answers=lambda: True,
    )
    found.supervise()
    assert found.is_up
    return found


def state(running: Running) -> str:
    """Return the kernel's letter for the state of the process."""
    stat = Path(f"/proc/{running.process.pid}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[0]


def test_killed_process_is_started_again(victim: Victim, running: Running):
    """Its end was asked for, so it is not noted; also where it was frozen before."""
    victim.be_frozen(60)
    victim.be_killed()
    assert not victim.is_up
    victim.supervise()
    assert (running.starts, victim.is_up, victim.ends) == (2, False, [])
    victim.supervise()
    assert victim.is_up


def test_process_that_ends_by_itself_is_noted(victim: Victim, running: Running):
    """A gate must not end because Kafka is away."""
    running.kill()
    victim.supervise()
    assert (victim.ends, running.starts) == ([-9], 2)


def test_frozen_process_is_let_go_in_time(victim: Victim, running: Running):
    """Not before, and at once when the campaign is over."""
    victim.be_frozen(60)
    victim.supervise()
    until(lambda: state(running) == "T")
    assert not victim.is_up
    victim.release()
    until(lambda: state(running) != "T")
    victim.be_frozen(0)
    victim.supervise()
    assert victim.is_up
    until(lambda: state(running) != "T")


UNSEEN: dict[str, Any] = dict.fromkeys(days.DaysVerdict.__dataclass_fields__, 0)
FINE: Mapping[str, Any] = {
    "days": days.DaysVerdict(
        **UNSEEN | {"unexplained": (), "most_tokens_an_hour": 10, "codes": {}}
    ),
    "outage": outage.OutageVerdict(
        keys=1000,
        rejections=2,
        days=10,
        shut_minutes=15,
        confirmed_hours=3,
        swept=1,
        queried=2,
        found_seconds=60,
        wrong_yes=0,
        unexplained=(),
    ),
    "onboarding": onboarding.OnboardingVerdict(
        rows=1000,
        published=700,
        void=200,
        forecast_seconds=400,
        took_seconds=410,
        requests=2000,
        unexplained=(),
    ),
}
REPORTS: Mapping[str, Callable[[Any], RunReport]] = {
    "days": lambda verdict: days.report(verdict, seed=1, sinks=8, seconds=1),
    "outage": lambda verdict: outage.report(verdict, seconds=1),
    "onboarding": lambda verdict: onboarding.report(verdict, seconds=1),
}


def short_figures(
    stage: str, report: RunReport, folder: Path, capsys: pytest.CaptureFixture[str]
) -> set[str]:
    """Return which figures are short in the last lines of a report, as its exit code says."""
    ended = command.conclude(stage, folder, report)
    last = capsys.readouterr().out.splitlines()[-len(bars_of(f"chaos-{stage}")) :]
    short = {line.partition(":")[0] for line in last if line.endswith("short")}
    assert ended.exit_code == bool(short)
    return short


@pytest.mark.parametrize(
    ("stage", "changes", "short"),
    [
        ("days", {}, set()),
        ("days", {"unexplained": ("a key",)}, {"days-unexplained"}),
        ("days", {"most_tokens_an_hour": 11}, {"days-token-calls"}),
        ("outage", {}, set()),
        ("outage", {"shut_minutes": 15.1}, {"outage-shut"}),
        ("outage", {"shut_minutes": None}, {"outage-shut"}),
        ("outage", {"confirmed_hours": None}, {"outage-confirmed"}),
        ("outage", {"found_seconds": None}, {"outage-found"}),
        ("outage", {"wrong_yes": 1}, {"outage-wrong-yes"}),
        ("outage", {"unexplained": ("a key",)}, {"outage-unexplained"}),
        ("onboarding", {}, set()),
        ("onboarding", {"forecast_seconds": 360}, {"onboarding-forecast"}),
        ("onboarding", {"unexplained": ("a count",)}, {"onboarding-unexplained"}),
    ],
)
def test_campaign_is_short_for_each_fault_and_ends_with_1(
    stage: str,
    changes: Mapping[str, object],
    short: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each figure is in the last lines."""
    found = REPORTS[stage](replace(FINE[stage], **changes))
    assert short_figures(stage, found, tmp_path, capsys) == short


_MAKEFILE = Path(__file__).parents[2] / "Makefile"
STAGES = sorted(one.parent.name for one in Path(__file__).parent.glob("*/__main__.py"))
OPTIONS = {
    "order": ("--minutes", "0.5", "--rounds", "3"),
    "sink": ("--faults", "30", "--minutes", "1", "--restarts"),
    "gate": ("--faults", "20"),
    "inbound": ("--faults", "20"),
    "webhooks": ("--faults", "20"),
    "days": ("--days", "2"),
}
"""What ``make chaos`` passes on, and what is documented."""


@pytest.mark.parametrize("stage", STAGES)
def test_stage_starts_and_knows_its_options(
    stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a process does: everything is imported, and an option that it has not is refused."""
    # Where another test has imported it, runpy warns that it may be run twice.
    monkeypatch.delitem(sys.modules, f"tests.chaos.{stage}.__main__", raising=False)

    def exit_code(*options: str) -> object:
        monkeypatch.setattr(sys, "argv", [stage, *options, "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(f"tests.chaos.{stage}", run_name="__main__", alter_sys=True)
        return ended.value.code

    assert exit_code(*OPTIONS.get(stage, ()), "--seed", "3", "--folder", "unused") == 0
    assert f"python -m tests.chaos.{stage}" in capsys.readouterr().out
    assert exit_code("--unknown") == 2


def test_make_names_every_stage() -> None:
    """One that is not in the help is run by nobody."""
    (help_,) = re.findall(r"^chaos:.*## (.*)$", _MAKEFILE.read_text("utf-8"), re.MULTILINE)
    named = set(re.findall(r"STAGE=(\w+)", help_)) | set(re.findall(r"the (\w+) stage", help_))
    assert named | {"drill"} == set(STAGES)
    assert re.findall(r"^drill:.*## (.*)$", _MAKEFILE.read_text("utf-8"), re.MULTILINE)


NAMES = ("worker-1", "worker-2")


class Echo(socketserver.StreamRequestHandler):
    """Answers each line with itself."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


@pytest.fixture
def network() -> Iterator[Network]:
    """Yield a network to two servers in the places of brokers."""
    servers: list[socketserver.ThreadingTCPServer] = []
    with Network(NAMES, (1, 2)) as network:
        for port in network._ports.values():
            server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Echo)
            server.daemon_threads = True
            servers.append(server)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield network
    for server in servers:
        server.shutdown()
        server.server_close()


def connect(network: Network, worker: str) -> list[socket.socket]:
    """Return a connection of `worker` to each broker."""
    found = []
    for address in network.bootstrap_servers(worker).split(","):
        host, _, port = address.partition(":")
        found.append(socket.create_connection((host, int(port)), timeout=5))
    return found


def is_answered(connection: socket.socket) -> bool:
    connection.settimeout(0.3)
    connection.sendall(b"x\n")
    try:
        return connection.recv(1024).startswith(b"x\n")
    except TimeoutError:
        return False


def test_a_silent_network_keeps_its_connections(network: Network) -> None:
    """One worker's, or one broker's, is silent; what was sent meanwhile arrives afterwards."""
    pairs = [*connect(network, NAMES[0]), *connect(network, NAMES[1])]
    assert [is_answered(one) for one in pairs] == [True] * 4
    network.silence(worker=NAMES[0])
    assert [is_answered(one) for one in pairs] == [False, False, True, True]
    network.resume()
    assert [one.recv(1024) for one in pairs[:2]] == [b"x\n"] * 2
    network.silence(broker=2)
    assert [is_answered(one) for one in pairs] == [True, False, True, False]
    network.resume()
    for one in pairs:
        one.close()


def test_a_broker_that_is_down_takes_no_connection() -> None:
    """As without a network between: the connection ends at once."""
    with Network(NAMES[:1], (1,)) as network:
        (connection,) = connect(network, NAMES[0])
        connection.settimeout(5)
        assert connection.recv(1) == b""
        connection.close()


def test_a_broker_has_a_listener_for_each_worker(network: Network) -> None:
    """It advertises the proxies, beside what it had."""
    had = {
        "listeners": "CLIENT://127.0.0.1:1",
        "advertised.listeners": "CLIENT://127.0.0.1:1",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT",
    }
    found = network.listeners(2, had)
    assert str(found["listener.security.protocol.map"]) == (
        "CLIENT:PLAINTEXT,WORKER1:PLAINTEXT,WORKER2:PLAINTEXT"
    )
    proxies = [network.bootstrap_servers(name).split(",")[1] for name in NAMES]
    assert str(found["advertised.listeners"]) == (
        f"CLIENT://127.0.0.1:1,WORKER1://{proxies[0]},WORKER2://{proxies[1]}"
    )
    assert not {one.partition("://")[2] for one in str(found["listeners"]).split(",")} & {*proxies}


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the signals that would have hit this process."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    return sent


@pytest.fixture
def trigger(tmp_path: Path) -> FaultTrigger:
    """Return a trigger that is not armed."""
    return FaultTrigger(tmp_path / "worker.trigger")


def test_an_unarmed_trigger_does_nothing(trigger: FaultTrigger, signals: list[int]) -> None:
    """A worker without a fault passes every point."""
    for point in FaultPoint:
        trigger.reach(point)
    assert (signals, trigger.triggered_at()) == ([], None)


@pytest.mark.parametrize(
    ("effect", "number"),
    [(TriggerEffect.KILL, signal.SIGKILL), (TriggerEffect.FREEZE, signal.SIGSTOP)],
)
def test_an_armed_trigger_hits_at_its_pass_and_once(
    trigger: FaultTrigger, signals: list[int], effect: TriggerEffect, number: int
) -> None:
    """Two passes are let through, the third is hit, and the next is not."""
    trigger.arm(FaultPoint.COMMITTED, passes=3, effect=effect)
    for _ in range(2):
        trigger.reach(FaultPoint.COMMITTED)
        trigger.reach(FaultPoint.BEGUN)
    assert (signals, trigger.triggered_at()) == ([], None)
    trigger.reach(FaultPoint.COMMITTED, "partition 4")
    trigger.reach(FaultPoint.COMMITTED)
    assert (signals, trigger.triggered_at()) == ([number], "partition 4")


def test_a_trigger_within_a_commit_hits_a_moment_later(
    trigger: FaultTrigger, signals: list[int]
) -> None:
    """The commit goes on meanwhile: it may or may not have happened."""
    trigger.arm(FaultPoint.COMMITTING, passes=1, effect=TriggerEffect.KILL)
    trigger.reach(FaultPoint.COMMITTING)
    until(lambda: bool(signals), within=5)


def test_a_blocked_thread_goes_on_when_disarmed(trigger: FaultTrigger) -> None:
    """Only the thread at the point waits, for as long as the campaign wants."""
    trigger.arm(FaultPoint.CATCHING_UP, passes=1, effect=TriggerEffect.BLOCK)
    held = threading.Thread(target=trigger.reach, args=(FaultPoint.CATCHING_UP, "4"))
    held.start()
    until(lambda: trigger.triggered_at() == "4", within=5)
    assert held.is_alive()
    trigger.disarm()
    held.join(5)
    assert not held.is_alive()


def test_a_disarmed_trigger_does_nothing(trigger: FaultTrigger, signals: list[int]) -> None:
    """A worker that never reached the point is left alone afterwards."""
    trigger.arm(FaultPoint.BEGUN, passes=1, effect=TriggerEffect.KILL)
    trigger.disarm()
    trigger.reach(FaultPoint.BEGUN)
    assert signals == []


def test_an_instrumented_client_works_and_reaches_its_points(
    trigger: FaultTrigger, signals: list[int]
) -> None:
    """The point lies behind the call; calls without a point are the client's own."""
    client = Mock(**{"poll.return_value": 7})
    wrapped = InstrumentedClient(client, trigger, {"produce": FaultPoint.PRODUCED})
    trigger.arm(FaultPoint.PRODUCED, passes=2, effect=TriggerEffect.KILL)
    wrapped.produce("consents")
    assert (client.produce.mock_calls, signals) == ([call("consents")], [])
    wrapped.produce("decisions")
    assert client.produce.mock_calls == [call("consents"), call("decisions")]
    assert signals == [signal.SIGKILL]
    assert wrapped.poll() == 7
