"""Wait for an effect, with a limit; and a clock that a test moves."""

import time
from collections.abc import Callable
from pathlib import Path


def until(effect: Callable[[], bool], *, within: float = 30) -> None:
    """Return once the effect is there; fail the test after `within` seconds."""
    limit = time.monotonic() + within
    while not effect():
        assert time.monotonic() < limit, "the effect was not there in time"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Return whether a process of that id runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class ManualClock:
    """Seconds, as of a monotonic clock."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
