"""One partition's bulk is folded at a time, and none is forgotten."""

import asyncio

import pytest

from izin.streams.engine.partition_processor import Turns


def whose(turns: Turns, *askers: asyncio.Event) -> list[bool]:
    """Return of each whether it is its turn, in the order of asking."""
    return [turns.is_mine(one) for one in askers]


async def test_turns_come_one_by_one_in_the_order_of_asking() -> None:
    """Asking twice changes nothing; whose turn it is, is woken."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    assert whose(turns, first, second, second, third) == [True, False, False, False]
    turns.give_back(first)
    assert (second.is_set(), third.is_set()) == (True, False)
    assert whose(turns, first, third, second) == [False, False, True]
    turns.give_back(second)
    turns.give_back(third)
    assert first.is_set()
    assert whose(turns, first) == [True]


async def test_turn_that_is_wanted_no_more_passes() -> None:
    """A partition that was lost while it waited holds up no other."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    whose(turns, first, second, third)
    turns.give_back(second)
    turns.give_back(second)
    turns.give_back(first)
    assert whose(turns, third, second) == [True, False]
    turns.give_back(third)
    assert whose(turns, second) == [True]


async def test_turn_wanted_again_before_it_comes_is_the_last() -> None:
    """The partition came back while it waited."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    whose(turns, first, second, third)
    turns.give_back(second)
    assert whose(turns, second) == [False]
    turns.give_back(first)
    assert whose(turns, third, second) == [True, False]


async def test_turn_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that takes nothing keeps one partition busy, and the others go on."""
    monkeypatch.setattr("izin.streams.engine.partition_processor._TURN_ENDS", 0.01)
    turns, first, second = Turns(), asyncio.Event(), asyncio.Event()
    assert whose(turns, first, second) == [True, False]
    async with asyncio.timeout(20):
        await second.wait()
    assert whose(turns, second, first) == [True, False]
    turns.give_back(first)
    turns.give_back(second)
    await asyncio.sleep(0.02)
    assert whose(turns, first) == [True]


async def test_turn_that_is_not_taken_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose turn comes may be busy with opt-outs: the others go on meanwhile."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    whose(turns, first, second, third)
    monkeypatch.setattr("izin.streams.engine.partition_processor._TURN_ENDS", 0.01)
    turns.give_back(first)
    async with asyncio.timeout(20):
        await third.wait()
    assert whose(turns, third, second) == [True, False]
