"""The simulator's time: the machine's clock with an offset and a speed.

İYS writes instants as texts of fixed width in Turkish time (UTC+3, no summer time since 2016). The
simulator stores them as those texts ("wire texts"), which sort as the instants do.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, time as time_of_day, timedelta, timezone
from functools import lru_cache

TURKEY = timezone(timedelta(hours=3), "TRT")
WIRE_FORMAT = "%Y-%m-%d %H:%M:%S"
_MIDNIGHT = time_of_day()


class Clock:
    """The simulator's clock; `machine_seconds` returns the real epoch seconds.

    It runs at `speed` seconds per real second: 1 like the machine's clock, 0 not at all.
    """

    def __init__(self, machine_seconds: Callable[[], float] = time.time) -> None:
        self._machine_seconds = machine_seconds
        self._offset = 0.0  # at `_since`
        self._since = machine_seconds()
        self._speed = 1.0

    @property
    def offset(self) -> float:
        """How many seconds the simulator is ahead of the machine now."""
        machine = self._machine_seconds()
        return self._offset + (machine - self._since) * (self._speed - 1)

    @property
    def speed(self) -> float:
        """Seconds of the simulator's time per real second."""
        return self._speed

    def seconds(self) -> float:
        """Return the simulator's now, in epoch seconds."""
        machine = self._machine_seconds()
        if self._speed == 1:
            return machine + self._offset
        return self._since + self._offset + (machine - self._since) * self._speed

    def machine_milliseconds(self) -> int:
        """Return the machine's now in epoch milliseconds, without the offset: to measure delays."""
        return int(self._machine_seconds() * 1000)

    def set_offset(self, seconds: float) -> None:
        """Set the simulator's clock `seconds` ahead of the machine's."""
        self._since = self._machine_seconds()
        self._offset = seconds

    def set_seconds(self, seconds: float) -> None:
        """Set the simulator's now, in epoch seconds."""
        self.set_offset(seconds - self._machine_seconds())

    def advance(self, seconds: float) -> None:
        """Move the simulator's now by `seconds`."""
        self.set_offset(self.offset + seconds)

    def set_speed(self, speed: float) -> None:
        """Run at `speed` from now on, without changing the current time."""
        self.set_offset(self.offset)
        self._speed = speed


@lru_cache(maxsize=4096)
def wire_text(second: int) -> str:
    """Return an epoch second as İYS writes it: `YYYY-MM-DD HH:MM:SS`, Turkish time."""
    return datetime.fromtimestamp(second, TURKEY).strftime(WIRE_FORMAT)


def instant(second: float) -> datetime:
    """Return epoch seconds as an aware datetime in UTC."""
    return datetime.fromtimestamp(second, UTC)


def seconds_of(text: str) -> float:
    """Return the epoch seconds of a wire text, or of an ISO 8601 text with an offset from UTC.

    Raises:
        ValueError: it is neither.
    """
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=TURKEY)).timestamp()


def day_start(day: date) -> int:
    """Return midnight of `day` in Turkish time, as epoch seconds."""
    return int(datetime.combine(day, _MIDNIGHT, TURKEY).timestamp())
