import asyncio
from itertools import pairwise

import pytest

from izin.iys.in_process import InProcessPacer
from izin.iys.pacing import CallClass, Pace, PaceState
from izin.iys.turns import Turns

PACE = Pace(rate=10)


class ManualTime:
    """A clock that only sleeping moves, ``late`` seconds further than asked."""

    def __init__(self) -> None:
        self.now = 100.0
        self.late: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds + (self.late.pop(0) if self.late else 0.0)


def a_pacer(time: ManualTime, pace: Pace = PACE) -> InProcessPacer:
    return InProcessPacer(pace, clock=time, sleep=time.sleep)


def slots(count: int, *, state: PaceState, now: float) -> list[float]:
    found = []
    for _ in range(count):
        state, instant = PACE.next_slot(state, now)
        found.append(instant)
    return found


def test_eleven_uses_never_fall_into_one_second():
    """Ten a second by any window, though each use may be 20 ms late."""
    granted = slots(200, state=PaceState(), now=0.0)
    worst = [
        last - (first + PACE.forfeit_after)
        for first, last in zip(granted, granted[10:], strict=False)
    ]

    assert min(worst) >= 1 - 1e-9


def test_an_idle_address_saves_no_slots_up():
    """After a pause comes no burst."""
    granted = slots(3, state=PaceState(free_at=0.0), now=60.0)

    assert granted[0] == 60.0
    assert min(b - a for a, b in pairwise(granted)) >= 0.1


def test_a_slot_is_forfeited_after_its_time():
    """A late use would crowd the next ones."""
    assert not PACE.is_forfeited(5.0, 5.02 - 1e-9)
    assert PACE.is_forfeited(5.0, 5.03)


def test_a_throttle_pauses_halves_and_is_crept_out_of():
    """After H124 everybody waits a second, goes on at half the pace, and regains it slowly."""
    state = PACE.slow_down(PaceState(), 10.0)
    granted = slots(40, state=state, now=10.0)
    distances = [b - a for a, b in pairwise(granted)]

    assert granted[0] == 11.0
    assert distances[0] == pytest.approx(2 * PACE.interval)
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] == pytest.approx(PACE.interval)


def test_a_burst_of_throttles_counts_once():
    """Several calls in flight are told the same thing."""
    once = PACE.slow_down(PaceState(), 10.0)

    assert PACE.slow_down(once, 10.5) == once
    assert PACE.slow_down(once, 11.0).factor == pytest.approx(0.25)


def test_the_pace_never_falls_to_nothing():
    """However often İYS says no, calls go on leaving."""
    state = PaceState()
    for minute in range(20):
        state = PACE.slow_down(state, minute * 60.0)

    assert state.factor == PACE.slowest


async def order_of(pacer: InProcessPacer, classes: list[CallClass]) -> list[CallClass]:
    done: list[CallClass] = []

    async def call(call_class: CallClass) -> None:
        await pacer.wait(call_class, "add")
        done.append(call_class)

    async with asyncio.TaskGroup() as group:
        for call_class in classes:
            group.create_task(call(call_class))
    return done


async def test_an_opt_out_goes_before_waiting_bulk():
    """The order is by class, whoever came first."""
    waiting = [CallClass.SWEEP, CallClass.BULK, CallClass.DUE, CallClass.RET]

    assert await order_of(a_pacer(ManualTime()), waiting) == sorted(waiting)


async def test_nobody_starves():
    """One slot of ten goes to whoever has waited longest."""
    done = await order_of(a_pacer(ManualTime()), [CallClass.SWEEP] + [CallClass.RET] * 30)

    assert done.index(CallClass.SWEEP) == 9


async def test_results_are_asked_for_while_bulk_is_told():
    """The two share evenly, and pulling and sweeping get a tenth each of what is left."""
    waiting = [one for one in list(CallClass)[2:] for _ in range(40)]
    pace = Pace(rate=10, longest_waiting_every=1000)
    first = (await order_of(a_pacer(ManualTime(), pace), waiting))[:50]

    assert {one: first.count(one) for one in CallClass if one in first} == {
        CallClass.BULK: 20,
        CallClass.RESULTS: 20,
        CallClass.PULL: 5,
        CallClass.SWEEP: 5,
    }


async def test_whoever_pauses_saves_no_turns_up():
    """Bulk that waits alone for long does not lose its share to results that come later."""
    turns = Turns(longest_waiting_every=1000)
    loop = asyncio.get_running_loop()
    bulk = [loop.create_future() for _ in range(30)]
    for one in bulk:
        turns.queue(CallClass.BULK, one)
    for _ in range(20):
        turns.grant()
    for _ in range(10):
        turns.queue(CallClass.RESULTS, loop.create_future())
    for _ in range(10):
        turns.grant()

    assert sum(one.done() for one in bulk) == 25


async def test_calls_leave_at_the_pace():
    """Twenty calls take nineteen intervals."""
    time = ManualTime()

    await order_of(a_pacer(time), [CallClass.BULK] * 20)

    assert time.now - 100.0 == pytest.approx(19 * PACE.interval)


async def test_a_forfeited_slot_is_replaced_by_the_next():
    """A process that slept too long takes a new slot and does not use the old one."""
    time = ManualTime()
    pacer = a_pacer(time)
    await pacer.wait(CallClass.BULK, "add")
    time.late = [0.05]

    await pacer.wait(CallClass.BULK, "add")
    assert time.now == pytest.approx(100.0 + 2 * PACE.interval)


async def test_a_throttle_holds_back_who_already_waits():
    """The pause counts for slots that were granted before it."""
    time = ManualTime()
    pacer = a_pacer(time)
    await pacer.wait(CallClass.BULK, "add")
    waiting = asyncio.create_task(pacer.wait(CallClass.RET, "add"))
    await asyncio.sleep(0)
    await pacer.throttled()
    await waiting

    assert time.now >= 101.0


async def test_a_caller_who_gave_up_takes_no_slot():
    """A cancelled call is passed over."""
    time = ManualTime()
    pacer = a_pacer(time)
    given_up = asyncio.create_task(pacer.wait(CallClass.RET, "add"))
    await asyncio.sleep(0)
    given_up.cancel()

    await pacer.wait(CallClass.BULK, "add")

    assert time.now == 100.0
    assert given_up.cancelled()


async def test_if_the_pacer_breaks_nobody_waits_for_ever():
    """Whoever waits is told."""

    async def broken(_seconds: float) -> None:
        raise OSError("no sleep")

    time = ManualTime()
    pacer = InProcessPacer(PACE, clock=time, sleep=broken)
    await pacer.wait(CallClass.BULK, "add")

    with pytest.raises(OSError, match="no sleep"):
        await pacer.wait(CallClass.BULK, "add")
