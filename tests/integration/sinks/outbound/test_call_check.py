"""What has changed while a call waited is not sent: the check just before it is written.

A call that İYS did not process shows nothing of what an earlier call of its submission did.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import httpx
import pytest

from izin.consent import Action, Channel, ConsentEvent
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    OTHER,
    RESULT_DELAY,
    Killed,
    SinkHarness,
    die,
    given_at,
    onay,
    ret,
)
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_opt_out_while_a_batch_waits_takes_its_opt_in_out(harness: SinkHarness):
    """The batch is rebuilt without it; the others are sent."""
    people = await harness.ingest_for(onay, range(3))
    harness.pacer.meanwhile = partial(harness.ingest, ret(people[1]))
    assert await harness.bulk()
    assert await harness.settle()
    assert set(harness.iys.register()) == {people[0], people[2]}
    await harness.drain(harness.opt_out)
    assert harness.iys.movements(people[1]) == []
    answers = await harness.ledger.fetch(
        """SELECT data->>'verdict' AS verdict FROM history
        WHERE kind = 'answer' AND key LIKE %(key)s""",
        {"key": f"%{people[1]}"},
    )
    assert {row["verdict"] for row in answers} == {"not-sent", "already"}
    assert await harness.states_of(people) == ["accepted", "not_needed", "accepted"]


async def test_opt_out_settled_while_its_opt_in_waits_is_the_last(harness: SinkHarness):
    """İYS would take the opt-in, for a line that is closed may have an old date there."""
    await harness.ingest(onay())

    async def opt_out() -> None:
        await harness.submit_opt_out(ret())

    harness.pacer.meanwhile = opt_out
    assert await harness.bulk()
    await harness.drain(harness.opt_out)
    assert harness.iys.calls("batchV2") == 0
    assert await harness.columns("state", "onay_open", "may_send") == ("not_needed", False, False)
    rows = await harness.ledger.fetch("SELECT state FROM submissions")
    assert {row["state"] for row in rows} == {"settled"}


@pytest.mark.parametrize("how", ["stopped", "no right"])
async def test_brand_closed_while_a_batch_waits_sends_nothing(harness: SinkHarness, how: str):
    """Its records wait, and are sent once it is open again."""
    await harness.ingest(onay())

    async def close() -> None:
        if how == "stopped":
            await harness.brand(replace(ACTIVE, status="stopped"))
        else:
            await harness.set_rights([Channel.EPOSTA])

    harness.pacer.meanwhile = close
    assert await harness.bulk()
    assert harness.iys.calls("batchV2") == 0
    assert not await harness.bulk()
    await harness.brand()
    await harness.set_rights(list(Channel))
    assert await harness.bulk()
    assert harness.iys.calls("batchV2") == 1


@pytest.mark.parametrize(("newer", "calls"), [(ret, 1), (onay, 0)], ids=["opt-out", "opt-in"])
async def test_newer_event_while_an_opt_out_waits(
    harness: SinkHarness, newer: Callable[..., ConsentEvent], calls: int
):
    """Whichever of two opt-outs İYS gets, it is one: the first is not held up. An opt-in replaces
    it: the recipient has consented again, before İYS heard of the opt-out.
    """
    await harness.ingest_opt_out()
    event = newer(minutes=1)
    harness.pacer.meanwhile = partial(harness.ingest, event)
    assert await harness.opt_out()
    assert harness.iys.calls("addV2") == calls
    assert harness.iys.register() == {PHONE: event.status}
    assert await harness.columns("desired_status", "ret_open") == (event.status, False)


async def test_check_that_is_too_old_is_made_again(harness: SinkHarness):
    """The process is paused between the check and the beginning of its slot."""
    await harness.ingest(onay())

    async def pause() -> None:
        harness.advance(A_SECOND)
        await harness.ingest(ret())

    harness.pacer.at_slot = pause
    assert await harness.bulk()
    assert harness.iys.calls("batchV2") == 0


async def test_call_that_may_have_been_sent_is_not_rebuilt(harness: SinkHarness):
    """Its connection broke after İYS got it: İYS is asked, and shows the opt-in beside an opt-out
    that is newer.
    """
    people = await harness.ingest_for(onay, range(2))
    await harness.lose_batch("after")
    other = harness.other_worker()
    harness.pacer.meanwhile = partial(harness.ingest, ret(people[0]))
    harness.advance(timedelta(minutes=20))
    assert await other.recover()
    assert harness.iys.calls("batchV2") == 1
    rows = await harness.ledger.fetch("SELECT state FROM submissions")
    assert [row["state"] for row in rows] == ["unknown"]
    await harness.drain(harness.recover, harness.opt_out, harness.settle)
    assert harness.iys.register() == {people[0]: "RET", people[1]: "ONAY"}


@pytest.mark.parametrize("status", ["ONAY", "RET"])
async def test_call_of_a_dead_worker_is_over_before_its_opt_in_is_asked_about(
    harness: SinkHarness, status: str
):
    """Until then İYS may still process it; an opt-out is repeated at once."""
    await (harness.ingest(onay()) if status == "ONAY" else harness.ingest_opt_out())
    harness.become_process(OTHER)
    harness.pacer.at_slot = die
    with pytest.raises(Killed):
        await (harness.bulk() if status == "ONAY" else harness.opt_out())
    harness.become_process(harness.ledger.owner)
    assert await harness.recover_now() is (status == "RET")
    if status == "ONAY":
        assert not await harness.recover(timedelta(seconds=3))
        assert await harness.recover(timedelta(seconds=3))
        assert await harness.settle()
    assert harness.iys.movements()[-1] == status


@pytest.mark.parametrize("kind", ["single", "batch"])
@pytest.mark.parametrize("ends", ["answered", "lost"])
async def test_opt_in_sent_after_its_opt_out_is_read_back(
    harness: SinkHarness, kind: str, ends: str
):
    """A process was frozen before it wrote the call: İYS saves the opt-in after the opt-out."""
    await harness.ingest(given_at(harness.clock() - A_SECOND))
    if kind == "single":
        await harness.set_columns(expires_at=harness.clock() + timedelta(minutes=30))
    zombie = harness.context

    async def freeze() -> None:
        ahead = harness.clock.ahead
        harness.become_process("9")
        await harness.ingest(ret(minutes=0))
        harness.advance(timedelta(minutes=30))
        await harness.drain(harness.recover, harness.opt_out)
        # The process finds no time passed: it was frozen after it had looked.
        harness.context, harness.clock.ahead = zombie, ahead

    harness.pacer.at_slot = freeze
    if ends == "lost":
        harness.iys.inject_fault("addV2" if kind == "single" else "batchV2", drop="after")
    if kind == "single":
        assert await harness.scheduler.last_hour()
    else:
        assert await harness.bulk()
    harness.advance(timedelta(hours=1))
    assert harness.iys.register() == {PHONE: "ONAY"}
    assert (await harness.row()).action is Action.QUERY
    await harness.drain(harness.query, harness.opt_out)
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).state == "accepted"


async def test_opt_out_beside_an_opt_in_of_unknown_outcome_is_read_back_once(harness: SinkHarness):
    """İYS may process the opt-in after our timeout, and after it was asked."""
    await harness.register(onay(minutes=60))
    await harness.forget()
    await harness.ingest(onay(minutes=50))
    await harness.lose_batch("before")
    await harness.ingest(ret())
    await harness.drain(harness.recover)
    assert await harness.opt_out()
    assert await harness.columns("state", "action", "registered") == ("accepted", "query", "RET")
    assert not await harness.query()
    harness.advance(RESULT_DELAY - A_SECOND * 10)
    assert not await harness.query()
    harness.iys.citizen("ONAY", source="IYS_WEB_YENI")
    harness.advance(A_SECOND * 20)
    assert await harness.query()
    assert (await harness.row()).registered == "ONAY"


async def finish(harness: SinkHarness) -> None:
    """Take every step until nothing is due, and again when İYS has saved what it got."""
    for _ in range(3):
        await harness.drain(harness.opt_out, harness.query)
        await harness.drain(harness.recover, harness.bulk, harness.settle)


async def test_process_that_lost_its_lease_to_itself_sends_once(harness: SinkHarness):
    """A frozen process wakes: its recovery takes over what another task of it is about to send."""
    await harness.ingest(onay())
    at_slot, is_sent = asyncio.Event(), asyncio.Event()
    recovering: list[asyncio.Task[bool]] = []

    async def wait() -> None:
        at_slot.set()
        await is_sent.wait()

    async def lapse() -> None:
        harness.advance(timedelta(seconds=61))
        harness.pacer.at_slot = wait
        recovering.append(asyncio.create_task(harness.recovery.recover()))
        await at_slot.wait()

    harness.pacer.meanwhile = lapse
    assert await harness.bulk()
    is_sent.set()
    assert await recovering[0]
    assert harness.iys.calls("batchV2") == 1
    assert await harness.settle()
    assert (await harness.row()).state == "accepted"


@pytest.mark.parametrize("code", ["H123", "H124", "H521", None])
async def test_busy_iys_shows_nothing_of_the_first_call(harness: SinkHarness, code: str | None):
    """İYS has the batch whose reply was lost, and saves it after the opt-out was queried."""
    await harness.ingest(onay())
    await harness.lose_batch("after")
    if code is None:
        harness.iys.inject_fault("batchV2", drop="before")
    else:
        harness.iys.inject_fault("batchV2", status=403 if code == "H521" else 429, code=code)
    assert await harness.recover(A_SECOND * 5)
    await harness.ingest(ret())
    await finish(harness)
    assert harness.iys.register() == {PHONE: "RET"}


async def test_part_of_a_lost_batch_may_be_at_iys(harness: SinkHarness):
    """It is moved to a submission of its own, and opted out before that is sent."""
    people = await harness.ingest_for(onay, range(3))
    await harness.lose_batch("after")
    await harness.ingest(ret(people[0]))
    harness.pacer.meanwhile = partial(harness.ingest, *map(ret, people[1:]))
    assert await harness.recover(A_SECOND * 5)
    await finish(harness)
    assert harness.iys.register() == dict.fromkeys(people, "RET")


async def test_failure_of_a_late_process_settles_nothing(harness: SinkHarness):
    """Another one has taken over, and its call is lost: İYS has the batch."""
    await harness.ingest(onay())
    zombie = harness.context

    async def freeze() -> None:
        ahead = harness.clock.ahead
        harness.become_process("9")
        harness.iys.inject_fault("batchV2", drop="after")
        assert await harness.recover(timedelta(minutes=2))
        harness.context, harness.clock.ahead = zombie, ahead
        raise httpx.ConnectTimeout("the slot is over")

    harness.pacer.at_slot = freeze
    assert await harness.bulk()
    assert (await harness.row()).state == "unknown"
    await harness.ingest(ret())
    await finish(harness)
    assert harness.iys.register() == {PHONE: "RET"}


async def test_opt_out_that_a_query_settles_too_early_is_read_back(harness: SinkHarness):
    """İYS may save a single opt-in after our timeout, and after its status was queried."""
    await harness.ingest(given_at(harness.clock() - A_SECOND))
    await harness.set_columns(expires_at=harness.clock() + timedelta(minutes=30))
    harness.iys.inject_fault("addV2", drop="before")
    assert await harness.scheduler.last_hour()
    await harness.ingest(ret(minutes=0))
    assert await harness.recover(A_SECOND * 5)
    assert await harness.columns("state", "action") == ("not_needed", Action.QUERY)
    assert not await harness.query()
    harness.advance(RESULT_DELAY)
    assert await harness.query()
    assert await harness.columns("state", "action") == ("not_needed", Action.NOTHING)
