"""What another source has opted out too is neither held back nor withdrawn with a faulty list."""

from datetime import timedelta

import pytest

from izin.sinks.ledger.brake import decisions
from tests.integration.sinks.brake.brake_harness import (
    held_back,
    opt_outs,
    opted_in,
    set_brake,
    submit_all,
    trip,
    withdraw,
)
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret

pytestmark = pytest.mark.database

FIRST = a_phone(0)
OTHERS = {a_phone(number) for number in range(1, 5)}


def genuine(minutes: int = 30, origin: str = "web", **more: object):  # type: ignore[no-untyped-def]
    """Return an opt-out of the first recipient that another source sends."""
    return ret(FIRST, minutes=minutes, origin=origin, event_id=f"{origin}-{minutes}", **more)


async def facts(harness: SinkHarness) -> tuple[object, ...]:
    """Return what is due of the first recipient, and from which source."""
    names = ("state", "action", "desired_origin", "desired_event_id", "may_send")
    return tuple(await harness.columns(*names, recipient=FIRST))


DUE = ("pending", "send", "web", "web-30", False)


async def test_waiting_opt_out_of_another_source_is_not_held(harness: SinkHarness):
    """It goes with its own date, whatever a faulty source says since; the others are withdrawn."""
    await opted_in(harness)
    await harness.ingest(genuine())
    due_at = (await harness.row(FIRST)).due_at
    await harness.ingest(*opt_outs(range(5)))
    assert await held_back(harness) == OTHERS
    assert await facts(harness) == DUE
    assert (await harness.row(FIRST)).due_at == due_at
    (brake,) = await decisions.undecided(harness.ledger)
    assert await withdraw(harness, brake) == (4, 0)
    assert await submit_all(harness) == {FIRST: "RET"}


async def test_opt_out_of_the_hour_before_is_let_go_too(harness: SinkHarness):
    """The list trips the brake at its end only: what it had taken over until then goes as well."""
    await opted_in(harness)
    await harness.ingest(genuine())
    await harness.ingest(*opt_outs(range(2)))
    await harness.ingest(*opt_outs(range(2, 5)))
    assert await held_back(harness) == OTHERS
    assert await facts(harness) == DUE


@pytest.mark.parametrize("is_withdrawn", [False, True])
async def test_stale_opt_out_of_another_source_opens_the_key(
    harness: SinkHarness, *, is_withdrawn: bool
):
    """It is older than the faulty one, and genuine: it is due as it was given. The faulty one,
    again, changes nothing, nor does taking the brake away.
    """
    faulty = opt_outs(range(5))
    await opted_in(harness)
    await harness.ingest(*faulty)
    (brake,) = await decisions.undecided(harness.ledger)
    if is_withdrawn:
        assert await withdraw(harness, brake) == (5, 0)
        await set_brake(harness, None)
    await harness.ingest(genuine())
    assert await facts(harness) == DUE
    assert await held_back(harness) == (set() if is_withdrawn else OTHERS)
    harness.states.clear()
    await harness.ingest(*faulty)
    assert await facts(harness) == DUE
    assert await submit_all(harness) == {FIRST: "RET"}
    await harness.ingest(onay(FIRST, minutes=-1))
    assert (await harness.row(FIRST)).desired_status == "ONAY"


async def test_withdrawal_leaves_out_what_another_source_said(harness: SinkHarness):
    """Also of what an earlier release has held back."""
    await opted_in(harness, None)
    await harness.ingest(genuine())
    await harness.ingest(*opt_outs([0]))
    await set_brake(harness)
    await harness.ingest(*opt_outs(range(1, 5)))
    (brake,) = await decisions.undecided(harness.ledger)
    await harness.set_columns(brake_id=brake.id, recipient=FIRST)
    assert await withdraw(harness, brake) == (4, 1)
    assert await facts(harness) == DUE
    assert await submit_all(harness) == {FIRST: "RET"}


@pytest.mark.parametrize("other", ["before an opt-in", "of the same source", "withdrawn itself"])
async def test_what_is_no_other_genuine_opt_out_stays_withdrawn(harness: SinkHarness, other: str):
    """One that an opt-in has followed, an older one of the list, one that was withdrawn too."""
    if other == "before an opt-in":
        await opted_in(harness)
        await harness.ingest(genuine(minutes=40), onay(FIRST, minutes=20))
        await harness.ingest(*opt_outs(range(5)))
    elif other == "withdrawn itself":
        await withdraw(harness, await trip(harness, origin="web"))
        await harness.ingest(*opt_outs(range(5), minutes=-1))
    else:
        await trip(harness)
    (brake,) = await decisions.undecided(harness.ledger)
    assert await withdraw(harness, brake) == (5, 0)
    if other == "of the same source":
        await harness.ingest(genuine(origin="crm"))
    harness.advance(timedelta(days=5))
    assert await submit_all(harness) == {}
