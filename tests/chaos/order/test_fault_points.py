"""A trigger takes effect where and when it was armed for, and nowhere else."""

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.chaos.order.instrumented_worker import (
    FaultPoint,
    FaultTrigger,
    InstrumentedClient,
    TriggerEffect,
)
from tests.support.order.verdict import until


class RecordingClient:
    """A transactional producer of which two calls are of interest."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def produce(self, topic: str) -> None:
        self.calls.append(topic)

    def poll(self) -> int:
        return 7


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
    until(lambda: bool(signals), within=5, what="signal")


def test_a_blocked_thread_goes_on_when_disarmed(trigger: FaultTrigger) -> None:
    """Only the thread at the point waits, for as long as the campaign wants."""
    trigger.arm(FaultPoint.CATCHING_UP, passes=1, effect=TriggerEffect.BLOCK)
    held = threading.Thread(target=trigger.reach, args=(FaultPoint.CATCHING_UP, "4"))
    held.start()
    until(lambda: trigger.triggered_at() == "4", within=5, what="word of the blocked thread")
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
    client = RecordingClient()
    wrapped = InstrumentedClient(client, trigger, {"produce": FaultPoint.PRODUCED})
    trigger.arm(FaultPoint.PRODUCED, passes=2, effect=TriggerEffect.KILL)
    wrapped.produce("consents")
    assert (client.calls, signals) == (["consents"], [])
    wrapped.produce("decisions")
    assert (client.calls, signals) == (["consents", "decisions"], [signal.SIGKILL])
    assert wrapped.poll() == 7
