"""How long to wait after failures in a row."""

from dataclasses import dataclass
from datetime import timedelta

_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from ``first`` up to ``longest``."""

    first: timedelta
    longest: timedelta

    def after(self, failures: int, *, at_least: timedelta | None = None) -> timedelta:
        """Return the wait after this many failures in a row (from 1), no less than ``at_least``,
        which the other side may have asked for.
        """
        doublings: int = min(max(failures, 1) - 1, _MOST_DOUBLINGS)
        wait = min(self.longest, self.first * float(2**doublings))
        return wait if at_least is None else max(wait, at_least)
