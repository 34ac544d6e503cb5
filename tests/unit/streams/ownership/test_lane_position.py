"""What a lane's position says of its opt-outs, in memory and once it was stored."""

from hypothesis import given
from hypothesis import strategies as st

from izin.schemas.topics import Topics
from izin.streams.ownership import positions
from izin.streams.ownership.positions import LanePosition, Positions

TOPICS = Topics()
LANE, OTHER = TOPICS.events.name, TOPICS.express.name
EMPTY = Positions(
    cluster_id="cluster",
    events_topic_id="events",
    express_topic_id="express",
    desired_consents_topic_id="desired",
)
BATCHES = st.lists(
    st.tuples(st.integers(min_value=0, max_value=20), st.sets(st.integers(0, 19))), max_size=8
)


@given(
    start=st.integers(0, 60), batches=BATCHES, most=st.integers(1, 40), skipped=st.integers(0, 50)
)
def test_position_says_no_more_than_was_decided(
    start: int, batches: list[tuple[int, set[int]]], most: int, skipped: int
) -> None:
    """Whatever is left out for want of room counts as undecided, in memory and once it was stored,
    and the scan goes on behind it; with room, all is known.
    """
    position, undecided = LanePosition(start), set[int]()
    before, positions._MOST_UNSETTLED = positions._MOST_UNSETTLED, most
    try:
        for size, places in batches:
            begin = position.opt_outs_from
            found = {begin + one for one in places if one < size}
            undecided |= found
            position = position.opt_outs_decided(begin + size, found)
    finally:
        positions._MOST_UNSETTLED = before
    end = start + sum(size for size, _ in batches)
    assert position.opt_outs_from == end
    again = position.decided(end + 5).opt_outs_decided(end + 8, {end + 6})
    assert [one for one in range(end + 4, end + 9) if again.has_settled(one)] == [
        *(end + 4, end + 5, end + 7)
    ]
    position = position.decided(start + skipped)
    stored = EMPTY.at(TOPICS, {LANE: LanePosition(), OTHER: position}).lanes(TOPICS)[OTHER]
    decided = set(range(start, end)) - undecided
    for one in (position, stored):
        settled = {place for place in range(start + skipped, end + 9) if one.has_settled(place)}
        assert settled <= decided
        if len(undecided) <= most:
            assert settled == {place for place in decided if place >= start + skipped}
