"""A worker ends where its event loop is blocked, and after SIGTERM, whatever its loop waits for."""

import asyncio
import signal
import subprocess
import sys
import threading

import faust
import pytest

from izin.streams.engine.watchdog import EXIT_STALLED, BoundedShutdown, Watchdog


class WatchdogClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def run(self, watchdog: Watchdog, *, checks: int, limit: float) -> None:
        """Let time pass in which the watchdog checks as often as it should: ten times a limit."""
        for _ in range(checks):
            self.now += limit / 10
            watchdog.check()


def test_stalled_loop_ends_the_process() -> None:
    """Blocked for the limit: the process ends, with the exit code of that."""
    clock, ended = WatchdogClock(), list[int]()
    watchdog = Watchdog(limit=20, clock=clock, end=ended.append)
    clock.run(watchdog, checks=9, limit=20)
    assert not ended
    clock.run(watchdog, checks=1, limit=20)
    assert ended == [EXIT_STALLED]


def test_frozen_process_goes_on_when_it_is_woken() -> None:
    """For as long as it was frozen nothing stalled; what stalled before or after counts."""
    clock, ended = WatchdogClock(), list[int]()
    watchdog = Watchdog(limit=20, clock=clock, end=ended.append)
    clock.run(watchdog, checks=5, limit=20)
    clock.now += 3600
    clock.run(watchdog, checks=4, limit=20)
    assert not ended
    clock.run(watchdog, checks=1, limit=20)
    assert ended == [EXIT_STALLED]


async def test_beating_loop_is_left_alone() -> None:
    """A loop that beats is left alone, however long it has run."""
    clock, ended = WatchdogClock(), list[int]()
    watchdog = Watchdog(limit=20, clock=clock, end=ended.append)
    clock.now += 100
    beating = asyncio.create_task(watchdog.beat())
    await asyncio.sleep(0)
    watchdog.check()
    beating.cancel()
    assert not ended


async def test_loop_without_progress_ends_the_process() -> None:
    """A worker that is outside of its group beats no more, although its loop is well."""
    clock, ended = WatchdogClock(), list[int]()
    outside = [False]
    watchdog = Watchdog(
        limit=1, clock=clock, end=ended.append, is_progressing=lambda: not outside[0]
    )
    beating = asyncio.create_task(watchdog.beat())
    await asyncio.sleep(0)
    clock.run(watchdog, checks=9, limit=1)
    assert not ended
    outside[0] = True
    await asyncio.sleep(0.1)
    clock.run(watchdog, checks=2, limit=1)
    beating.cancel()
    assert ended == [EXIT_STALLED]


def test_watching_thread_finds_a_stalled_loop() -> None:
    """Nothing of the watched loop is needed to end it."""
    ended = threading.Event()
    watchdog = Watchdog(limit=0.1, end=lambda _: ended.set())
    watchdog.start()
    assert ended.wait(5)
    watchdog.stop()


def test_faust_has_the_rebalancing_attributes() -> None:
    """The second watchdog of a worker depends on them."""
    assert faust.App.rebalancing is False
    assert callable(faust.App.on_rebalance_start)
    assert callable(faust.App.on_rebalance_end)


STUCK = """
import signal
import sys
import time
from izin.streams.engine.watchdog import BoundedShutdown

BoundedShutdown(within=float(sys.argv[1])).watch(lambda: print("stopped", flush=True))
print("listening", flush=True)
time.sleep(60)
"""

TOO_EARLY = """
import os
import signal
import time
from izin.streams.engine.watchdog import BoundedShutdown

shutdown = BoundedShutdown(within=0)
os.kill(os.getpid(), signal.SIGTERM)
shutdown.watch(lambda: None)
time.sleep(60)
"""


@pytest.mark.parametrize(("within", "signals"), [(0.0, 1), (60.0, 2)])
def test_hanging_process_is_ended_after_a_signal(within: float, signals: int) -> None:
    """Out of time, or a second signal: the process ends, although its main thread is blocked."""
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, str(within)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopped\n"
        for _ in range(signals - 1):
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == EXIT_STALLED


def test_signal_before_watching_is_not_lost() -> None:
    """A worker that gets SIGTERM during its start ends."""
    done = subprocess.run([sys.executable, "-c", TOO_EARLY], timeout=60, check=False)
    assert done.returncode == EXIT_STALLED


def test_signals_are_blocked_in_the_creating_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept from every thread but the one that listens."""
    blocked: list[object] = []
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *given: blocked.append(given))
    BoundedShutdown()
    assert blocked == [(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))]
