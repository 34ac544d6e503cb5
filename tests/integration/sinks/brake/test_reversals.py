"""Opt-ins of one source over too many opt-outs wait for a person, and permit nothing meanwhile."""

import pytest

from izin.sinks.ledger.brake import decisions
from izin.sinks.ledger.brake.counting import BrakeLimits
from izin.sinks.ledger.brake.decisions import Brake
from tests.integration.sinks.brake.brake_harness import (
    held_back,
    opt_outs,
    release,
    set_brake,
    submit_all,
    withdraw,
)
from tests.integration.sinks.sink_harness import Izin, SinkHarness, a_phone, onay, ret
from tests.support.builders import BRAND

pytestmark = pytest.mark.database

LIMITS = BrakeLimits(reversals=3)
FIRST = a_phone(0)


def opt_ins(count: int, *, origin: str = "crm", **more: object):  # type: ignore[no-untyped-def]
    """Return opt-ins of recipients that one source sends, newer than their opt-outs."""
    more = {"minutes": 1, "source": "HS_FIZIKSEL_ORTAM", **more}
    return [onay(a_phone(number), origin=origin, **more) for number in range(count)]


async def opted_out(harness: SinkHarness, limits: BrakeLimits | None = LIMITS) -> None:
    """Have opt-outs registered at İYS over opt-ins, and set the limit of their customer."""
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(6)))
    await harness.ingest(*opt_outs(range(6), origin="web"))
    assert len(await submit_all(harness)) == 6
    await set_brake(harness, limits)


async def tripped(harness: SinkHarness, count: int = 4) -> Brake:
    """Have one source reverse more opt-outs than it may; return the brake."""
    await opted_out(harness)
    await harness.ingest(*opt_ins(count))
    (brake,) = await decisions.undecided(harness.ledger)
    assert (brake.source, brake.status, brake.held_back) == ("crm", "ONAY", count)
    return brake


async def submit_opt_ins(harness: SinkHarness) -> list[str]:
    """Submit all that may go; return the recipients for whom İYS holds an opt-in then."""
    while await harness.bulk():
        await harness.settle()
    return sorted(one for one, status in harness.iys.register().items() if status == "ONAY")


async def test_reversals_above_the_limit_are_not_sent(harness: SinkHarness):
    """Nor do they permit anything: the opt-outs at İYS stand, until a person decides."""
    await opted_out(harness)
    await harness.ingest(*opt_ins(3))
    assert await held_back(harness) == set()
    await harness.ingest(*opt_ins(4)[3:])
    assert await held_back(harness) == {a_phone(number) for number in range(4)}
    assert await submit_opt_ins(harness) == []
    assert not any([(await harness.row(a_phone(number))).may_send for number in range(4)])
    harness.advance(decisions.BEFORE_DUE * 2)
    assert not await harness.scheduler.end_holds()
    assert await submit_opt_ins(harness) == []


async def test_what_is_no_reversal_is_neither_counted_nor_held(harness: SinkHarness):
    """New recipients, live consents, other sources, and what a source may reverse."""
    await opted_out(harness)
    live = {"notice_version": "2026-1", "source": "HS_WEB"}
    await harness.ingest(*opt_ins(4, **live))
    await harness.ingest(*(onay(a_phone(number), origin="crm") for number in range(20, 30)))
    await harness.ingest(*opt_ins(6, origin="shop")[4:])
    assert await decisions.undecided(harness.ledger) == ()


async def test_opt_outs_are_never_held_by_a_limit_of_reversals(harness: SinkHarness):
    """Not of the same source, not over its opt-ins that are held back, however many."""
    await tripped(harness)
    await harness.ingest(*opt_outs(range(4), minutes=0), *opt_outs(range(40, 60)))
    assert await held_back(harness) == set()
    assert (await harness.row(FIRST)).desired_status == "RET"
    await submit_all(harness)
    assert harness.iys.register()[FIRST] == "RET"


async def test_reversal_of_an_opt_out_of_the_same_batch_counts(harness: SinkHarness):
    """What reverses an opt-out that is not stored yet reverses it all the same."""
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(5)))
    await set_brake(harness, LIMITS)
    await harness.ingest(*opt_outs(range(5), origin="web"), *opt_ins(5))
    (brake,) = await decisions.undecided(harness.ledger)
    assert (brake.status, brake.held_back) == ("ONAY", 5)


async def test_released_opt_ins_are_registered(harness: SinkHarness):
    """With who and why in the history; the source is counted anew."""
    brake = await tripped(harness)
    assert await release(harness, brake) == (4, 0)
    assert len(await submit_opt_ins(harness)) == 4
    assert await decisions.undecided(harness.ledger) == ()


async def test_withdrawn_opt_ins_leave_the_opt_outs(harness: SinkHarness):
    """Those that İYS has stand; those that it does not have are due again, as they were given."""
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(6)))
    await harness.ingest(*opt_outs(range(2), origin="web"))
    assert len(await submit_all(harness)) == 2
    await harness.ingest(*opt_outs(range(2, 4), origin="web"))
    await set_brake(harness, LIMITS)
    reversals = opt_ins(4)
    await harness.ingest(*reversals)
    (brake,) = await decisions.undecided(harness.ledger)
    assert await withdraw(harness, brake) == (4, 0)
    assert len(await submit_all(harness)) == 4
    assert await submit_opt_ins(harness) == [a_phone(4), a_phone(5)]
    assert (await harness.row(FIRST)).state == "expired"
    harness.states.clear()
    await harness.ingest(*reversals)
    assert len(await submit_all(harness)) == 4
    assert await submit_opt_ins(harness) == [a_phone(4), a_phone(5)]
    await harness.ingest(onay(FIRST, minutes=-1, notice_version="2026-1", source="HS_WEB"))
    assert FIRST in await submit_opt_ins(harness)


async def test_commands_name_opt_ins_apart_from_opt_outs(harness: SinkHarness, izin: Izin):
    """The limit is set beside the share; list, release and withdraw say which of both."""
    await izin("held-back", "limit", "acme", "--share", "50", "--execute")
    shown = await izin("held-back", "limit", "acme", "--most-reversals", "3", "--execute")
    assert "50 % and at least 100 opt-outs an hour; more than 3 opt-outs reversed" in shown.stderr
    await opted_out(harness, BrakeLimits(share=50, at_least=100, reversals=3))
    await harness.ingest(*opt_ins(4), ret(a_phone(50), origin="crm"))
    listed = " ".join((await izin("held-back", "list")).stdout.split())
    assert f"izin held-back release {BRAND} --origin crm --reason … --opt-ins --execute" in listed
    order = (BRAND, "--origin=crm", "--reason=wrong", "--execute")
    assert (await izin("held-back", "withdraw", *order)).exit_code == 3
    explained = " ".join((await izin("explain", FIRST)).stdout.split())
    assert "held back by a brake until" in explained
    done = await izin("held-back", "withdraw", *order, "--opt-ins")
    assert "4 opt-ins over opt-outs of crm" in done.stderr
    explained = " ".join((await izin("explain", FIRST)).stdout.split())
    assert "withdraw opt-in (by" in explained
    off = await izin("held-back", "limit", "acme", "--off", "--execute")
    assert "-> off" in off.stderr
