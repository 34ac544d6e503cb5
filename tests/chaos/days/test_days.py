"""Virtual time, and the checks of the days: each finds what is wrong."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from tests.chaos.days import virtual_loop as virtual
from tests.chaos.days.__main__ import SavedTerms, most_an_hour, repeated, saved_terms


def saved(consent_date: str, creation_date: str) -> Any:  # noqa: ANN401 - a stand-in of a Movement
    """Return a saved movement of İYS as the verdict reads it."""
    return SimpleNamespace(
        type="MESAJ",
        recipient="+905550000001",
        status="ONAY",
        consent_date=consent_date,
        creation_date=creation_date,
    )


def test_a_consent_saved_after_its_term_is_late():
    """Given on Tuesday morning; the half day and the holiday do not count, the weekend neither."""
    in_time = saved_terms([saved("2026-10-27 10:00:00", "2026-11-02 09:59:59")])
    assert in_time == SavedTerms(late=(), tightest=timedelta(seconds=1), over_the_holiday=1)
    assert len(saved_terms([saved("2026-10-27 10:00:00", "2026-11-02 10:00:01")]).late) == 1


def test_a_movement_saved_twice_or_out_of_order_is_found():
    """A duplicate, and an older movement after a newer one."""
    one, other = saved("2026-10-27 10:00:00", ""), saved("2026-10-27 10:00:01", "")
    assert [len(repeated(some)) for some in ([one, other], [one, one], [other, one])] == [0, 1, 1]


def test_the_most_calls_within_any_hour_are_counted():
    """Wherever the hour begins."""
    instants = range(0, 3600, 360)
    assert [most_an_hour(some) for some in ([*instants, 3600], [*instants, 3599], [])] == [
        10,
        11,
        0,
    ]


def test_virtual_time_passes_only_while_nothing_works():
    """An hour's sleep is over at once; while a thread works, no time passes at all."""

    async def main(loop: virtual.VirtualLoop) -> tuple[float, float]:
        asleep = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.to_thread(sum, range(100_000))
        before = loop.time()
        await asleep
        return before, loop.time()

    before, after = virtual.run(main)
    assert (before, after) == (0.0, 3600.0)


def test_virtual_time_passes_for_sleepers_woken_early():
    """Two sleepers that check their instant again do not wake one another for ever."""

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
