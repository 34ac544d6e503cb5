"""Calls keep İYS's pace; an outage costs one every five seconds, and the first answer closes the
circuit.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from izin.iys.client import IysClient
from izin.iys.errors import BusyError, CallError, OutcomeUnknownError, RefusedError, TokenLimitError
from izin.iys.rate_limit import (
    CallClass,
    CallQueue,
    CircuitBreakerPolicy,
    CircuitBreakers,
    CircuitState,
    Pace,
    Slot,
)
from tests.support.iys import PaceState, arrived, next_slot
from tests.unit.iys.test_client import BRAND, SETTINGS, a_client, an_item, refusing, saying

PACE = Pace(rate=10)


def slots(
    count: int, *, state: PaceState, now: float, answered_after: float | None = None
) -> list[float]:
    """Grant so many slots, each requested when the previous one began; answers free them."""
    found: list[float] = []
    for _ in range(count):
        if answered_after is not None:
            for number, at in enumerate(found, start=1):
                if at + answered_after <= now:
                    state = arrived(state, number, at + answered_after)
        state, slot = next_slot(PACE, state, now)
        found.append(slot.at)
        now = max(now, slot.at)
    return found


def later(state: PaceState, count: int, now: float = 0.0) -> tuple[PaceState, Slot]:
    """Grant so many slots at once; return the last."""
    for _ in range(count):
        state, slot = next_slot(PACE, state, now)
    return state, slot


def crowded(uses: list[tuple[float, float, float]]) -> bool:
    """Whether more than ten of ``uses`` arrive within a second: each leaves so late, takes so long
    on its way, and is answered so long after.
    """
    state, now = PaceState(), 0.0
    arrivals: list[float] = []
    known: list[tuple[float, int, float]] = []
    for late, way, work in uses:
        for at, number, arrived_at in sorted(known):
            if at <= now:
                state = arrived(state, number, arrived_at)
        state, slot = next_slot(PACE, state, now)
        now = slot.at
        left_at = slot.at + late
        arrivals.append(left_at + way)
        answered_at = arrivals[-1] + work
        left = PACE.as_left(slot, left_at)
        known.append((left_at, slot.number, PACE.arrived_at(left)))
        known.append((answered_at, slot.number, PACE.arrived_at(left, answered_at)))
    arrivals.sort()
    return any(b - a < 1 - 1e-9 for a, b in zip(arrivals, arrivals[10:], strict=False))


@given(
    st.lists(
        st.tuples(st.floats(0, PACE.forfeit_after), st.floats(0, PACE.spread), st.floats(0, 0.3)),
        min_size=30,
        max_size=80,
    )
)
def test_eleven_requests_never_arrive_within_one_second(uses: list[tuple[float, float, float]]):
    """Each is sent within its slot, takes up to 80 ms to arrive and is answered at any time."""
    assert not crowded(uses)


def test_use_sent_late_is_counted_when_known():
    """Connections had to be made: of five that leave half a second late the last does so after its
    place was given to the eleventh.
    """
    in_time = (0.0, 0.0, 0.0)
    late = [(0.5, 0.0625, 0.0), *[(0.5, 0.0, 0.0)] * 4, (0.0, 0.0, 0.0625)]
    assert not crowded([*late, *[in_time] * 24])


def test_answered_slot_is_reused_a_second_later():
    """Nearly all of İYS's ten a second is used where requests arrive fast."""
    near = slots(400, state=PaceState(), now=0.0, answered_after=0.01)
    assert len(near) / near[-1] > 9.8
    far = slots(400, state=PaceState(), now=0.0)
    assert 8.7 < len(far) / far[-1] < 8.9


def test_unused_slot_is_free_again():
    """A slot given back never arrives, and delays nothing."""
    state = PaceState()
    for _ in range(10):
        state, slot = next_slot(PACE, state, 0.0)
        state = arrived(state, slot.number)
    state, slot = next_slot(PACE, state, 0.0)
    assert slot.at == pytest.approx(10 * PACE.interval)


def test_answer_ten_slots_late_frees_no_other_slot():
    """Another use has replaced it by then."""
    state, first = next_slot(PACE, PaceState(), 0.0)
    state, _ = later(state, 10)
    assert arrived(state, first.number, 0.0) == state


def test_use_arriving_after_it_was_replaced_still_counts():
    """It replaces the earliest; a use that arrived in time changes nothing."""
    state, _ = later(PaceState(), 11)
    late = arrived(state, 1, 0.86)
    assert 0.86 in {use.arrived_at for use in late.uses}
    assert 2 not in {use.number for use in late.uses}
    assert arrived(late, 1, 0.8) != late
    assert arrived(state, 1, PACE.arrives_within) == state


def test_arrived_use_makes_room_though_it_was_sent_later():
    """The fourth is answered, the first to third are not yet: a second after the fourth is soon
    enough, for nine others may arrive within the second of the eleventh.
    """
    state, slot = later(PaceState(), 10)
    state, eleventh = next_slot(PACE, arrived(state, 4, 0.02), slot.at)
    _, twelfth = next_slot(PACE, state, slot.at)
    assert [eleventh.at, twelfth.at] == pytest.approx([1.02, 1 + PACE.arrives_within])


def test_delayed_calls_are_caught_up():
    """A slot that had to wait for an answer does not delay those after it."""
    state, held_up = later(PaceState(), 11)
    assert held_up.at == pytest.approx(1 + PACE.arrives_within)
    for number in range(2, 11):
        state = arrived(state, number, 0.0)
    assert next_slot(PACE, state, held_up.at)[1].at == held_up.at


def test_idle_address_saves_at_most_one_slot():
    """There is no burst after a pause."""
    granted = slots(4, state=PaceState(free_at=0.0), now=60.0)

    assert granted[:2] == [60.0, 60.0]
    assert min(b - a for a, b in pairwise(granted[1:])) >= PACE.interval - 1e-9


def test_slot_is_forfeited_after_its_time():
    """A late use would crowd the next ones."""
    assert not PACE.is_forfeited(5.0, 5.06 - 1e-9)
    assert PACE.is_forfeited(5.0, 5.07)


def test_throttled_pace_recovers_slowly():
    """After H124 calls continue at half the pace, and recover slowly."""
    slowed = PaceState(free_at=11.0, factor=0.5)
    granted = slots(9, state=slowed, now=10.0)
    distances = [b - a for a, b in pairwise(granted)]
    assert (granted[0], distances[0]) == (11.0, pytest.approx(2 * PACE.interval))
    assert distances == sorted(distances, reverse=True)
    assert later(slowed, 49, 20.0)[0].factor == 1.0


async def order_of(classes: list[CallClass], *, longest_waiting_every: int) -> list[CallClass]:
    """Return the order in which calls that wait together get their slots."""
    turns = CallQueue(longest_waiting_every=longest_waiting_every)
    calls = [(one, *queued(turns, one, 1)) for one in classes]
    for slot in range(len(classes)):
        assert turns.grant(slot)
    return [one for one, _ in sorted(calls, key=lambda call: call[1].result())]


async def test_opt_out_precedes_waiting_bulk():
    """The order is by class, not by arrival."""
    waiting = [CallClass.SWEEP, CallClass.BULK, CallClass.DUE, CallClass.RET]
    assert await order_of(waiting, longest_waiting_every=1000) == sorted(waiting)


async def test_no_class_starves():
    """One slot of four goes to the call that has waited longest."""
    waiting = [CallClass.SWEEP] + [CallClass.RET] * 30
    done = await order_of(waiting, longest_waiting_every=Pace().longest_waiting_every)
    assert done.index(CallClass.SWEEP) == 3


async def test_results_are_polled_while_bulk_is_submitted():
    """A result has twice the share of a batch, and pull and sweep a quarter of it."""
    waiting = [one for one in list(CallClass)[2:] for _ in range(40)]
    first = (await order_of(waiting, longest_waiting_every=1000))[:42]
    assert Counter(first) == {
        CallClass.BULK: 12,
        CallClass.RESULTS: 24,
        CallClass.PULL: 3,
        CallClass.SWEEP: 3,
    }


@pytest.mark.parametrize(
    ("longest_waiting_every", "bulk_calls", "alone", "shared", "bulk_done"),
    [
        # Bulk that waits alone for long does not lose its share to results that come later.
        (1000, 30, 20, 10, 23),
        # Bulk that waits first gets no more than its third, though a slot of ten goes to it.
        (10, 40, 0, 36, 12),
    ],
)
async def test_class_keeps_its_share(
    longest_waiting_every: int, bulk_calls: int, alone: int, shared: int, bulk_done: int
):
    """Whichever class came first, and however long it was alone."""
    turns = CallQueue(longest_waiting_every=longest_waiting_every)
    bulk = queued(turns, CallClass.BULK, bulk_calls)
    for slot in range(alone):
        turns.grant(slot)
    queued(turns, CallClass.RESULTS, 40)
    for slot in range(shared):
        turns.grant(slot)
    assert sum(one.done() for one in bulk) == bulk_done


def queued(turns: CallQueue, call_class: CallClass, count: int) -> list[asyncio.Future[int]]:
    """Put so many calls of a class into a queue."""
    calls = [asyncio.get_running_loop().create_future() for _ in range(count)]
    for one in calls:
        turns.put(call_class, one)
    return calls


async def test_cancelled_call_takes_no_slot():
    """A cancelled call is passed over; without another, no slot is used."""
    turns = CallQueue(longest_waiting_every=4)
    (given_up,), (bulk,) = (queued(turns, one, 1) for one in (CallClass.RET, CallClass.BULK))
    given_up.cancel()
    assert turns.grant(7)
    assert (bulk.result(), turns.grant(8)) == (7, False)


async def test_failed_pacer_fails_every_waiting_call():
    """Every waiting call gets the error, for no further slot will come."""
    turns = CallQueue(longest_waiting_every=4)
    calls = queued(turns, CallClass.BULK, 2)
    turns.fail(OSError("no sleep"))
    assert [str(one.exception()) for one in calls] == ["no sleep"] * 2


FIVE = CircuitBreakerPolicy().opens_after
DEADLINE = 20.0


def open_circuit(operation: str = "add") -> CircuitBreakers:
    """Return breakers with an open circuit of one operation, at second 100."""
    breakers = CircuitBreakers()
    for _ in range(FIVE):
        assert breakers.begin(operation, 100.0)
        breakers.busy(operation, 100.0)
    return breakers


async def outage(client: IysClient, calls: int = FIVE) -> None:
    """Make calls whose outcome is not known."""
    for _ in range(calls):
        with pytest.raises(OutcomeUnknownError):
            await client.add(BRAND, an_item())


def test_failed_probe_doubles_the_pause_up_to_its_bound():
    """A second, two, four … and never so long that an opt-out waits for it."""
    policy = CircuitBreakerPolicy()
    assert [policy.pause(FIVE + number) for number in range(7)] == [1, 2, 4, 5, 5, 5, 5]
    assert policy.pause(FIVE - 1) == 0
    breakers = open_circuit()
    assert breakers.begin("add", 101.0)
    breakers.busy("add", 101.0)
    assert breakers.closes_in("add", 101.0) == 2


def test_calls_that_were_under_way_do_not_lengthen_the_pause():
    """Many fail at once when İYS goes down: that is one failure, not a series of them."""
    breakers = open_circuit()
    for _ in range(10):
        breakers.busy("add", 100.5)
    assert breakers.closes_in("add", 100.5) == 0.5


@pytest.mark.parametrize("note", ["answered", "busy", "throttled"])
def test_any_answer_ends_the_silence(note: str):
    """Whatever it says, and to whatever operation."""
    breakers = CircuitBreakers()
    breakers.unanswered("add", 100.0, within=DEADLINE)
    assert breakers.is_silent
    getattr(breakers, note)("status", 101.0)
    assert not breakers.is_silent


def test_circuits_are_separate_but_all_open_without_a_token():
    """Batches may fail while single calls succeed; without a token none is made, for a minute."""
    breakers = open_circuit("add_batch")
    assert breakers.state("add", 100.0) is CircuitState.CLOSED
    breakers.open_all(3600, 100.0)
    assert breakers.state("add", 159.9) is CircuitState.OPEN
    assert breakers.state("add", 160.0) is CircuitState.CLOSED


async def test_open_circuit_sends_nothing():
    """Six calls, five of which are made; then a refusal shows that İYS is there."""
    answers = iter([*[saying(503)] * FIVE, refusing(422, "H121")])
    seconds = [100.0]

    def answer(request: httpx.Request) -> Any:  # noqa: ANN401  # a response
        return next(answers)(request)

    async with a_client(answer, clock=lambda: seconds[0]) as client:
        await outage(client)
        with pytest.raises(BusyError) as resting:
            await client.add(BRAND, an_item())
        assert resting.value.retry_after == timedelta(seconds=1)
        assert client.circuit_state("add") is CircuitState.OPEN
        assert client.circuit_state("status") is CircuitState.CLOSED
        seconds[0] += 1
        with pytest.raises(RefusedError):
            await client.add(BRAND, an_item())
        assert client.circuit_state("add") is CircuitState.CLOSED


@pytest.mark.parametrize("status", [None, 200, 429, 503])
async def test_unanswered_calls_open_their_circuit_sooner_in_silence(status: int | None):
    """Two of them, unless another call was answered within the deadline, in whatever way."""
    seconds = [100.0]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and status is not None:
            return httpx.Response(status, json={"list": []})
        seconds[0] += DEADLINE / 2
        raise httpx.ReadTimeout("late", request=request)

    settings = SETTINGS.model_copy(update={"timeout": timedelta(seconds=DEADLINE)})
    async with a_client(answer, settings=settings, clock=lambda: seconds[0]) as client:
        for _ in range(2):
            with suppress(CallError):
                await client.brands(7)
            await outage(client, 1)
        assert (client.circuit_state("add") is CircuitState.OPEN) is (status is None)
        assert client.breakers.is_silent is (status is None)


async def test_cancelled_probe_leaves_the_circuit_half_open():
    """The next call is the probe if the ledger is unreachable, or the caller was cancelled."""

    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async with a_client(hang, clock=lambda: 101.0) as client:
        client.breakers = open_circuit()
        call = asyncio.create_task(client.add(BRAND, an_item()))
        await asyncio.sleep(0)
        assert client.circuit_state("add") is CircuitState.OPEN
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert client.circuit_state("add") is CircuitState.HALF_OPEN


async def test_token_limit_opens_all_circuits():
    """Nothing is claimed only to be put back."""
    async with a_client(refusing(429, "H084")) as client:
        with pytest.raises(TokenLimitError):
            await client.add(BRAND, an_item())
        assert client.circuit_state("add_batch") is CircuitState.OPEN
