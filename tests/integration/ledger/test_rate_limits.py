"""What İYS counts by address is shared by every process and account behind it.

A password that was refused, and is corrected: here, or at İYS.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from pydantic import SecretStr

from izin.cli.doctor.faults import token_finding
from izin.cli.doctor.finding import CheckState
from izin.iys.client import IysClient
from izin.iys.errors import ThrottledError, TokenLimitError, UnauthenticatedError
from izin.iys.rate_limit import (
    CallClass,
    HourLimit,
    Pace,
    Reputation,
    ReputationPolicy,
    Slot,
)
from izin.iys.tokens import TokenState
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import LedgerPacer, addresses, codes
from izin.runtime.settings import IysSettings
from izin.sinks.outbound.context import iys_session
from tests.integration.sinks.sink_harness import (
    InMemoryTopic,
    Izin,
    SinkHarness,
    a_phone,
    ended,
    onay,
    set_environment,
)
from tests.support.builders import BRAND
from tests.support.iys import PaceState, arrived, next_slot
from tests.support.simulator import IYS_CODE, PASSWORD, USERNAME

pytestmark = pytest.mark.database
T = TypeVar("T")
WRONG = "not-the-password-either"


async def a_pacer(ledger: Ledger, *, rate: float = 500, **more: object) -> LedgerPacer:
    """Return one process's pacer of the address "one", which has begun."""
    pacer = LedgerPacer(ledger, Pace(rate=rate), address="one", **more)  # type: ignore[arg-type]
    await pacer.begin()
    return pacer


async def test_pacers_of_an_address_share_its_pace(ledger: Ledger):
    """Ten calls of two processes take as long as ten calls of one."""
    pacers = [await a_pacer(ledger, rate=50) for _ in range(2)]
    began = time.monotonic()
    await asyncio.gather(*(pacers[n % 2].wait(CallClass.BULK, "add") for n in range(20)))
    assert time.monotonic() - began > 18 / 50


async def test_opt_out_takes_a_slot_before_waiting_bulk(ledger: Ledger):
    """The most urgent call takes the next slot."""
    pacer = await a_pacer(ledger, rate=50)
    left: list[CallClass] = []

    async def leave(call_class: CallClass) -> None:
        await pacer.wait(call_class, "add")
        left.append(call_class)

    bulk = [asyncio.create_task(leave(CallClass.BULK)) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.gather(leave(CallClass.RET), *bulk)
    assert CallClass.RET in left[:2]


async def test_throttled_call_halves_the_pace_of_the_address(ledger: Ledger):
    """H124 does it once for a burst, and never to zero."""
    pacer = await a_pacer(ledger, rate=50)
    await pacer.throttled()
    await pacer.throttled()
    assert await ledger.fetch("SELECT factor FROM rate_limits") == [{"factor": 0.5}]
    for _ in range(4):
        await ledger.fetch("UPDATE rate_limits SET paused_until = clock_timestamp() RETURNING 1")
        await pacer.throttled()
    assert await ledger.fetch("SELECT factor FROM rate_limits") == [{"factor": Pace().slowest}]


async def test_hourly_queries_are_shared_and_reserved_for_opt_outs(ledger: Ledger):
    """Ten an hour: eight for any class, two more for opt-outs; then an error with the time."""
    limits = {"status": HourLimit(calls=10)}
    one, two = [await a_pacer(ledger, hour_limits=limits) for _ in range(2)]
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
    limits = {"status": HourLimit(calls=5)}
    pacers = [await a_pacer(ledger, hour_limits=limits) for _ in range(4)]
    asked = [pacer.wait(CallClass.RET, "status") for pacer in pacers for _ in range(3)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, Slot) for one in found) == 5


async def test_failures_of_one_process_slow_down_all(ledger: Ledger):
    """Another process reads the reputation of the address, and halves its pace."""
    policy = ReputationPolicy(counts_from=10)
    one, two = [await a_pacer(ledger, policy=policy) for _ in range(2)]
    for number in range(10):
        one.answered("add", "H175" if number < 3 else "200", failed=number < 3)
    assert two.reputation is Reputation.GOOD
    await one.flush()
    await two.flush()
    assert (one.reputation, two.reputation) == (Reputation.CRITICAL, Reputation.CRITICAL)
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
    harness.context.pacer.reputation = Reputation.CRITICAL
    await harness.ingest(onay())
    assert not await harness.bulk()
    await harness.ledger.fetch(
        "UPDATE consents SET due_at = now() + interval '23 hours' RETURNING key"
    )
    assert await harness.bulk()
    assert harness.pacer.classes[-1] is CallClass.DUE
    harness.context.pacer.reputation = Reputation.GOOD
    await harness.submit_bulk(onay(a_phone(2)))
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
    """It shows the address, its calls and its pauses, but for one that is over."""
    pacer = await a_pacer(ledger)
    limits = ("iys", "limits", "--output", "json")
    (found,) = json.loads(ended(await izin(*limits), 0).stdout)
    assert found["reputation"] == "good"
    assert (found["paused_until"], found["token_paused_until"]) == (None, None)
    await ledger.fetch(
        "UPDATE rate_limits SET paused_until = clock_timestamp() + interval '1 hour',"
        " token_silent_until = clock_timestamp() - interval '1 second' RETURNING 1"
    )
    for _ in range(10_000):
        pacer.answered("add", "H121", failed=True)
    await pacer.flush()
    (found,) = json.loads(ended(await izin(*limits), 1).stdout)
    assert found["failed_24h"] == 10_000
    assert (found["paused_until"] is None, found["token_paused_until"]) == (False, None)


async def test_missed_slot_is_returned(ledger: Ledger):
    """A call that is 60 ms late may not use it, and the address loses nothing."""
    now = 100.0
    pacer = await a_pacer(ledger, rate=10, clock=lambda: now)
    slot = await pacer._take()
    now = slot.at + 0.059
    assert not pacer.is_over(slot)
    now = slot.at + 0.061
    assert pacer.is_over(slot)
    await pacer._take()
    used = "SELECT FROM rate_limits, unnest(uses) WHERE arrived_at > 0"
    assert len(await ledger.fetch(used)) == 1


async def test_wait_returns_just_before_the_slot_opens(ledger: Ledger):
    """10 ms before, and the call leaves no sooner than the slot has certainly opened."""
    pacer = await a_pacer(ledger, rate=10)
    for _ in range(3):
        slot = await pacer.wait(CallClass.BULK, "add_batch")
        assert pacer._clock() >= slot.opens_at - 0.01
        assert slot.opens_at >= slot.at
        await pacer.until(slot)
        assert pacer._clock() >= slot.opens_at


async def test_late_departure_moves_the_arrival_of_the_call(ledger: Ledger):
    """A connection had to be made first, and the reply shows when the call had arrived."""
    pacer = await a_pacer(ledger, rate=10)

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
    pacer = await a_pacer(ledger, rate=pace.rate)
    began = pacer._clock()
    state = PaceState()
    taken, with_terms = [], []
    for number in range(1, 31):
        if number == 15:  # the sixth to the eighth were answered, the ninth was not used
            there = [(6, began + 0.2), (8, began), (7, began + 0.1), (9, -math.inf), (1, -math.inf)]
            there += [(2, began + 9), (3, began)]  # their slots were taken by others; one was late
            pacer._there = list(there)
            for one, at in there:
                state = arrived(state, one, at - began)
        slot = await pacer._take()
        assert slot.at <= slot.opens_at
        taken.append((slot.number, slot.opens_at))
        state, granted = next_slot(pace, state, 0.0)
        with_terms.append((granted.number, granted.at))
    assert [slot for slot, _ in taken] == [slot for slot, _ in with_terms]
    for (_, comes_at), (_, at) in zip(taken, with_terms, strict=True):
        assert comes_at - began == pytest.approx(at, abs=0.5)


@pytest.fixture
def settings(iys_settings: IysSettings) -> IysSettings:
    """Give settings of a worker that shares the harness's address."""
    return iys_settings.model_copy(update={"egress_address": "test"})


@asynccontextmanager
async def a_session(
    ledger: Ledger, settings: IysSettings, password: str = PASSWORD
) -> AsyncIterator[IysClient]:
    """Give the client of a process that starts with ``password``."""
    given = settings.model_copy(update={"password": SecretStr(password)})
    async with iys_session(ledger, given) as (client, pacer):
        await pacer.begin()
        yield client


async def refused(ledger: Ledger, settings: IysSettings, password: str, *, times: int) -> None:
    """Start processes one after the other, each of which is refused, or held back."""
    for _ in range(times):
        async with a_session(ledger, settings, password) as client:
            with pytest.raises((UnauthenticatedError, TokenLimitError)):
                await client.brands(IYS_CODE)


async def held_back(ledger: Ledger, settings: IysSettings, password: str) -> None:
    """Fail until requests are held back."""
    await refused(ledger, settings, password, times=4)
    async with a_session(ledger, settings, password) as client:
        with pytest.raises(TokenLimitError):
            await client.brands(IYS_CODE)


async def test_corrected_password_is_used_at_once(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings
):
    """The refused one is held back for minutes; another is not, and the first answer ends it."""
    await held_back(ledger, settings, WRONG)
    before = harness.iys.calls("token")
    async with a_session(ledger, settings) as client:
        assert await client.brands(IYS_CODE)
    assert harness.iys.calls("token") == before + 1
    async with a_session(ledger, settings, WRONG) as client:
        assert await client.brands(IYS_CODE), "the token serves every process of the account"


async def test_dropped_refresh_token_does_not_hold_back_the_password(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings
):
    """İYS forgets its tokens while the password is wrong: the right one is asked for once."""
    async with a_session(ledger, settings) as client:
        await client.brands(IYS_CODE)
    await ledger.fetch(
        "UPDATE access_tokens SET access_token = 'spent', refresh_token = 'spent',"
        " expires_at = now() RETURNING account"
    )
    await held_back(ledger, settings, WRONG)
    async with a_session(ledger, settings) as client:
        assert await client.brands(IYS_CODE)


async def test_corrected_password_wakes_what_waited_for_it(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings
):
    """Streams pause for a quarter of an hour, and so do the account's suspensions: both end."""
    harness.become(account=USERNAME, address="test")
    await harness.suspend("token", scope="account", account=USERNAME)
    topic = InMemoryTopic()
    async with a_session(ledger, settings, WRONG) as client:
        harness.context = replace(harness.context, client=client)
        assert [await harness.puller(topic).pull_next() for _ in range(2)] == [True, True]
    assert not await harness.puller(topic).pull_next()
    async with a_session(ledger, settings) as client:
        harness.context = replace(harness.context, client=client)
        assert [await harness.puller(topic).pull_next() for _ in range(2)] == [True, True]
    (one,) = await harness.suspensions()
    assert one.recheck_at is not None
    assert one.recheck_at <= harness.clock()


async def test_retry_tries_the_same_password_at_once(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings, izin: Izin
):
    """Where the account was corrected at İYS, a person says so; nothing else is suspended."""
    await held_back(ledger, settings, WRONG)
    harness.iys.post("accounts", username=USERNAME, password=WRONG, iysCode=IYS_CODE)
    async with a_session(ledger, settings, WRONG) as client:
        with pytest.raises(TokenLimitError):
            await client.brands(IYS_CODE)
    ended(await izin("brands", "retry", BRAND, "--by", "ada"), 0)
    async with a_session(ledger, settings, WRONG) as client:
        assert await client.brands(IYS_CODE)


async def test_doctor_asks_for_a_token_itself(
    ledger: Ledger,
    harness: SinkHarness,
    settings: IysSettings,
    monkeypatch: pytest.MonkeyPatch,
):
    """İYS answers a call without a token as ever; the doctor says what one with a token gets."""
    given = {
        "IYS_BASE_URL": settings.base_url,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": WRONG,
        "IYS_EGRESS_ADDRESS": "test",
    }
    set_environment(monkeypatch, given)
    first = await token_finding(ledger)
    await refused(ledger, settings, WRONG, times=3)
    held = await token_finding(ledger)
    assert (first.state, held.state) == (CheckState.WRONG, CheckState.WRONG)
    assert "IYS_PASSWORD" in first.what
    assert "is IYS_PASSWORD right?" in held.what
    monkeypatch.setenv("IYS_PASSWORD", PASSWORD)
    assert (await token_finding(ledger)).state is CheckState.OK
    calls = harness.iys.calls("token")
    assert (await token_finding(ledger)).state is CheckState.OK
    assert harness.iys.calls("token") == calls, "a token that is there is used"


async def test_neither_password_nor_retry_ends_the_silence_iys_asks_for(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings, izin: Izin
):
    """A call within the hour after H084 would restart the hour."""
    harness.iys.inject_fault("token", status=429, code="H084")
    await refused(ledger, settings, WRONG, times=1)
    before = harness.iys.calls("token")
    await izin("brands", "retry", BRAND, "--by", "ada")
    await refused(ledger, settings, PASSWORD, times=1)
    assert harness.iys.calls("token") == before


async def test_ledger_never_has_the_password_or_a_whole_digest(ledger: Ledger):
    """Two bytes tell another password from the last one, and fit one in 65,536 of all."""
    settings = IysSettings(username=USERNAME, password=SecretStr(PASSWORD))
    other = settings.model_copy(update={"password": SecretStr(WRONG)})
    store = LedgerTokenStore.of(ledger, settings)
    assert len(store.digest) == 2
    assert store.digest == LedgerTokenStore.of(ledger, settings).digest
    assert store.digest != LedgerTokenStore.of(ledger, other).digest
    async with store.lease() as lease:
        await lease.store(replace(lease.state, failures=3))
    assert (await store.read()).failures == 3
    assert (await LedgerTokenStore.of(ledger, other).read()).failures == 0
