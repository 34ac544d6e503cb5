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
OFFSETS = st.integers(min_value=0, max_value=60)


@given(
    start=OFFSETS, ends=st.lists(OFFSETS, max_size=5), unsettled=st.sets(OFFSETS), data=st.data()
)
def test_stored_position_never_says_more_than_was_decided(
    start: int, ends: list[int], unsettled: set[int], data: st.DataObject
) -> None:
    """Whatever is left out for want of room counts as undecided; with room, all comes back."""
    position = LanePosition(start)
    for end in sorted(ends):
        of_these = {one for one in unsettled if position.opt_outs_from <= one < end}
        if end >= position.opt_outs_from:
            position = position.opt_outs_decided(end, of_these)
    most = data.draw(st.integers(min_value=1, max_value=70))
    before, positions._MOST_UNSETTLED = positions._MOST_UNSETTLED, most
    try:
        lanes = {LANE: LanePosition(), OTHER: position}
        stored = EMPTY.at(TOPICS, lanes).lanes(TOPICS)[OTHER]
    finally:
        positions._MOST_UNSETTLED = before
    settled = {one for one in range(start, 61) if position.has_settled(one)}
    again = {one for one in range(start, 61) if stored.has_settled(one)}
    assert again <= settled
    assert (stored.next_offset, stored.opt_outs_from) <= (start, position.opt_outs_from)
    if len(position.unsettled) <= most:
        assert again == settled
