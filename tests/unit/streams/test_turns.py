"""One partition's bulk is folded at a time, and none is forgotten."""

from izin.streams.engine.turns import Turn, Turns


def a_turn(turns: Turns, name: str, woken: list[str]) -> Turn:
    """Return a turn that records when it comes."""
    return Turn(turns, lambda: woken.append(name))


def test_turns_come_one_by_one_in_the_order_of_asking() -> None:
    """Asking twice changes nothing."""
    turns, woken = Turns(), list[str]()
    first, second, third = (a_turn(turns, name, woken) for name in ("1", "2", "3"))
    for turn in (first, second, second, third):
        turn.want()
    assert (woken, first.is_mine, second.is_mine) == (["1"], True, False)
    first.give_back()
    first.want()
    second.give_back()
    third.give_back()
    assert woken == ["1", "2", "3", "1"]
    assert first.is_mine


def test_turn_that_is_wanted_no_more_passes() -> None:
    """A partition that was lost while it waited holds up no other."""
    turns, woken = Turns(), list[str]()
    first, second, third = (a_turn(turns, name, woken) for name in ("1", "2", "3"))
    for turn in (first, second, third):
        turn.want()
    second.give_back()
    first.give_back()
    assert (woken, third.is_mine, second.is_mine) == (["1", "3"], True, False)
    third.give_back()
    second.want()
    assert second.is_mine


def test_turn_wanted_again_before_it_comes_is_granted_once() -> None:
    """The partition came back while it waited."""
    turns, woken = Turns(), list[str]()
    first, second = (a_turn(turns, name, woken) for name in ("1", "2"))
    first.want()
    second.want()
    second.give_back()
    second.want()
    first.give_back()
    assert (woken, second.is_mine) == (["1", "2"], True)
    second.give_back()
    first.want()
    assert first.is_mine
