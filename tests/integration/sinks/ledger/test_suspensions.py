"""What a person says a brand has no right to write is not told to İYS, and goes on when the right
is given back.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent.model import Channel
from izin.sinks.ledger import brands, deadlines
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.db import notifications
from izin.sinks.monitor.deadlines import SUSPENDED
from izin.sinks.record.suspension import NO_RIGHT
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness, a_phone, onay, ret, until
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database

WITHOUT_MESAJ = (Channel.ARAMA, Channel.EPOSTA)


async def is_stopped(harness: SinkHarness) -> bool:
    """Tell whether the brand's text messages are kept from İYS by a person's word alone."""
    (stop,) = await harness.suspensions()
    return (stop.channel, stop.code, stop.is_of_a_person) == ("MESAJ", NO_RIGHT, True)


async def nothing_leaves(harness: SinkHarness) -> bool:
    """Tell whether no lane tells anything."""
    told = await harness.opt_out(), await harness.bulk()
    return not any((*told, await harness.scheduler.last_hour()))


async def test_neither_a_yes_nor_a_no_leaves_without_the_right(harness: SinkHarness):
    """İYS would refuse both, and count it: they wait, for as long as it takes, and are told once
    the right is given back. What there is a right to goes on.
    """
    await harness.register_onay()
    await harness.set_rights(WITHOUT_MESAJ)
    await harness.ingest(ret(), onay(a_phone(2)), onay(a_phone(3), type="ARAMA"))
    await harness.ledger.fetch(
        "UPDATE consents SET due_at = %(soon)s WHERE channel = 'MESAJ' RETURNING key",
        {"soon": harness.clock() + timedelta(hours=9)},
    )
    calls = harness.iys.calls("batchV2")
    assert await harness.bulk()
    assert harness.iys.calls("batchV2") == calls + 1
    assert await nothing_leaves(harness)
    harness.advance(timedelta(hours=1))
    assert await nothing_leaves(harness)
    assert (await harness.row()).state == (await harness.row(a_phone(2))).state == "pending"
    assert harness.iys.calls("addV2") == 0
    assert await is_stopped(harness)
    await harness.set_rights(tuple(Channel))
    assert await harness.suspensions() == ()
    assert await harness.opt_out()
    assert await harness.bulk()
    assert harness.iys.register()[PHONE] == "RET"


async def test_a_yes_in_its_last_hour_does_not_leave_either(harness: SinkHarness):
    """What is told one by one before its term ends passes no stop."""
    await harness.ingest(onay())
    await harness.set_columns(expires_at=harness.clock() + timedelta(minutes=30))
    await harness.set_rights(WITHOUT_MESAJ)
    assert not await harness.scheduler.last_hour()
    await harness.set_rights(tuple(Channel))
    assert await harness.scheduler.last_hour()


async def test_only_a_person_lifts_what_a_person_said(harness: SinkHarness):
    """No try, no requeue, no refusal of İYS's, no record that was under way and went through."""
    await harness.set_rights(WITHOUT_MESAJ)
    assert await standing.try_now(harness.ledger, BRAND, now=harness.clock()) == 0
    for reason in (None, brands.QUOTA_SPENT):
        await harness.requeue(reason)
        assert await is_stopped(harness)
    await harness.suspend("H353", channel="MESAJ")
    assert await is_stopped(harness)
    await harness.resume("MESAJ", "RET")
    assert await is_stopped(harness)


async def test_a_fault_that_may_be_tried_again_gives_no_try_where_there_is_no_right(
    harness: SinkHarness,
):
    """The account's stop is due for its try: another type is tried, and its success lifts the
    account's stop alone.
    """
    await harness.set_rights(WITHOUT_MESAJ)
    now = harness.clock()
    await harness.suspend("H250")
    now += timedelta(hours=1)

    async def may_try(channel: str) -> bool | None:
        async with harness.ledger.transaction() as connection:
            return await standing.may_try(
                connection,
                BRAND,
                channel,
                "RET",
                account="ada",
                now=now,
                recheck_at=now + timedelta(minutes=1),
            )

    assert await may_try("MESAJ") is False
    assert await may_try("ARAMA") is None
    assert await may_try("ARAMA") is False
    await harness.resume("ARAMA", "RET")
    assert await is_stopped(harness)


async def test_a_persons_word_takes_the_place_of_iyss(harness: SinkHarness):
    """What İYS refused is tried no more once a person says that there is no right."""
    await harness.refuse_opt_out(403, "H353")
    await harness.set_rights(WITHOUT_MESAJ)
    harness.advance(timedelta(hours=1))
    assert await nothing_leaves(harness)
    assert await is_stopped(harness)


async def test_opt_outs_without_the_right_ring_and_can_be_written_down(harness: SinkHarness):
    """A person withdraws them on İYS's own pages meanwhile."""
    await harness.register_onay()
    await harness.set_rights(WITHOUT_MESAJ)
    await harness.ingest(ret(), onay(a_phone(2)))
    (alarm,) = await harness.monitor.look()
    assert (alarm.stage, alarm.status, alarm.channel, alarm.keys) == (SUSPENDED, "RET", "MESAJ", 1)
    (one,) = await deadlines.open_opt_outs(harness.ledger, BRAND)
    assert one.recipient == PHONE


@pytest.mark.parametrize("by", ["rights", "brand"])
async def test_lost_opt_out_of_suspended_brand_is_only_queried(harness: SinkHarness, by: str):
    """Without the right, or with the brand stopped by a person, it is not submitted again."""
    await harness.lose_opt_out()
    calls = harness.iys.calls("addV2")
    if by == "rights":
        await harness.set_rights(WITHOUT_MESAJ)
    else:
        await harness.brand(replace(ACTIVE, status="stopped"))
    assert await harness.recover()
    assert harness.iys.calls("addV2") == calls
    assert await harness.columns("state", "action") == ("retryable", "send")
    assert [one.keys for one in await deadlines.suspended_opt_outs(harness.ledger)] == [1]
    await harness.set_rights(tuple(Channel))
    await harness.brand()
    assert await harness.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}


async def test_a_lost_batch_is_not_handed_in_again_without_the_right(harness: SinkHarness):
    """What of it arrived is read, once İYS can show it."""
    await harness.ingest(onay(), onay(a_phone(2)))
    await harness.lose_batch("after")
    calls = harness.iys.calls("batchV2")
    await harness.set_rights(WITHOUT_MESAJ)
    assert await harness.recover()
    assert harness.iys.calls("batchV2") == calls
    assert (await harness.row()).state == (await harness.row(a_phone(2))).state == "accepted"


async def test_a_right_that_is_given_back_wakes_the_lanes(harness: SinkHarness):
    """Nobody waits for the next look."""
    heard = notifications.Notifications()
    listening = asyncio.create_task(heard.listen(harness.ledger))
    lanes = (notifications.OPT_OUTS, notifications.BULK)
    await until(lambda: all(heard.heard(lane) for lane in lanes))
    before = [heard.heard(lane) for lane in lanes]
    await harness.set_rights(tuple(Channel))
    await until(lambda: [heard.heard(lane) for lane in lanes] == [one + 1 for one in before])
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
