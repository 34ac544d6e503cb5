"""No customer waits for one that brings more, and nothing due soon for what is not."""

from collections import Counter
from datetime import timedelta

from izin.sinks.outbound.schedule import SOON, FairShares, Lane
from tests.support.builders import NOON


def a_lane(
    customer: str = "acme", brand: int = 1, channel: str = "MESAJ", **fields: object
) -> Lane:
    """Return a lane whose first record is due in three days."""
    due = {"due_at": NOON + timedelta(days=3), **fields}
    return Lane(customer_id=customer, brand_code=brand, channel=channel, **due)  # type: ignore[arg-type]


def served(lanes: list[Lane], turns: int) -> list[Lane]:
    """Return the lanes of so many turns, if all always have work."""
    shares = FairShares()
    found = [shares.take(lanes, NOON) for _ in range(turns)]
    return [one for one in found if one is not None]


def test_customers_get_equal_turns_whatever_their_brands():
    """A customer of one brand gets as many turns as one of three brands with three channels."""
    many = [a_lane("large", brand, channel) for brand in (1, 2, 3) for channel in "AME"]
    turns = Counter(one.customer_id for one in served([*many, a_lane("small", 9)], 40))
    assert turns == {"large": 20, "small": 20}


def test_brands_and_channels_of_a_customer_take_turns():
    """Of one customer, each brand gets equal turns, and each of its channels."""
    lanes = [a_lane(brand=1), a_lane(brand=2, channel="ARAMA"), a_lane(brand=2)]
    turns = Counter((one.brand_code, one.channel) for one in served(lanes, 40))
    assert turns == {(1, "MESAJ"): 20, (2, "ARAMA"): 10, (2, "MESAJ"): 10}


def test_lane_due_soon_goes_first():
    """A consent that is submitted too late is void, whatever customer it is of."""
    soon = a_lane("late", 7, due_at=NOON + SOON)
    assert served([a_lane(), soon, a_lane("other", 8)], 3) == [soon] * 3
    assert not a_lane(due_at=NOON + SOON + timedelta(seconds=1)).is_soon(NOON)
    assert not a_lane(due_at=None).is_soon(NOON)


def test_no_lanes_give_no_turn():
    """There may be nothing to submit."""
    assert FairShares().take([], NOON) is None
