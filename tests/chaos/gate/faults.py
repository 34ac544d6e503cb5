"""The faults of the gate campaign, how often each is injected, and the processes that they hit."""

import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic


class GateFault(StrEnum):
    """A fault of a process, or of a server that all of them use."""

    KILL_GATE = "gate killed"
    FREEZE_GATE = "gate frozen"
    CUT_OFF_GATE = "network of a gate silent"
    KILL_ORDER = "order worker killed"
    FREEZE_ORDER = "order worker frozen"
    KILL_SINK = "sink killed"
    FREEZE_SINK = "sink frozen"
    BROKER = "broker killed"
    DATABASE = "database restarted"


WEIGHTS: Mapping[GateFault, int] = {
    GateFault.KILL_GATE: 20,
    GateFault.FREEZE_GATE: 12,
    GateFault.CUT_OFF_GATE: 12,
    GateFault.KILL_ORDER: 16,
    GateFault.FREEZE_ORDER: 12,
    GateFault.KILL_SINK: 13,
    GateFault.FREEZE_SINK: 9,
    GateFault.BROKER: 4,
    GateFault.DATABASE: 4,
}
"""How often each comes up in a long campaign, relative to the others."""
KILLS = frozenset({GateFault.KILL_GATE, GateFault.KILL_ORDER, GateFault.KILL_SINK})
GATE, ORDER, SINK = "gate", "order worker", "sink"
PARTS: Mapping[GateFault, str] = {
    GateFault.KILL_GATE: GATE,
    GateFault.FREEZE_GATE: GATE,
    GateFault.CUT_OFF_GATE: GATE,
    GateFault.KILL_ORDER: ORDER,
    GateFault.FREEZE_ORDER: ORDER,
    GateFault.KILL_SINK: SINK,
    GateFault.FREEZE_SINK: SINK,
}
"""Which processes a fault may hit; those of no process are not listed."""


@dataclass(slots=True, kw_only=True)
class Victim:
    """A process that faults hit: started again once it has ended, let go once it was held enough.

    `answers` says whether it does its work now, `start` starts it where it does not run.
    """

    name: str
    part: str
    process: Callable[[], subprocess.Popen[bytes]]
    start: Callable[[], None]
    kill: Callable[[], None]
    answers: Callable[[], bool]
    is_up: bool = False
    """Whether it has worked since it was started last, and no fault has hit it since."""
    ends: list[int] = field(default_factory=list)
    """The exit statuses with which it ended by itself after it had worked."""
    _held_until: float = 0.0
    _let_go: Callable[[], None] | None = None
    """Ends what holds it; None: nothing does."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def supervise(self) -> None:
        """Let it go when its time is over; start it where it has ended; note whether it works."""
        with self._lock:
            if self._let_go is not None and monotonic() < self._held_until:
                return
            self._release()
            status = self.process().poll()
            if status is not None:
                if self.is_up:
                    self.ends.append(status)
                self.is_up = False
                self.start()
            elif not self.is_up:
                self.is_up = self.answers()

    def be_killed(self) -> None:
        """End by SIGKILL."""
        with self._lock:
            self.is_up = False
            self.kill()
            self._release()

    def be_frozen(self, seconds: float) -> None:
        """Stop amid whatever it does, for at least so many seconds."""
        self.be_held(
            seconds, lambda: self._send(signal.SIGSTOP), lambda: self._send(signal.SIGCONT)
        )

    def be_held(self, seconds: float, hold: Callable[[], None], let_go: Callable[[], None]) -> None:
        """Be held up by ``hold`` for at least so many seconds, until ``let_go``."""
        with self._lock:
            self._release()
            self.is_up = False
            hold()
            self._let_go, self._held_until = let_go, monotonic() + seconds

    def release(self) -> None:
        """Let it go at once."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        if self._let_go is not None:
            self._let_go()
            self._let_go = None

    def _send(self, number: signal.Signals) -> None:
        if self.process().poll() is None:
            self.process().send_signal(number)
