"""A worker ends after SIGTERM, whatever its loop waits for."""

import signal
import subprocess
import sys

import pytest

from izin.streams.engine.watchdog import EXIT_STALLED, BoundedShutdown

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
