"""What will be late: a backlog, told in order of urgency at the pace İYS allows.

Terms: Yönetmelik m.7/11, m.7/12 and m.9/6 (``clocks``). A rejection goes ahead of everything and
never expires; then whatever is due earliest. A consent that cannot be told while it is offered to
İYS is lost, and takes no time of those behind it.

The backlog comes in groups that share their deadlines, so a register of millions costs no more than
a small one. Within a group nobody is first: a forecast says how many of it will be late, not which.
It takes the backlog as one queue and nothing as refused, so it is the best that can happen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from izin.consent.model import Status, aware

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """How many records of one status are still to be told by the same instants."""

    status: Status
    due_at: datetime | None
    expires_at: datetime | None
    """Of a rejection nothing: whatever stands here, it never expires."""
    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a group of {self.count} records owes nothing")
        for name in ("due_at", "expires_at"):
            instant = getattr(self, name)
            if instant is not None:
                aware(name, instant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What becomes of a group. Of its records, ``told`` and ``lost`` are all."""

    owed: Owed
    told: int
    late: int
    """Not told by ``due_at``, the lost among them."""
    done_at: datetime | None
    """When the last of those that can be told is told; None: none can."""

    @property
    def lost(self) -> int:
        """How many expire before they can be told."""
        return self.owed.count - self.told


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What becomes of a backlog, its groups in the order in which they are told."""

    prospects: tuple[Prospect, ...]

    @property
    def late(self) -> int:
        """How many records miss ``due_at``."""
        return sum(one.late for one in self.prospects)

    @property
    def lost(self) -> int:
        """How many consents miss ``expires_at``: each needs a new consent (m.7/12)."""
        return sum(one.lost for one in self.prospects)

    @property
    def first_late_at(self) -> datetime | None:
        """When the first record becomes late."""
        return min((one.owed.due_at for one in self.prospects if one.late), default=None, key=_last)

    @property
    def first_lost_at(self) -> datetime | None:
        """When the first consent is lost."""
        lost = (one.owed.expires_at for one in self.prospects if one.lost)
        return min(lost, default=None, key=_last)

    @property
    def done_at(self) -> datetime | None:
        """When nothing is left to tell; None: there is nothing, or nothing that can be told."""
        ends = [one.done_at for one in self.prospects if one.done_at is not None]
        return max(ends, default=None)


def records_per_second(
    requests_per_second: float, *, batch_size: int, result_queries: int = 1
) -> float:
    """Return how many records İYS lets settle: each batch costs a submission and its queries."""
    return requests_per_second * batch_size / (1 + result_queries)


def forecast(
    backlog: Iterable[Owed],
    *,
    now: datetime,
    records_per_second: float,
    paused_until: datetime | None = None,
) -> Forecast:
    """Return what becomes of ``backlog`` if nothing is added to it.

    Nothing is told before ``paused_until``: İYS is down, or wants silence for the hour.
    """
    if records_per_second <= 0:
        raise ValueError(f"at {records_per_second} records a second nothing ends; say until when")
    starts_at = aware("now", now)
    if paused_until is not None:
        starts_at = max(starts_at, aware("paused_until", paused_until))

    def told_by(instant: datetime | None) -> float:
        """Return how many records in all can have been told by then."""
        if instant is None:
            return math.inf
        return math.floor((instant - starts_at).total_seconds() * records_per_second)

    prospects, before = [], 0
    for owed in sorted(backlog, key=_urgency):
        expires_at = None if owed.status is Status.RET else owed.expires_at
        told = _within(told_by(expires_at) - before, owed.count)
        in_time = _within(told_by(owed.due_at) - before, told)
        before += told
        done_at = starts_at + timedelta(seconds=before / records_per_second)
        prospects.append(
            Prospect(
                owed=owed,
                told=told,
                late=owed.count - in_time if owed.due_at is not None else 0,
                done_at=done_at if told else None,
            )
        )
    return Forecast(prospects=tuple(prospects))


def _urgency(owed: Owed) -> tuple[bool, datetime, datetime]:
    return owed.status is not Status.RET, _last(owed.due_at), _last(owed.expires_at)


def _last(instant: datetime | None) -> datetime:
    return _NEVER if instant is None else instant


def _within(room: float, count: int) -> int:
    """Return how many of ``count`` find ``room``."""
    return int(min(max(room, 0), count))
