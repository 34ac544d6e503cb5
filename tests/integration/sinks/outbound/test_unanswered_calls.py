"""A call that İYS did not process shows nothing of what an earlier call of its submission did."""

import asyncio
from datetime import timedelta
from functools import partial

import httpx
import pytest

from izin.consent.next_action import Action
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    RESULT_DELAY,
    SinkHarness,
    given_at,
    onay,
    ret,
)
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def finish(harness: SinkHarness) -> None:
    """Take every step until nothing is due, and again when İYS has saved what it got."""
    for _ in range(3):
        while await harness.opt_out() or await harness.query():
            pass
        while await harness.recover() or await harness.bulk() or await harness.settle():
            pass


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
    assert harness.iys.calls("batchV2") == 0
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
    assert harness.iys.calls("batchV2") == 2
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
