"""A fuse burns where and when it was told to, and nowhere else."""

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.chaos.order.fault_points import Deed, Fuse, Point
from tests.chaos.order.instrumented_worker import Wrapped
from tests.streams.workers import until


class Client:
    """A transactional producer of which two calls are of interest."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def produce(self, topic: str) -> None:
        self.calls.append(topic)

    def poll(self) -> int:
        return 7


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the signals that would have struck this process."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    return sent


@pytest.fixture
def fuse(tmp_path: Path) -> Fuse:
    """Give a fuse that is not armed."""
    return Fuse(tmp_path / "worker.fuse")


def test_an_unarmed_fuse_does_nothing(fuse: Fuse, signals: list[int]) -> None:
    """A worker that nobody strikes passes every point."""
    for point in Point:
        fuse.passed(point)
    assert (signals, fuse.blown()) == ([], None)


@pytest.mark.parametrize(
    ("deed", "number"), [(Deed.DIE, signal.SIGKILL), (Deed.SLEEP, signal.SIGSTOP)]
)
def test_it_befalls_at_the_pass_it_was_armed_for(
    fuse: Fuse, signals: list[int], deed: Deed, number: int
) -> None:
    """Two passes are let through, the third is struck, and it strikes once."""
    fuse.arm(Point.COMMITTED, passes=3, deed=deed)
    for _ in range(2):
        fuse.passed(Point.COMMITTED)
        fuse.passed(Point.BEGUN)
    assert (signals, fuse.blown()) == ([], None)
    fuse.passed(Point.COMMITTED, "partition 4")
    fuse.passed(Point.COMMITTED)
    assert (signals, fuse.blown()) == ([number], "partition 4")


def test_within_a_commit_it_befalls_a_moment_later(fuse: Fuse, signals: list[int]) -> None:
    """The commit goes on meanwhile: it may or may not have happened."""
    fuse.arm(Point.COMMITTING, passes=1, deed=Deed.DIE)
    fuse.passed(Point.COMMITTING)
    until(lambda: bool(signals), within=5, what="signal")


def test_who_is_held_goes_on_when_let_go(fuse: Fuse) -> None:
    """Only the thread at the point waits, for as long as the campaign wants."""
    fuse.arm(Point.CATCHING_UP, passes=1, deed=Deed.HOLD)
    held = threading.Thread(target=fuse.passed, args=(Point.CATCHING_UP, "4"))
    held.start()
    until(lambda: fuse.blown() == "4", within=5, what="word of the one who is held")
    assert held.is_alive()
    fuse.disarm()
    held.join(5)
    assert not held.is_alive()


def test_a_disarmed_fuse_does_nothing(fuse: Fuse, signals: list[int]) -> None:
    """A worker that never came by is left in peace afterwards."""
    fuse.arm(Point.BEGUN, passes=1, deed=Deed.DIE)
    fuse.disarm()
    fuse.passed(Point.BEGUN)
    assert signals == []


def test_a_wrapped_client_does_its_work_and_says_so(fuse: Fuse, signals: list[int]) -> None:
    """The point lies behind the call; calls without a point are the client's own."""
    client = Client()
    wrapped = Wrapped(client, fuse, {"produce": Point.PRODUCED})
    fuse.arm(Point.PRODUCED, passes=2, deed=Deed.DIE)
    wrapped.produce("consents")
    assert (client.calls, signals) == (["consents"], [])
    wrapped.produce("decisions")
    assert (client.calls, signals) == (["consents", "decisions"], [signal.SIGKILL])
    assert wrapped.poll() == 7
