"""Fault points of an order worker, armed from outside: at the n-th pass of one, something befalls.

The campaign writes a file, the worker under test looks for it at each point. Nothing of the product
knows: `fused` hangs the points on what the product calls, in the test's own worker process alone.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path

_HELD_AT_MOST = 60.0
_INTO_A_COMMIT = 0.004
"""About as long as a commit takes on an idle broker, in seconds."""


class Point(StrEnum):
    """Where the way of a batch, or of an acquisition, may be cut."""

    FENCED = "fenced"
    """The transactional id is ours; nothing is read yet."""
    OFFSETS_READ = "offsets read"
    CATCHING_UP = "catching up"
    """Before each helping of rows that is read back."""
    REFILING = "re-filing"
    REFILED = "re-filed"
    """A record stands in its own partition now, and the offset has not passed the old one."""
    BEGUN = "begun"
    PRODUCED = "produced"
    OFFSETS_SENT = "offsets sent"
    COMMITTING = "committing"
    """A moment after the commit was asked for: it may or may not have happened."""
    COMMITTED = "committed"
    """Committed, and the state not changed."""
    APPLIED = "applied"
    """The state is changed, and the batch not acknowledged."""


ACQUIRING = (Point.FENCED, Point.OFFSETS_READ, Point.CATCHING_UP)
RARE = (Point.REFILING, Point.REFILED)
"""Passed only where a producer keyed a record its own way."""


class Deed(StrEnum):
    """What befalls the worker at the point."""

    DIE = "die"
    SLEEP = "sleep"
    """SIGSTOP, until somebody sends SIGCONT."""
    HOLD = "hold"
    """Only the thread at the point waits, until the fuse is let go."""


class Fuse:
    """The campaign's end and the worker's end of the same file."""

    def __init__(self, path: Path) -> None:
        self._armed = path.with_suffix(".armed")
        self._blown = path.with_suffix(".blown")
        self._passes: Counter[str] = Counter()
        self._lock = threading.Lock()

    def arm(self, point: Point, *, passes: int, deed: Deed) -> None:
        """Let `deed` befall the worker at its pass number `passes` of `point` from now on."""
        self._blown.unlink(missing_ok=True)
        _write(self._armed, f"{time.monotonic_ns()}/{point}/{passes}/{deed}")

    def disarm(self) -> None:
        """Let nothing befall, and let whoever is held go on."""
        self._armed.unlink(missing_ok=True)
        self._blown.unlink(missing_ok=True)

    def blown(self) -> str | None:
        """Return what the worker said where it befell (a partition, or nothing), else None."""
        try:
            return self._blown.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def passed(self, point: Point, where: str = "") -> None:
        """Say that `point` is passed; may not return."""
        try:
            armed = self._armed.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        _, wanted, passes, deed = armed.split("/")
        if wanted != point:
            return
        with self._lock:
            self._passes[armed] += 1
            if self._passes[armed] != int(passes):
                return
        _write(self._blown, where)
        self._armed.unlink(missing_ok=True)
        if point is Point.COMMITTING:
            delay = random.uniform(0, _INTO_A_COMMIT)
            threading.Timer(delay, self._befall, [Deed(deed)]).start()
        else:
            self._befall(Deed(deed))

    def _befall(self, deed: Deed) -> None:
        match deed:
            case Deed.DIE:
                os.kill(os.getpid(), signal.SIGKILL)
            case Deed.SLEEP:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Deed.HOLD:
                limit = time.monotonic() + _HELD_AT_MOST
                while self._blown.exists() and time.monotonic() < limit:
                    time.sleep(0.02)


def _write(path: Path, text: str) -> None:
    """Write so that a reader sees all of it or nothing."""
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
