"""The twin's time: the machine's clock, an offset and a speed, told in Turkish time at the wire.

İYS's instants are texts of fixed width in Turkish time (UTC+3, no summer time since 2016), so
inside the twin they are kept as those texts: they compare as text exactly as they compare as
instants.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as time_of_day
from functools import lru_cache

TURKEY = timezone(timedelta(hours=3), "TRT")
WIRE_FORMAT = "%Y-%m-%d %H:%M:%S"
_MIDNIGHT = time_of_day()


class Clock:
    """Tells the twin's time; `machine_seconds` gives the real epoch seconds.

    The twin's time runs at `speed` seconds a second: 1 as the machine's, 0 not at all.
    """

    def __init__(self, machine_seconds: Callable[[], float] = time.time) -> None:
        self._machine_seconds = machine_seconds
        self._offset = 0.0  # at `_since`
        self._since = machine_seconds()
        self._speed = 1.0

    @property
    def offset(self) -> float:
        """Seconds the twin is ahead of the machine, now."""
        machine = self._machine_seconds()
        return self._offset + (machine - self._since) * (self._speed - 1)

    @property
    def speed(self) -> float:
        """Seconds of the twin in one of the machine."""
        return self._speed

    def seconds(self) -> float:
        """Give the twin's now, in epoch seconds."""
        machine = self._machine_seconds()
        if self._speed == 1:
            return machine + self._offset
        return self._since + self._offset + (machine - self._since) * self._speed

    def machine_milliseconds(self) -> int:
        """Give the machine's now in epoch milliseconds, without the offset: to measure delays."""
        return int(self._machine_seconds() * 1000)

    def set_offset(self, seconds: float) -> None:
        """Put the twin `seconds` ahead of the machine."""
        self._since = self._machine_seconds()
        self._offset = seconds

    def set_seconds(self, seconds: float) -> None:
        """Set the twin's now, in epoch seconds."""
        self.set_offset(seconds - self._machine_seconds())

    def advance(self, seconds: float) -> None:
        """Move the twin's now by `seconds`."""
        self.set_offset(self.offset + seconds)

    def set_speed(self, speed: float) -> None:
        """Run at `speed` from now on; the twin's now stays as it is."""
        self.set_offset(self.offset)
        self._speed = speed


@lru_cache(maxsize=4096)
def wire_text(second: int) -> str:
    """Epoch second as İYS writes it: `YYYY-MM-DD HH:MM:SS`, Turkish time."""
    return datetime.fromtimestamp(second, TURKEY).strftime(WIRE_FORMAT)


def instant(second: float) -> datetime:
    """Epoch seconds as an aware datetime."""
    return datetime.fromtimestamp(second, UTC)


def seconds_of(text: str) -> float:
    """Give the epoch seconds of a wire text, or of an ISO text with its own offset from UTC.

    `ValueError` if it is neither.
    """
    told = datetime.fromisoformat(text)
    return (told if told.tzinfo else told.replace(tzinfo=TURKEY)).timestamp()


def day_start(day: date) -> int:
    """Midnight of `day` in Turkish time, as epoch seconds."""
    return int(datetime.combine(day, _MIDNIGHT, TURKEY).timestamp())
