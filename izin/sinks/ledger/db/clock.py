"""The database's clock as the one clock of all processes of a ledger.

Leases, terms and dates are compared across processes. So each reads the database's clock with its
heartbeat, and computes the present from it by its own monotonic clock: a host whose clock is wrong
harms nothing.

The offset of that clock from this process's own is estimated from readings. A reading was taken
between its request and its answer, so every exchange bounds the offset; clocks drift little, so the
bounds of earlier exchanges still hold, somewhat wider. One slow exchange thus costs no precision.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf

DRIFT = 0.0005
"""Seconds by which two clocks may drift apart in a second: the rate at which NTP slews one."""


@dataclass(slots=True)
class ClockOffset:
    """The bounds of the offset, in seconds; infinite until the first reading."""

    _least: float = -inf
    _most: float = inf
    _at: float = 0.0
    """The last reading, by our clock."""

    def read(self, queried_at: float, reading: float, answered_at: float) -> None:
        """Record that the database's clock showed ``reading`` between two instants of ours."""
        apart, within = (answered_at - self._at) * DRIFT, (answered_at - queried_at) * DRIFT
        least, most = reading - answered_at - within, reading - queried_at + within
        if least > self._most + apart or most < self._least - apart:
            self._least, self._most = least, most  # a clock was set: earlier bounds are void
        else:
            self._least = max(least, self._least - apart)
            self._most = min(most, self._most + apart)
        self._at = answered_at

    def theirs(self, ours: float) -> float:
        """Return the latest reading that the database can have at a recent instant of ours."""
        return ours + self._most

    def ours(self, theirs: float) -> tuple[float, float]:
        """Return the bounds, by our clock, of an instant near the last reading."""
        return theirs - self._most, theirs - self._least


class LedgerClock:
    """The clock of the database, as far as this process has read it."""

    def __init__(self) -> None:
        self._offset = ClockOffset()
        self._is_read = False

    def read(self, asked_at: float, reading: float, answered_at: float) -> None:
        """Record a reading, in seconds since 1970, between two instants of ``time.monotonic``."""
        self._offset.read(asked_at, reading, answered_at)
        self._is_read = True

    def now(self) -> datetime:
        """Return the present: by this process's own clock until the database's was first read."""
        if not self._is_read:
            return datetime.now(UTC)
        return datetime.fromtimestamp(self._offset.theirs(time.monotonic()), UTC)
