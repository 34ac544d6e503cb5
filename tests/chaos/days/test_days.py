"""Two days by the house's clock: eight sinks, restarts, outages; and what judges them can fail."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.days import virtual_loop as virtual
from tests.chaos.days.campaign import Days
from tests.chaos.days.verdict import most_an_hour, repeated, terms


@pytest.mark.database
@pytest.mark.timeout(300)
def test_nothing_is_late_and_no_token_too_many_over_two_days(database_url: str):
    """Sinks die every hour, İYS is away for hours, and a half day and a holiday lie within."""
    found = virtual.run(
        lambda loop: Days(
            loop=loop,
            database_url=database_url,
            days=2,
            seed=11,
            people=150,
            of_a_file=150,
            poll_interval=timedelta(minutes=30),
        ).run()
    )
    assert found.faults == ()
    assert found.restarts > 10
    assert found.outages > 1
    assert found.over_the_holiday > 10
    assert found.most_tokens_an_hour > 0


def saved(consent_date: str, creation_date: str) -> Any:  # noqa: ANN401 - a stand-in of a Movement
    """Return what the verdict reads of a movement that İYS saved."""
    return SimpleNamespace(
        type="MESAJ",
        recipient="+905550000001",
        status="ONAY",
        consent_date=consent_date,
        creation_date=creation_date,
    )


def test_what_was_told_late_is_seen():
    """Said on Tuesday morning; the half day and the holiday do not count, the weekend neither."""
    in_time = terms([saved("2026-10-27 10:00:00", "2026-11-02 09:59:59")])
    assert (in_time.late, in_time.tightest) == ((), timedelta(seconds=1))
    assert in_time.over_the_holiday == 1
    late = terms([saved("2026-10-27 10:00:00", "2026-11-02 10:00:01")])
    assert len(late.late) == 1


def test_what_was_saved_twice_or_out_of_order_is_seen():
    """A repetition, and an older statement after a newer one."""
    one, other = saved("2026-10-27 10:00:00", ""), saved("2026-10-27 10:00:01", "")
    assert repeated([one, other]) == []
    assert len(repeated([one, one])) == 1
    assert len(repeated([other, one])) == 1


def test_eleven_calls_within_an_hour_are_seen():
    """However the hour lies."""
    assert most_an_hour([*range(0, 3600, 360), 3600]) == 10
    assert most_an_hour([*range(0, 3600, 360), 3599]) == 11
    assert most_an_hour([]) == 0


def test_time_passes_only_while_nobody_works():
    """An hour's sleep is over at once; while a thread works, no time passes at all."""

    async def main(loop: virtual.VirtualLoop) -> tuple[float, float]:
        asleep = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.to_thread(sum, range(100_000))
        before = loop.time()
        await asleep
        return before, loop.time()

    before, after = virtual.run(main)
    assert (before, after) == (0.0, 3600.0)


def test_who_is_woken_a_little_early_does_not_hold_time_up():
    """Two that look again whether their instant has come do not wake one another for ever."""

    async def main(loop: virtual.VirtualLoop) -> list[int]:
        async def until(instant: float, turns_behind: int) -> int:
            for _ in range(turns_behind):
                await asyncio.sleep(0)
            for looks in range(1000):
                left = instant - loop.time()
                if left <= 0:
                    return looks
                await asyncio.sleep(left)
            return 1000

        await asyncio.sleep(25_000)
        instant = loop.time() + 6e-10
        return await asyncio.gather(until(instant, 0), until(instant, 1))

    assert max(virtual.run(main)) < 10
