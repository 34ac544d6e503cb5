"""What costs is read once for all who ask, and seldom where it takes long."""

import asyncio

import pytest

from izin.ledger.record import LedgerUnavailableError
from izin.views.kept import Kept


class Reading:
    """Something that is read, each time another number; it takes ``cost`` seconds of a timer."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now = 0.0
        self.cost = cost
        self.count = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fails = False

    async def __call__(self) -> int:
        """Return how often it was read."""
        await self.may_end.wait()
        if self.fails:
            raise LedgerUnavailableError("away")
        self.now += self.cost
        self.count += 1
        return self.count


async def test_all_who_ask_at_once_share_one_reading():
    """And whoever goes away meanwhile does not end it for the others."""
    reading = Reading()
    kept = Kept(least=5, timer=lambda: reading.now)
    reading.may_end.clear()
    waiting = [asyncio.create_task(kept.get("a", reading)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    reading.may_end.set()
    assert set(await asyncio.gather(*waiting[1:])) == {1}
    assert reading.count == 1


@pytest.mark.parametrize(("cost", "fresh"), [(0.0, 5), (2.0, 40)])
async def test_figure_is_kept_longer_the_more_it_costs(cost: float, fresh: int):
    """At least five seconds, and twenty times as long as it took; of each key by itself."""
    reading = Reading(cost)
    kept = Kept(least=5, timer=lambda: reading.now)
    assert await kept.get("a", reading) == 1
    reading.now += fresh
    assert await kept.get("a", reading) == 1
    assert await kept.get("b", reading) == 2


async def test_old_figure_is_shown_while_it_is_read_again():
    """Nobody waits for it; one that is much too old is waited for."""
    reading = Reading()
    kept = Kept(least=5, timer=lambda: reading.now)
    assert await kept.get("a", reading) == 1
    reading.now += 10
    assert await kept.get("a", reading) == 1
    await asyncio.sleep(0)
    assert await kept.get("a", reading) == 2
    reading.now += 60
    assert await kept.get("a", reading) == 3


async def test_failure_reaches_who_waits_and_is_forgotten():
    """Whoever asks next has it read again, and an error in the background is nobody's."""
    reading = Reading()
    kept = Kept(least=5, timer=lambda: reading.now)
    reading.fails = True
    with pytest.raises(LedgerUnavailableError):
        await kept.get("a", reading)
    reading.fails = False
    assert await kept.get("a", reading) == 1
    reading.fails, reading.now = True, 10
    assert await kept.get("a", reading) == 1
    await asyncio.sleep(0)
    reading.now = 60
    with pytest.raises(LedgerUnavailableError):
        await kept.get("a", reading)


async def test_figure_that_was_changed_here_is_read_at_once():
    """It is forgotten, however young it is; forgetting what nobody read is none."""
    reading = Reading()
    kept = Kept(least=5, timer=lambda: reading.now)
    kept.forget("a")
    assert await kept.get("a", reading) == 1
    kept.forget("a")
    assert await kept.get("a", reading) == 2
