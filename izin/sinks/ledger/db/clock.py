"""The database's clock as the one clock of all processes of a ledger.

Leases, terms and dates are compared across processes. So each reads the database's clock with its
heartbeat, and computes the present from it by its own monotonic clock: a host whose clock is wrong
harms nothing.
"""

import time
from datetime import UTC, datetime

from izin.sinks.ledger.db.clock_offset import ClockOffset


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
