"""The twin's time: the machine's clock and an offset, told in Turkish time at the wire.

İYS's instants are texts of fixed width in Turkish time (UTC+3, no summer time since 2016), so
inside the twin they are kept as those texts: they compare as text exactly as they compare as
instants.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

TURKEY = timezone(timedelta(hours=3), "TRT")
WIRE_FORMAT = "%Y-%m-%d %H:%M:%S"


class Clock:
    """Tells the twin's time; `machine_seconds` gives the real epoch seconds."""

    def __init__(self, machine_seconds: Callable[[], float] = time.time) -> None:
        self._machine_seconds = machine_seconds
        self._offset = 0.0

    @property
    def offset(self) -> float:
        """Seconds the twin is ahead of the machine."""
        return self._offset

    def seconds(self) -> float:
        """Give the twin's now, in epoch seconds."""
        return self._machine_seconds() + self._offset

    def machine_milliseconds(self) -> int:
        """Give the machine's now in epoch milliseconds, without the offset: to measure delays."""
        return int(self._machine_seconds() * 1000)

    def set_offset(self, seconds: float) -> None:
        """Put the twin `seconds` ahead of the machine."""
        self._offset = seconds

    def advance(self, seconds: float) -> None:
        """Move the twin's now by `seconds`."""
        self._offset += seconds


@lru_cache(maxsize=4096)
def wire_text(second: int) -> str:
    """Epoch second as İYS writes it: `YYYY-MM-DD HH:MM:SS`, Turkish time."""
    return datetime.fromtimestamp(second, TURKEY).strftime(WIRE_FORMAT)


def instant(second: float) -> datetime:
    """Epoch seconds as an aware datetime."""
    return datetime.fromtimestamp(second, UTC)
