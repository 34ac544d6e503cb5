"""One partition's bulk is folded at a time, and none is forgotten."""

import asyncio

from izin.streams.engine.turns import Turns


def whose(turns: Turns, *askers: asyncio.Event) -> list[bool]:
    """Return of each whether it is its turn, in the order of asking."""
    return [turns.is_mine(one) for one in askers]


def test_turns_come_one_by_one_in_the_order_of_asking() -> None:
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


def test_turn_that_is_wanted_no_more_passes() -> None:
    """A partition that was lost while it waited holds up no other."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    whose(turns, first, second, third)
    turns.give_back(second)
    turns.give_back(second)
    turns.give_back(first)
    assert whose(turns, third, second) == [True, False]
    turns.give_back(third)
    assert whose(turns, second) == [True]


def test_turn_wanted_again_before_it_comes_is_the_last() -> None:
    """The partition came back while it waited."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    whose(turns, first, second, third)
    turns.give_back(second)
    assert whose(turns, second) == [False]
    turns.give_back(first)
    assert whose(turns, third, second) == [True, False]
