"""Which part of a backlog will be late, submitted in order of urgency at İYS's rate limit.

Terms: Yönetmelik m.7/11, m.7/12 and m.9/6 (``terms``). Opt-outs go first and never expire; then
whatever is due earliest. A consent that cannot be submitted before it expires is lost, and delays
nothing behind it.

The backlog comes in groups of equal deadlines, so a register of millions costs no more than a small
one. A group has no order: a forecast says how many of it will be late, not which. It assumes one
queue and no refusals, so it is the best case.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from izin.consent.model import Status, aware

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueGroup:
    """How many records of one status are still to be submitted by the same deadlines."""

    status: Status
    due_at: datetime | None
    expires_at: datetime | None
    """Ignored for opt-outs, which never expire."""
    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a group needs at least one record, not {self.count}")
        for name in ("due_at", "expires_at"):
            instant = getattr(self, name)
            if instant is not None:
                aware(name, instant)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupForecast:
    """The forecast of one group: each of its records is ``submitted`` or ``lost``."""

    group: DueGroup
    submitted: int
    late: int
    """Not submitted by ``due_at``, including the lost."""
    done_at: datetime | None
    """When the last record is submitted; None: none can be."""

    @property
    def lost(self) -> int:
        """How many expire before they can be submitted."""
        return self.group.count - self.submitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The forecast of a backlog, its groups in the order of submission."""

    groups: tuple[GroupForecast, ...]

    @property
    def late(self) -> int:
        """How many records miss ``due_at``."""
        return sum(group.late for group in self.groups)

    @property
    def lost(self) -> int:
        """How many consents miss ``expires_at``: each needs a new consent (m.7/12)."""
        return sum(group.lost for group in self.groups)

    @property
    def first_late_at(self) -> datetime | None:
        """When the first record becomes late."""
        return min(
            (one.group.due_at for one in self.groups if one.late),
            default=None,
            key=lambda at: at or _NEVER,
        )

    @property
    def first_lost_at(self) -> datetime | None:
        """When the first consent is lost."""
        lost = (one.group.expires_at for one in self.groups if one.lost)
        return min(lost, default=None, key=lambda at: at or _NEVER)

    @property
    def done_at(self) -> datetime | None:
        """When the backlog is drained; None: it is empty, or nothing of it can be submitted."""
        ends = [group.done_at for group in self.groups if group.done_at is not None]
        return max(ends, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastPoint:
    """What is due by an instant, and what is submitted by then at the pace of the forecast."""

    at: datetime
    due: int
    submitted: int
    late: int
    """Of what is due by then: what is not submitted in time."""


def records_per_second(
    requests_per_second: float, *, batch_size: int, result_queries: int = 1
) -> float:
    """Return how many records settle a second: a batch costs one submission and its queries."""
    return requests_per_second * batch_size / (1 + result_queries)


def forecast(
    backlog: Iterable[DueGroup],
    *,
    now: datetime,
    records_per_second: float,
    paused_until: datetime | None = None,
) -> Forecast:
    """Return the forecast of ``backlog`` if nothing is added to it.

    Nothing is submitted before ``paused_until``: İYS is down, or an hourly limit is reached.
    """
    if records_per_second <= 0:
        raise ValueError(f"records_per_second must be positive, not {records_per_second}")
    starts_at = aware("now", now)
    if paused_until is not None:
        starts_at = max(starts_at, aware("paused_until", paused_until))

    def capacity_by(instant: datetime | None) -> float:
        """Return how many records can have been submitted by then."""
        if instant is None:
            return math.inf
        return math.floor((instant - starts_at).total_seconds() * records_per_second)

    groups, before = [], 0
    # Opt-outs first, then what is due first.
    for group in sorted(
        backlog,
        key=lambda one: (
            one.status is not Status.RET,
            one.due_at or _NEVER,
            one.expires_at or _NEVER,
        ),
    ):
        expires_at = None if group.status is Status.RET else group.expires_at
        submitted = _within(capacity_by(expires_at) - before, group.count)
        in_time = _within(capacity_by(group.due_at) - before, submitted)
        before += submitted
        done_at = starts_at + timedelta(seconds=before / records_per_second)
        groups.append(
            GroupForecast(
                group=group,
                submitted=submitted,
                late=group.count - in_time if group.due_at is not None else 0,
                done_at=done_at if submitted else None,
            )
        )
    return Forecast(groups=tuple(groups))


def _within(room: float, count: int) -> int:
    """Return how many of ``count`` fit into ``room``."""
    return int(min(max(room, 0), count))


def curve(
    ahead: Forecast, *, now: datetime, records_per_second: float, most: int = 60
) -> tuple[ForecastPoint, ...]:
    """Return the course of a forecast that was made ``now``, from now until all is due and done, in
    at most so many points; none for an empty backlog.
    """
    groups = [(one.group.due_at, one.group.count, one.late) for one in ahead.groups]
    submitted = sum(one.submitted for one in ahead.groups)
    ends = {max(due_at, now) for due_at, _, _ in groups if due_at is not None}
    instants = sorted({now, *ends, *filter(None, [ahead.done_at])}) if groups else []
    if len(instants) > most:
        step = (len(instants) - 1) / (most - 1)
        instants = [instants[round(number * step)] for number in range(most)]
    points = []
    for at in instants:
        due = [(count, late) for due_at, count, late in groups if due_at and due_at <= at]
        room = round((at - now).total_seconds() * records_per_second)
        points.append(
            ForecastPoint(
                at=at,
                due=sum(count for count, _ in due),
                submitted=min(submitted, room),
                late=sum(late for _, late in due),
            )
        )
    return tuple(points)
