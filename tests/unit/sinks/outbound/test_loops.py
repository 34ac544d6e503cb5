"""A loop survives transient errors, and ends with an error of ours.

No customer waits for one that brings more, and nothing due soon for what is not.
"""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from izin.consent import OurError
from izin.ledger.db import BULK, Notifications
from izin.ledger.record import LedgerUnavailableError
from izin.runtime.backoff import Backoff
from izin.sinks.outbound import loops
from izin.sinks.outbound.loops import (
    MAY_END,
    FailingLoops,
    keep_running,
    run_every,
    run_on_notification,
)
from izin.sinks.outbound.schedule import SOON, FairShares, OutboundLane
from tests.support.builders import NOON

INTERVAL = timedelta(seconds=5)


async def test_loop_continues_after_a_transient_error():
    """PostgreSQL restarts, and the loop goes on."""
    stopping, tries = asyncio.Event(), []

    async def step() -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise LedgerUnavailableError("restarting")
        stopping.set()
        return True

    await asyncio.wait_for(
        run_on_notification(
            "x",
            step,
            notifications=Notifications(),
            channel=BULK,
            interval=INTERVAL,
            stopping=stopping,
        ),
        5,
    )
    assert len(tries) == 2


async def test_loop_ends_with_an_error_of_ours():
    """Nothing that is not understood may be submitted."""

    async def step() -> bool:
        raise OurError("a bug")

    with pytest.raises(OurError, match="a bug"):
        await run_every("x", step, interval=INTERVAL, stopping=asyncio.Event())


@pytest.mark.parametrize(
    ("stable", "waits"),
    [(3600.0, [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]), (-1.0, [0.2] * 7)],
    ids=["in a row", "each after it had worked"],
)
async def test_loop_waits_no_longer_than_an_opt_out_may(
    monkeypatch: pytest.MonkeyPatch, stable: float, waits: list[float]
):
    """After a long outage, and after many short ones."""
    failures = len(waits)

    async def work() -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise LedgerUnavailableError("away")

    async def no_wait(_: float) -> None:
        return

    monkeypatch.setattr(loops, "_STABLE", stable)
    monkeypatch.setattr(asyncio, "sleep", no_wait)
    with capture_logs() as logs:
        await keep_running("x", work)
    assert [log["after"] for log in logs] == waits


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OurError("a bug")])
async def test_loop_beside_sending_is_run_again_after_any_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
):
    """It stands in what is wrong, by its name, until it has run for a while without one."""
    monkeypatch.setattr(loops, "_FAULT_BACKOFF", Backoff(timedelta(0), timedelta(0)))
    now, seen = [0.0], []
    failing = FailingLoops(lambda: now[0])

    async def work() -> None:
        seen.append(dict(failing.faults()))
        if len(seen) <= 2:
            raise error
        now[0] = loops._SOUND
        assert not failing.faults()

    with capture_logs() as logs:
        await asyncio.wait_for(keep_running("anchors", work, failing), 5)
    named = {"anchors": f"{type(error).__name__}: {error}"}
    assert seen == [{}, named, named]
    assert [(log["event"], log["loop"]) for log in logs] == [("loop failed", "anchors")] * 2


@pytest.mark.parametrize("name", sorted(MAY_END))
async def test_loop_that_sends_ends_with_a_fault_of_ours(name: str):
    """What keeps two processes from sending the same does too."""
    failing = FailingLoops()

    async def work() -> None:
        raise OurError("a bug")

    with pytest.raises(OurError, match="a bug"):
        await keep_running(name, work, failing)
    assert failing.faults() == {}


def a_lane(
    customer: str = "acme", brand: int = 1, channel: str = "MESAJ", **fields: object
) -> OutboundLane:
    """Return a lane whose first record is due in three days."""
    due = {"due_at": NOON + timedelta(days=3), **fields}
    return OutboundLane(customer_id=customer, brand_code=brand, channel=channel, **due)  # type: ignore[arg-type]


def served(lanes: list[OutboundLane], turns: int) -> list[OutboundLane]:
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
