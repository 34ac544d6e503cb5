"""How far the database's clock is ahead of this process's own, from what it reads over there.

A reading lies between when it was asked for and when it was answered, so every exchange bounds the
offset; the clocks drift little, so the bounds of earlier ones still hold, somewhat wider. One slow
exchange thus costs no precision.
"""

from dataclasses import dataclass
from math import inf

DRIFT = 0.0005
"""Seconds by which two clocks may part in a second: as fast as NTP slews one."""


@dataclass(slots=True)
class ClockOffset:
    """Bounds of the offset, in seconds; any until the first reading."""

    _least: float = -inf
    _most: float = inf
    _at: float = 0.0
    """When they were bounded, by our clock."""

    def read(self, queried_at: float, reading: float, answered_at: float) -> None:
        """Note that the database's clock stood at ``reading`` between two instants of ours."""
        apart, within = (answered_at - self._at) * DRIFT, (answered_at - queried_at) * DRIFT
        least, most = reading - answered_at - within, reading - queried_at + within
        if least > self._most + apart or most < self._least - apart:
            self._least, self._most = least, most  # somebody has set a clock: what was is no use
        else:
            self._least = max(least, self._least - apart)
            self._most = min(most, self._most + apart)
        self._at = answered_at

    def theirs(self, ours: float) -> float:
        """Return the latest that the database can have read at a recent instant of ours."""
        return ours + self._most

    def ours(self, theirs: float) -> tuple[float, float]:
        """Return between which instants of ours an instant near the last reading lies."""
        return theirs - self._most, theirs - self._least
