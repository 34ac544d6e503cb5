from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, strategies as st

from izin.consent import NaiveInstantError, Status
from izin.consent.forecast import DueGroup, Forecast, forecast, records_per_second

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def after(hours: float) -> datetime:
    """Return the instant so many hours from now."""
    return NOW + hours * HOUR


def due_group(status: Status = Status.ONAY, **fields: object) -> DueGroup:
    """Return a group of a hundred consents, due in an hour and offered for two."""
    given = {"status": status, "due_at": after(1), "expires_at": after(2), "count": 100}
    return DueGroup(**given | fields)


def forecast_of(*backlog: DueGroup, per_hour: float = 100, paused: float | None = None) -> Forecast:
    """Return the forecast of a backlog at so many records an hour."""
    return forecast(
        backlog,
        now=NOW,
        records_per_second=per_hour / 3600,
        paused_until=None if paused is None else after(paused),
    )


INSTANTS = st.none() | st.integers(min_value=-5, max_value=300).map(
    lambda minutes: NOW + timedelta(minutes=minutes)
)
GROUPS = st.builds(
    DueGroup,
    status=st.sampled_from(Status),
    due_at=INSTANTS,
    expires_at=INSTANTS,
    count=st.integers(min_value=1, max_value=400),
)
BACKLOGS = st.lists(GROUPS, max_size=8)
RATES = st.floats(min_value=1 / 64, max_value=8)
PAUSES = st.none() | st.integers(min_value=-1, max_value=3).map(after)


def test_record_due_too_soon_is_late_and_expired_is_lost():
    """Of three hundred, a hundred are submitted by the due instant, and a hundred after it."""
    found = forecast_of(due_group(count=300))
    assert (found.late, found.lost, found.done_at) == (200, 100, after(2))
    assert (found.first_late_at, found.first_lost_at) == (after(1), after(2))


def test_opt_outs_go_first_then_the_earliest_due():
    """An opt-out that is due tomorrow is submitted before an opt-in that is due now."""
    rejections = due_group(Status.RET, due_at=after(24), expires_at=None)
    soon, later = (
        due_group(due_at=after(2), expires_at=after(9)),
        due_group(due_at=after(3), expires_at=None),
    )
    endless = due_group(due_at=None, expires_at=None)
    found = forecast_of(endless, later, soon, rejections)
    assert [one.group for one in found.groups] == [rejections, soon, later, endless]
    assert [one.done_at for one in found.groups] == [after(n) for n in (1, 2, 3, 4)]
    assert (found.late, found.lost) == (0, 0)


def test_opt_out_is_late_but_never_lost():
    """Its expiry is ignored; it is submitted, and delays those behind it."""
    rejections = due_group(Status.RET, due_at=after(-5), expires_at=after(-4), count=200)
    found = forecast_of(rejections, due_group())
    assert [(one.late, one.lost) for one in found.groups] == [(200, 0), (100, 100)]
    assert found.groups[1].done_at is None


def test_lost_record_delays_no_other():
    """An expired record is not submitted, so the next group begins at once."""
    found = forecast_of(due_group(due_at=after(-30), expires_at=after(-1), count=5000), due_group())
    assert [(one.late, one.lost) for one in found.groups] == [(5000, 5000), (0, 0)]
    assert found.done_at == after(1)


@pytest.mark.parametrize(
    ("backlog", "how", "expected"),
    [
        ([due_group()], {}, (0, 0, after(1))),
        ([due_group()], {"paused": 1}, (100, 0, after(2))),
        ([due_group()], {"paused": -3}, (0, 0, after(1))),
        ([due_group(count=10**12, expires_at=None)], {"per_hour": 1e12}, (0, 0, after(1))),
        ([], {}, (0, 0, None)),
    ],
    ids=["fits", "İYS is down for an hour", "it was down", "counts are added up", "empty"],
)
def test_backlog_has_its_late_and_lost_records_and_its_end(
    backlog: list[DueGroup], how: dict[str, float], expected: tuple[int, int, datetime | None]
):
    """A hundred records at a hundred an hour end as the hour does; of a hundred that are due in a
    pause, none is in time and none is lost.
    """
    found = forecast_of(*backlog, **how)
    assert (found.late, found.lost, found.done_at) == expected
    assert (found.first_late_at, found.first_lost_at) == (after(1) if found.late else None, None)


def test_records_per_second_follow_the_rate_limit():
    """Ten requests a second, a thousand records a batch, a submission and a query each."""
    assert records_per_second(10, batch_size=1000) == 5000
    assert records_per_second(10, batch_size=1000, result_queries=3) == 2500


@given(BACKLOGS, RATES, PAUSES)
def test_every_record_is_submitted_or_lost(
    backlog: list[DueGroup], rate: float, paused_until: datetime | None
):
    """Each record is submitted or lost, and each group follows the one before it."""
    found = forecast(backlog, now=NOW, records_per_second=rate, paused_until=paused_until)
    assert sorted(map(repr, backlog)) == sorted(repr(one.group) for one in found.groups)
    for one in found.groups:
        assert one.submitted + one.lost == one.group.count
        assert 0 <= one.lost <= one.group.count
        assert 0 <= one.late <= one.group.count
        assert one.group.status is Status.ONAY or one.lost == 0
    ends = [one.done_at for one in found.groups if one.done_at is not None]
    assert ends == sorted(ends)


@given(BACKLOGS, RATES, PAUSES)
def test_double_rate_never_adds_a_miss(
    backlog: list[DueGroup], rate: float, paused_until: datetime | None
):
    """In no group are more late, or lost, when everything goes twice as fast."""
    slow = forecast(backlog, now=NOW, records_per_second=rate, paused_until=paused_until)
    fast = forecast(backlog, now=NOW, records_per_second=2 * rate, paused_until=paused_until)
    for before, then in zip(slow.groups, fast.groups, strict=True):
        assert then.late <= before.late
        assert then.lost <= before.lost


@given(BACKLOGS, GROUPS, RATES, PAUSES)
def test_larger_backlog_never_removes_a_miss(
    backlog: list[DueGroup], more: DueGroup, rate: float, paused_until: datetime | None
):
    """A late record stays late when others are added."""
    few = forecast(backlog, now=NOW, records_per_second=rate, paused_until=paused_until)
    many = forecast([*backlog, more], now=NOW, records_per_second=rate, paused_until=paused_until)
    assert few.late <= many.late
    assert few.lost <= many.lost
    # Among equals the last one is submitted last.
    added = max(place for place, one in enumerate(many.groups) if one.group is more)
    others = [*many.groups[:added], *many.groups[added + 1 :]]
    for before, then in zip(few.groups, others, strict=True):
        assert before.group is then.group
        assert before.late <= then.late
        assert before.lost <= then.lost


@given(BACKLOGS, RATES, st.integers(min_value=0, max_value=300))
@example(
    [
        due_group(due_at=NOW, expires_at=NOW + timedelta(minutes=2), count=15),
        due_group(due_at=NOW + timedelta(minutes=3), expires_at=None, count=8),
    ],
    1 / 8,
    1,
)
def test_longer_pause_never_removes_a_miss(backlog: list[DueGroup], rate: float, minutes: int):
    """A pause never helps; but records are discrete, so in each group one may differ."""
    later = NOW + timedelta(minutes=minutes)
    at_once = forecast(backlog, now=NOW, records_per_second=rate)
    paused = forecast(backlog, now=NOW, records_per_second=rate, paused_until=later)
    assert at_once.lost <= paused.lost
    for before, then in zip(at_once.groups, paused.groups, strict=True):
        assert before.late <= then.late + 1
        assert before.lost <= then.lost + 1


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        *(
            (lambda count=count: due_group(count=count), ValueError, "at least one")
            for count in (0, -1)
        ),
        *(
            (
                lambda name=name: due_group(**{name: after(1).replace(tzinfo=None)}),
                *(NaiveInstantError, name),
            )
            for name in ("due_at", "expires_at")
        ),
        *(
            (lambda rate=rate: forecast_of(due_group(), per_hour=rate), ValueError, "positive")
            for rate in (0, -1.0)
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    made: Callable[[], object], error: type[Exception], said: str
):
    """An empty group, a deadline without a zone, and a rate without an end: a pause has one."""
    with pytest.raises(error, match=said):
        made()
