"""Channels that a person says a brand may not write are suspended until the right returns."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent.model import Channel
from izin.sinks.ledger import brands, reads
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.db import notifications
from izin.sinks.monitor.alerts import SuspendedAlert
from izin.sinks.record.suspension import NO_RIGHT
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness, a_phone, onay, ret, until
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database

WITHOUT_MESAJ = (Channel.ARAMA, Channel.EPOSTA)


async def is_suspended_by_person(harness: SinkHarness) -> bool:
    """Return whether the only suspension is that of text messages, by a person."""
    (found,) = await harness.suspensions()
    return (found.channel, found.code, found.is_by_operator) == ("MESAJ", NO_RIGHT, True)


async def nothing_is_submitted(harness: SinkHarness) -> bool:
    """Return whether no lane submits anything."""
    submitted = await harness.opt_out(), await harness.bulk()
    return not any((*submitted, await harness.scheduler.last_hour()))


async def test_records_without_the_right_wait_until_it_returns(harness: SinkHarness):
    """İYS would refuse and count them; other channels go on."""
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
    assert await nothing_is_submitted(harness)
    harness.advance(timedelta(hours=1))
    assert await nothing_is_submitted(harness)
    assert (await harness.row()).state == (await harness.row(a_phone(2))).state == "pending"
    assert harness.iys.calls("addV2") == 0
    assert await is_suspended_by_person(harness)
    await harness.set_rights(tuple(Channel))
    assert await harness.suspensions() == ()
    assert await harness.opt_out()
    assert await harness.bulk()
    assert harness.iys.register()[PHONE] == "RET"


async def test_last_hour_opt_in_without_the_right_waits(harness: SinkHarness):
    """Single adds before the end of a term obey suspensions."""
    await harness.ingest(onay())
    await harness.set_columns(expires_at=harness.clock() + timedelta(minutes=30))
    await harness.set_rights(WITHOUT_MESAJ)
    assert not await harness.scheduler.last_hour()
    await harness.set_rights(tuple(Channel))
    assert await harness.scheduler.last_hour()


async def test_suspension_by_a_person_is_ended_by_a_person_only(harness: SinkHarness):
    """No retry, requeue, refusal of İYS or success of an earlier record ends it."""
    await harness.set_rights(WITHOUT_MESAJ)
    assert await standing.recheck_now(harness.ledger, BRAND, by="ada", now=harness.clock()) == 0
    for reason in ("reconsent", brands.QUOTA_SPENT):
        await harness.requeue(reason)
        assert await is_suspended_by_person(harness)
    await harness.suspend("H353", channel="MESAJ")
    assert await is_suspended_by_person(harness)
    await harness.resume("MESAJ", "RET")
    assert await is_suspended_by_person(harness)


async def test_retry_of_the_account_leaves_out_channels_without_right(
    harness: SinkHarness,
):
    """Another channel is tried, and its success ends the suspension of the account alone."""
    await harness.set_rights(WITHOUT_MESAJ)
    now = harness.clock()
    await harness.suspend("H250")
    now += timedelta(hours=1)

    async def may_try(channel: str) -> bool | None:
        async with harness.ledger.transaction() as connection:
            return await standing.may_submit(
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
    assert await is_suspended_by_person(harness)


async def test_suspension_by_a_person_replaces_that_of_iys(harness: SinkHarness):
    """What İYS refused is not tried again."""
    await harness.refuse_opt_out(403, "H353")
    await harness.set_rights(WITHOUT_MESAJ)
    harness.advance(timedelta(hours=1))
    assert await nothing_is_submitted(harness)
    assert await is_suspended_by_person(harness)


async def test_opt_outs_without_the_right_alert_and_are_listed(harness: SinkHarness):
    """A person withdraws them on İYS's own pages meanwhile."""
    await harness.register_onay()
    await harness.set_rights(WITHOUT_MESAJ)
    await harness.ingest(ret(), onay(a_phone(2)))
    (alert,) = await harness.monitor.check()
    assert alert == SuspendedAlert(brand_code=BRAND, channel="MESAJ")
    assert alert.records == 1
    (one,) = await reads.open_opt_outs(harness.ledger, BRAND)
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
    assert [one.keys for one in await reads.suspended_opt_outs(harness.ledger)] == [1]
    await harness.set_rights(tuple(Channel))
    await harness.brand()
    assert await harness.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}


async def test_lost_batch_without_the_right_is_only_queried(harness: SinkHarness):
    """Its status is queried once İYS can show it."""
    await harness.ingest(onay(), onay(a_phone(2)))
    await harness.lose_batch("after")
    calls = harness.iys.calls("batchV2")
    await harness.set_rights(WITHOUT_MESAJ)
    assert await harness.recover()
    assert harness.iys.calls("batchV2") == calls
    assert (await harness.row()).state == (await harness.row(a_phone(2))).state == "accepted"


async def test_lost_opt_ins_with_opt_outs_behind_them_are_queried_first(harness: SinkHarness):
    """In one call; the others one by one, for their receipts."""
    people = await harness.ingest_for(onay, range(4))
    await harness.lose_batch("after")
    await harness.set_rights(WITHOUT_MESAJ)
    await harness.ingest_for(ret, (1, 3))
    assert await harness.recover()
    assert [harness.iys.calls(call) for call in ("statuses", "status")] == [1, 2]
    states = await harness.states_of(people)
    assert states == ["accepted", "pending", "accepted", "pending"]


async def test_returned_right_wakes_both_lanes(harness: SinkHarness):
    """They do not wait for the interval."""
    wakes = notifications.Notifications()
    listening = asyncio.create_task(wakes.listen(harness.ledger))
    lanes = (notifications.OPT_OUTS, notifications.BULK)
    await until(lambda: all(wakes.count(lane) for lane in lanes))
    before = [wakes.count(lane) for lane in lanes]
    await harness.set_rights(tuple(Channel))
    await until(lambda: [wakes.count(lane) for lane in lanes] == [one + 1 for one in before])
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
