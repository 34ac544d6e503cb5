"""H467: a consent older than three business days in Turkey is not registered.

Saturdays, Sundays and whole public holidays do not count; half days do (nothing in İYS's documents
says otherwise, and counting them is the stricter reading). İYS does not document how it counts, so
both readings that agree with measurements are implemented: `end_of_day` accepts a consent until the
end of the third business day after its day; `sliding` until the same time of day on that day.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import holidays

_TURKEY_HOLIDAYS = holidays.country_holidays("TR", categories=("public",))
_SATURDAY = 5
_ALLOWED_DAYS = 3
_DATE_WIDTH = len("YYYY-MM-DD")


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptanceWindow:
    """The days that H467 accepts on one day. Both fields are dates as text (`YYYY-MM-DD`).

    `earliest` is the first day still accepted; days from `free_from` on are accepted at any time of
    day, those between the two expire on the day of the window.
    """

    earliest: str
    free_from: str

    def is_too_late(self, consent_date: str, now: str, *, sliding: bool) -> bool:
        """Return whether a consent of `consent_date` is too old at `now` (both wire texts)."""
        day = consent_date[:_DATE_WIDTH]
        if day < self.earliest:
            return True
        return sliding and day < self.free_from and consent_date[_DATE_WIDTH:] < now[_DATE_WIDTH:]


def is_business_day(day: date) -> bool:
    """Return whether `day` counts: no weekend and no whole public holiday in Turkey."""
    return day.weekday() < _SATURDAY and day not in _TURKEY_HOLIDAYS


@lru_cache(maxsize=64)
def acceptance_window(today: str) -> AcceptanceWindow:
    """Return what H467 accepts on `today` (`YYYY-MM-DD`, Turkish time)."""
    day = date.fromisoformat(today)
    counted = 0
    later = day
    while counted < _ALLOWED_DAYS:
        day -= timedelta(days=1)
        if is_business_day(day):
            counted += 1
            if counted < _ALLOWED_DAYS:
                later = day
    return AcceptanceWindow(earliest=day.isoformat(), free_from=later.isoformat())
