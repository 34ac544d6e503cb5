"""Fault points of an order worker, armed from outside: the n-th pass of one triggers an effect.

The campaign writes a file, which the worker under test reads at each point. The product has no such
code: `instrumented_worker` wraps functions that the product calls, in its own process alone.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path

_BLOCKED_AT_MOST = 60.0
_INTO_A_COMMIT = 0.004
"""About as long as a commit takes on an idle broker, in seconds."""


class FaultPoint(StrEnum):
    """A step of a batch, or of an acquisition, at which it may be interrupted."""

    FENCED = "fenced"
    """The transactional id is ours; the marks are not set yet."""
    MARKED = "marked"
    """The marks are set; nothing is read yet."""
    CATCHING_UP = "catching up"
    """Before each batch of rows that is read back."""
    POSITIONS_READ = "positions read"
    REPARTITIONING = "repartitioning"
    REPARTITIONED = "repartitioned"
    """A record stands in its own partition now, and the position has not passed the old one."""
    BEGUN = "begun"
    PRODUCED = "produced"
    COMMITTING = "committing"
    """A moment after the commit was asked for: it may or may not have happened."""
    COMMITTED = "committed"
    """Committed, and the state not changed."""
    APPLIED = "applied"
    """The state is changed, and the batch not acknowledged."""


ACQUIRING = (
    FaultPoint.FENCED,
    FaultPoint.MARKED,
    FaultPoint.CATCHING_UP,
    FaultPoint.POSITIONS_READ,
)
RARE = (FaultPoint.REPARTITIONING, FaultPoint.REPARTITIONED)
"""Passed only where a producer keyed a record its own way."""


class TriggerEffect(StrEnum):
    """The effect on the worker at the point."""

    KILL = "kill"
    FREEZE = "freeze"
    """SIGSTOP, until somebody sends SIGCONT."""
    BLOCK = "block"
    """Only the thread at the point waits, until the trigger is disarmed."""


class FaultTrigger:
    """The campaign's side and the worker's side of the same file."""

    def __init__(self, path: Path) -> None:
        self._armed = path.with_suffix(".armed")
        self._triggered = path.with_suffix(".triggered")
        self._passes: Counter[str] = Counter()
        self._lock = threading.Lock()

    def arm(self, point: FaultPoint, *, passes: int, effect: TriggerEffect) -> None:
        """Trigger `effect` at pass number `passes` of `point`, counted from now on."""
        self._triggered.unlink(missing_ok=True)
        _write(self._armed, f"{time.monotonic_ns()}/{point}/{passes}/{effect}")

    def disarm(self) -> None:
        """Cancel the effect, and release a blocked thread."""
        self._armed.unlink(missing_ok=True)
        self._triggered.unlink(missing_ok=True)

    def triggered_at(self) -> str | None:
        """Return where it was triggered (a partition, or nothing), None if it was not."""
        try:
            return self._triggered.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def reach(self, point: FaultPoint, where: str = "") -> None:
        """Record that `point` is reached; may not return."""
        try:
            armed = self._armed.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        _, wanted, passes, effect = armed.split("/")
        if wanted != point:
            return
        with self._lock:
            self._passes[armed] += 1
            if self._passes[armed] != int(passes):
                return
        _write(self._triggered, where)
        self._armed.unlink(missing_ok=True)
        if point is FaultPoint.COMMITTING:
            delay = random.uniform(0, _INTO_A_COMMIT)
            threading.Timer(delay, self._act, [TriggerEffect(effect)]).start()
        else:
            self._act(TriggerEffect(effect))

    def _act(self, effect: TriggerEffect) -> None:
        match effect:
            case TriggerEffect.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case TriggerEffect.FREEZE:
                os.kill(os.getpid(), signal.SIGSTOP)
            case TriggerEffect.BLOCK:
                limit = time.monotonic() + _BLOCKED_AT_MOST
                while self._triggered.exists() and time.monotonic() < limit:
                    time.sleep(0.02)


def _write(path: Path, text: str) -> None:
    """Write so that a reader sees all of it or nothing."""
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
