"""Which lanes are fetched, and from where."""

from izin.streams.engine.gate import FetchGate

A, B, C = ("events", 0), ("events", 1), ("express", 0)


def test_lane_is_fetched_from_its_opening_to_its_end() -> None:
    """Not before it was sought, nor after it was closed."""
    gate = FetchGate()
    assert gate.openings([A, B]) == {}
    opening = gate.open({A: 7, C: 0})
    assert gate.openings([A, B, C]) == {}
    assert gate.take_seeks() == {A: 7, C: 0}
    assert gate.take_seeks() == {}
    assert gate.openings([A, B]) == {A: opening}
    gate.close([A])
    assert gate.openings([A, C]) == {C: opening}


def test_lane_opened_again_has_another_number() -> None:
    """Batches of the first opening are distinguished from those of the second."""
    gate = FetchGate()
    first = gate.open({A: 7})
    second = gate.open({A: 3})
    assert first != second
    assert gate.take_seeks() == {A: 3}
    assert gate.openings([A]) == {A: second}


def test_held_lane_is_fetched_again_once_released_or_opened() -> None:
    """A lane that is opened anew has nothing that waits."""
    gate = FetchGate()
    woken: list[int] = []
    gate.on_change = lambda: woken.append(1)
    gate.open({A: 0, B: 0})
    gate.take_seeks()
    gate.hold(A)
    gate.hold(B)
    assert gate.openings([A, B]) == {}
    gate.release(A)
    assert set(gate.openings([A, B])) == {A}
    gate.open({B: 0})
    gate.take_seeks()
    assert set(gate.openings([A, B])) == {A, B}
    assert len(woken) == 3


def test_lane_closed_before_it_was_sought_is_not_sought() -> None:
    """Its partition is no longer ours."""
    gate = FetchGate()
    gate.open({A: 7})
    gate.close([A])
    assert gate.take_seeks() == {}
