"""Three business days: Yönetmelik m.7/11 (consents) and m.9/6 (rejections); İYS's H467.

A term starts to run with the brand's activation at İYS. Before it, historic consents are loaded
and the only limit is the brand's loading deadline (*rehber aktarımı*), if one is set.

How İYS itself counts is not published, so there are two readings of the third business day:

- ``due_at``, strict: the same time of day, or 13:00 if that is a half day. It drives urgency and
  alarms.
- ``expires_at``, lenient: the end of that day. After it an ONAY is no longer offered to İYS, for by
  m.7/12 a consent that was not recorded in time is invalid and a new one is needed.

A RET has a due instant and never expires: nothing makes a "no" invalid.

Instants are UTC outside this file. Turkey has kept UTC+3 all year since September 2016, and no
term of İYS is older than İYS (2020), so the zone is a fixed offset and needs no time zone
database.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from enum import StrEnum

from izin.consent.business_days import (
    TURKEY_CALENDAR,
    Calendar,
    add_business_days,
    is_half_day,
)
from izin.consent.model import Status, aware

TURKEY = timezone(timedelta(hours=3), "Europe/Istanbul")

TERM_DAYS = 3
_HALF_DAY_ENDS = time(13, 0)
_DAY_ENDS = time(23, 59, 59)

_SOON = timedelta(hours=24)
_LAST_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandClock:
    """When the three-day rule began for a brand, and until when its old consents may be loaded."""

    activated_at: datetime | None = None
    """None: İYS has not activated the brand yet."""
    loading_deadline: datetime | None = None

    def __post_init__(self) -> None:
        if self.activated_at is not None:
            aware("activated_at", self.activated_at)
        if self.loading_deadline is not None:
            aware("loading_deadline", self.loading_deadline)


class Urgency(StrEnum):
    """How close a deadline is; what is nearer is claimed first."""

    OVERDUE = "overdue"
    LAST_HOUR = "last-hour"
    SOON = "soon"
    """Within 24 hours: the alarm of the reference."""
    CALM = "calm"
    NO_DEADLINE = "no-deadline"


def due_at(
    effective_at: datetime,
    brand: BrandClock,
    *,
    now: datetime | None = None,
    calendar: Calendar = TURKEY_CALENDAR,
) -> datetime | None:
    """Return by when İYS must know what counts from ``effective_at``; None: no deadline.

    ``now`` decides whether the brand is active yet where its activation lies ahead; None takes an
    activation that is known as having happened.
    """
    if not _is_active(brand, now):
        return brand.loading_deadline
    moment = effective_at.astimezone(TURKEY)
    last_day = add_business_days(moment.date(), TERM_DAYS, calendar)
    at = moment.time()
    if at > _HALF_DAY_ENDS and is_half_day(last_day):
        at = _HALF_DAY_ENDS
    return datetime.combine(last_day, at, TURKEY).astimezone(UTC)


def expires_at(
    effective_at: datetime,
    brand: BrandClock,
    *,
    status: Status = Status.ONAY,
    now: datetime | None = None,
    calendar: Calendar = TURKEY_CALENDAR,
) -> datetime | None:
    """Return the last instant at which the statement is offered to İYS; None: it never expires."""
    if status is Status.RET:
        return None
    if not _is_active(brand, now):
        return brand.loading_deadline
    moment = effective_at.astimezone(TURKEY)
    last_day = add_business_days(moment.date(), TERM_DAYS, calendar)
    return datetime.combine(last_day, _DAY_ENDS, TURKEY).astimezone(UTC)


def time_left(now: datetime, deadline: datetime | None) -> timedelta | None:
    """Return how long is left until ``deadline``, negative once passed; None: no deadline."""
    return None if deadline is None else deadline - aware("now", now)


def urgency(now: datetime, deadline: datetime | None) -> Urgency:
    """Return how pressing ``deadline`` is at ``now``."""
    left = time_left(now, deadline)
    if left is None:
        return Urgency.NO_DEADLINE
    if left < timedelta(0):
        return Urgency.OVERDUE
    if left <= _LAST_HOUR:
        return Urgency.LAST_HOUR
    return Urgency.SOON if left <= _SOON else Urgency.CALM


def _is_active(brand: BrandClock, now: datetime | None) -> bool:
    if brand.activated_at is None:
        return False
    return now is None or aware("now", now) >= brand.activated_at
