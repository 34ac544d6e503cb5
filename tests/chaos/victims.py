"""The processes that faults hit: killed, frozen, and started again."""

import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from tests.support.order.workers import Worker
from tests.support.sink_processes import SinkProcesses

ORDER, SINK = "order worker", "sink"


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


def victims_of(order: Worker, sinks: SinkProcesses) -> list[Victim]:
    """Return an order worker and each sink."""
    of_sinks = [
        Victim(
            name=f"{SINK}-{number}",
            part=SINK,
            process=lambda number=number: sinks.running[number],
            start=sinks.start,
            kill=lambda number=number: sinks.kill(number),
            answers=lambda number=number: sinks.is_ready(number),
        )
        for number in range(sinks.count)
    ]
    of_order = Victim(
        name=order.name,
        part=ORDER,
        process=lambda: order.process,
        start=order.start,
        kill=order.kill,
        answers=lambda: bool(order.health()["ready"]),
    )
    return [of_order, *of_sinks]
