"""What İYS counts by address is shared by every process and account behind it."""

import asyncio
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from izin.iys.errors import ThrottledError
from izin.iys.rate_limit import (
    CallClass,
    HourLimit,
    Pace,
    PaceState,
    Reputation,
    ReputationPolicy,
    Slot,
)
from izin.iys.tokens import TokenState
from izin.sinks.ledger.access_tokens import LedgerTokenStore
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.rate_limits import LedgerPacer, addresses, codes
from tests.integration.sinks.sink_harness import Izin, SinkHarness, a_phone, onay

pytestmark = pytest.mark.database
T = TypeVar("T")


def a_pacer(ledger: Ledger, **more: object) -> LedgerPacer:
    """Return one process's pacer of the address "one"."""
    return LedgerPacer(ledger, Pace(rate=500), address="one", **more)  # type: ignore[arg-type]


async def test_hourly_queries_are_shared_and_reserved_for_opt_outs(ledger: Ledger):
    """Ten an hour: eight for any class, two more for opt-outs; then an error with the time."""
    limits = {"status": HourLimit(calls=10)}
    one, two = (a_pacer(ledger, hour_limits=limits) for _ in range(2))
    await one.begin()
    for pacer in (one, two) * 4:
        await pacer.wait(CallClass.RESULTS, "status")
    with pytest.raises(ThrottledError) as spent:
        await one.wait(CallClass.RESULTS, "status")
    assert timedelta(0) < (spent.value.retry_after or timedelta(0)) <= timedelta(minutes=61)
    await two.wait(CallClass.RET, "status")
    await one.wait(CallClass.RET, "status")
    with pytest.raises(ThrottledError):
        await two.wait(CallClass.RET, "status")
    await two.wait(CallClass.BULK, "statuses")
    assert [address.status_calls for address in await addresses(ledger)] == [10]


async def test_concurrent_processes_stay_within_hourly_limit(ledger: Ledger):
    """The last query is taken by one of them."""
    pacers = [a_pacer(ledger, hour_limits={"status": HourLimit(calls=5)}) for _ in range(4)]
    await pacers[0].begin()
    asked = [pacer.wait(CallClass.RET, "status") for pacer in pacers for _ in range(3)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, Slot) for one in found) == 5


async def test_failures_of_one_process_slow_down_all(ledger: Ledger):
    """Another process reads the reputation of the address, and halves its pace."""
    policy = ReputationPolicy(counts_from=10)
    one, two = (a_pacer(ledger, policy=policy) for _ in range(2))
    await one.begin()
    for number in range(10):
        one.answered("add", "H175" if number < 3 else "200", failed=number < 3)
    assert two.standing is Reputation.GOOD
    await one.flush()
    await two.flush()
    assert (one.standing, two.standing) == (Reputation.CRITICAL, Reputation.CRITICAL)
    assert await codes(ledger, "one") == (("add", "200", 7), ("add", "H175", 3))
    (before,) = await ledger.fetch(
        "UPDATE rate_limits SET free_at = clock_timestamp() + interval '0.1 seconds'"
        " RETURNING free_at"
    )
    await two.wait(CallClass.RET, "add")
    (after,) = await ledger.fetch("SELECT free_at FROM rate_limits")
    assert after["free_at"] - before["free_at"] >= timedelta(seconds=2 * Pace(rate=500).interval)


async def test_bulk_at_critical_reputation_submits_only_what_is_due_soon(harness: SinkHarness):
    """A consent that has days waits; one that is due tomorrow does not."""
    harness.context.pacer.standing = Reputation.CRITICAL
    await harness.ingest(onay())
    assert not await harness.bulk()
    await harness.ledger.fetch(
        "UPDATE consents SET due_at = now() + interval '23 hours' RETURNING key"
    )
    assert await harness.bulk()
    assert harness.pacer.classes[-1] is CallClass.DUE
    harness.context.pacer.standing = Reputation.GOOD
    await harness.ingest(onay(a_phone(2)))
    assert await harness.bulk()
    assert harness.pacer.classes[-1] is CallClass.BULK


async def test_token_calls_of_all_accounts_of_an_address_share_a_budget(ledger: Ledger):
    """İYS counts them by address, and a token belongs to an account."""
    ada, bob = (
        LedgerTokenStore(ledger=ledger, account=name, address="one") for name in ("ada", "bob")
    )
    elsewhere = LedgerTokenStore(ledger=ledger, account="ada", address="two")
    at = datetime(2026, 3, 2, tzinfo=UTC)
    async with ada.lease() as lease:
        await lease.store(TokenState(calls=(at,), blocked_until=at, failures=3))
        waiting = asyncio.create_task(bob.lease().__aenter__())
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
    state = (await waiting).state
    assert (state.calls, state.blocked_until, state.failures) == ((at,), at, 0)
    other = await elsewhere.read()
    assert (other.calls, other.blocked_until, other.failures) == ((), None, 3)


async def test_rate_limits_command_exits_1_on_bad_reputation(ledger: Ledger, izin: Izin):
    """It shows the address and its calls."""
    pacer = a_pacer(ledger)
    await pacer.begin()
    shown = await izin("iys", "limits", "--output", "json")
    assert (shown.exit_code, '"reputation": "good"' in shown.output) == (0, True)
    for _ in range(10_000):
        pacer.answered("add", "H121", failed=True)
    await pacer.flush()
    shown = await izin("iys", "limits", "--output", "json")
    assert (shown.exit_code, '"failed_24h": 10000' in shown.output) == (1, True)


async def test_rate_limits_command_shows_no_pause_that_is_over(ledger: Ledger, izin: Izin):
    """An address that is not paused has no "paused until"; one that is, has."""
    pacer = a_pacer(ledger)
    await pacer.begin()
    (shown,) = json.loads((await izin("iys", "limits", "--output", "json")).output)
    assert (shown["paused_until"], shown["token_paused_until"]) == (None, None)
    await ledger.fetch(
        "UPDATE rate_limits SET paused_until = clock_timestamp() + interval '1 hour',"
        " token_silent_until = clock_timestamp() - interval '1 second' RETURNING 1"
    )
    (shown,) = json.loads((await izin("iys", "limits", "--output", "json")).output)
    assert shown["paused_until"] is not None
    assert shown["token_paused_until"] is None


async def test_missed_slot_is_returned(ledger: Ledger):
    """A call that is 60 ms late may not use it, and the address loses nothing."""
    now = 100.0
    pacer = LedgerPacer(ledger, Pace(rate=10), address="one", clock=lambda: now)
    await pacer.begin()
    slot = await pacer._take()
    now = slot.at + 0.059
    assert not pacer.is_over(slot)
    now = slot.at + 0.061
    assert pacer.is_over(slot)
    await pacer._take()
    (uses,) = await ledger.fetch(
        "SELECT count(*) FILTER (WHERE arrived_at > 0) AS taken FROM rate_limits, unnest(uses)"
    )
    assert uses["taken"] == 1


async def test_wait_returns_just_before_the_slot_opens(ledger: Ledger):
    """10 ms before, and the call leaves no sooner than the slot has certainly opened."""
    pacer = LedgerPacer(ledger, Pace(rate=10), address="one")
    await pacer.begin()
    for _ in range(3):
        slot = await pacer.wait(CallClass.BULK, "add_batch")
        assert pacer._clock() >= slot.opens_at - 0.01
        assert slot.opens_at >= slot.at
        await pacer.until(slot)
        assert pacer._clock() >= slot.opens_at


async def test_late_departure_moves_the_arrival_of_the_call(ledger: Ledger):
    """A connection had to be made first, and the reply shows when the call had arrived."""
    pacer = LedgerPacer(ledger, Pace(rate=10), address="one")
    await pacer.begin()

    async def arrived_at(slot: Slot) -> float:
        await pacer._take()
        (use,) = await ledger.fetch(
            "SELECT arrived_at FROM rate_limits, unnest(uses) AS use WHERE use.slot = %(slot)s",
            {"slot": slot.number},
        )
        return float(use["arrived_at"])

    def later(note: Callable[[Slot], T], slot: Slot, seconds: float) -> T:
        real, pacer._clock = pacer._clock, lambda: slot.at + seconds
        try:
            return note(slot)
        finally:
            pacer._clock = real

    slot = await pacer._take()
    assert later(pacer.left, slot, 0.06) == slot
    in_time = await arrived_at(slot)
    late = later(pacer.left, slot, 0.5)
    assert await arrived_at(slot) == pytest.approx(in_time + 0.44, abs=0.2)
    later(pacer.arrived, late, 0.55 - 0.44)
    assert await arrived_at(slot) == pytest.approx(in_time + 0.41, abs=0.2)


async def test_ledger_grants_the_slots_of_the_policy(ledger: Ledger):
    """A slot opens a span after the first arrival, or at once where a slot was not used."""
    pace = Pace(rate=10)
    pacer = LedgerPacer(ledger, pace, address="one")
    await pacer.begin()
    began = pacer._clock()
    state = PaceState()
    taken, with_terms = [], []
    for number in range(1, 31):
        if number == 15:  # the sixth to the eighth were answered, the ninth was not used
            there = [(6, began + 0.2), (8, began), (7, began + 0.1), (9, -math.inf), (1, -math.inf)]
            there += [(2, began + 9), (3, began)]  # their slots were taken by others; one was late
            pacer._there = list(there)
            for one, at in there:
                state = pace.arrived(state, one, at - began)
        slot = await pacer._take()
        assert slot.at <= slot.opens_at
        taken.append((slot.number, slot.opens_at))
        state, granted = pace.next_slot(state, 0.0)
        with_terms.append((granted.number, granted.at))
    assert [slot for slot, _ in taken] == [slot for slot, _ in with_terms]
    for (_, comes_at), (_, at) in zip(taken, with_terms, strict=True):
        assert comes_at - began == pytest.approx(at, abs=0.5)
