"""The bounds of the database's instants hold for any exchanges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.sinks.ledger.db.connection import DRIFT, ClockOffset

ways = st.floats(0, 0.5)


@given(
    st.floats(-1e6, 1e6),
    st.floats(-DRIFT / 2, DRIFT / 2),
    st.lists(st.tuples(st.floats(0, 10), ways, ways), min_size=1, max_size=30),
)
def test_instant_of_the_database_lies_within_its_bounds(
    ahead: float, drift: float, exchanges: list[tuple[float, float, float]]
):
    """The database's clock is ahead, drifts, and is read over slow networks."""

    def theirs(ours: float) -> float:
        return ours + ahead + drift * ours

    offset, at = ClockOffset(), 0.0
    for pause, there, back in exchanges:
        queried_at = at + pause
        at = queried_at + there + back
        offset.read(queried_at, theirs(queried_at + there), at)
        earliest, latest = offset.ours(theirs(at))
        assert earliest - 1e-6 <= at <= latest + 1e-6
        assert offset.theirs(at) >= theirs(at) - 1e-6


def test_slow_exchange_costs_no_precision():
    """The bounds of a quick exchange still hold, somewhat wider."""
    offset = ClockOffset()
    offset.read(10.0, 1010.001, 10.002)
    offset.read(11.0, 1011.3, 11.4)
    earliest, latest = offset.ours(1011.4)
    assert latest - earliest == pytest.approx(0.002, abs=0.003)


def test_clock_that_was_set_replaces_earlier_exchanges():
    """What was read before is of no use."""
    offset = ClockOffset()
    offset.read(10.0, 1010.001, 10.002)
    offset.read(11.0, 2011.001, 11.002)
    earliest, latest = offset.ours(2011.002)
    assert earliest <= 11.001 <= latest
    assert latest - earliest < 0.01
