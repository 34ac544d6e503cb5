"""What a person says a brand has no right to write is not told to İYS, and goes on when the right
is given back.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent.model import Channel
from izin.sinks.ledger import brands, deadlines
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.db import notifications
from izin.sinks.monitor.deadlines import SUSPENDED, DeadlineMonitor
from izin.sinks.record.suspension import NO_RIGHT
from tests.integration.sinks.sink_harness import ACTIVE, House, a_phone, onay, ret, until
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database

WITHOUT_MESAJ = (Channel.ARAMA, Channel.EPOSTA)


async def rights(house: House, channels: Collection[Channel]) -> None:
    """Have a person say which types the brand may write."""
    await standing.set_rights(house.ledger, BRAND, channels, by="ada", now=house.clock())


async def is_stopped(house: House) -> bool:
    """Tell whether the brand's text messages are kept from İYS by a person's word alone."""
    (stop,) = await standing.stops(house.ledger)
    return (stop.channel, stop.code, stop.is_of_a_person) == ("MESAJ", NO_RIGHT, True)


async def nothing_leaves(house: House) -> bool:
    """Tell whether no lane tells anything."""
    told = await house.scheduler.opt_out(), await house.scheduler.bulk()
    return not any((*told, await house.scheduler.last_hour()))


async def test_neither_a_yes_nor_a_no_leaves_without_the_right(house: House):
    """İYS would refuse both, and count it: they wait, for as long as it takes, and are told once
    the right is given back. What there is a right to goes on.
    """
    await house.told_onay(PHONE)
    await rights(house, WITHOUT_MESAJ)
    await house.ingest(ret(PHONE), onay(a_phone(2)), onay(a_phone(3), type="ARAMA"))
    await house.ledger.fetch(
        "UPDATE consents SET due_at = %(soon)s WHERE channel = 'MESAJ' RETURNING key",
        {"soon": house.clock() + timedelta(hours=9)},
    )
    calls = house.twin.calls("batchV2")
    assert await house.scheduler.bulk()
    assert house.twin.calls("batchV2") == calls + 1
    assert await nothing_leaves(house)
    house.passes(timedelta(hours=1))
    assert await nothing_leaves(house)
    assert (await house.entry()).state == (await house.entry(a_phone(2))).state == "pending"
    assert house.twin.calls("addV2") == 0
    assert await is_stopped(house)
    await rights(house, tuple(Channel))
    assert await standing.stops(house.ledger) == ()
    assert await house.scheduler.opt_out()
    assert await house.scheduler.bulk()
    assert house.twin.register()[PHONE] == "RET"


async def test_a_yes_in_its_last_hour_does_not_leave_either(house: House):
    """What is told one by one before its term ends passes no stop."""
    await house.ingest(onay(PHONE))
    await house.ledger.fetch(
        "UPDATE consents SET expires_at = %(soon)s RETURNING key",
        {"soon": house.clock() + timedelta(minutes=30)},
    )
    await rights(house, WITHOUT_MESAJ)
    assert not await house.scheduler.last_hour()
    await rights(house, tuple(Channel))
    assert await house.scheduler.last_hour()


async def test_only_a_person_lifts_what_a_person_said(house: House):
    """No try, no requeue, no refusal of İYS's, no record that was under way and went through."""
    await rights(house, WITHOUT_MESAJ)
    assert await standing.try_now(house.ledger, BRAND, now=house.clock()) == 0
    for reason in (None, brands.QUOTA_SPENT):
        await brands.requeue(
            house.ledger,
            house.tools.topic_messages,
            BRAND,
            by="ada",
            now=house.clock(),
            reason=reason,
        )
        assert await is_stopped(house)
    async with house.ledger.transaction() as connection:
        await standing.stop(
            connection,
            ACTIVE,
            account="ada",
            channel="MESAJ",
            status="*",
            code="H353",
            reason="no right",
            now=house.clock(),
        )
    assert await is_stopped(house)
    async with house.ledger.transaction() as connection:
        await standing.lift(connection, BRAND, "MESAJ", "RET", account="ada")
    assert await is_stopped(house)


async def test_a_fault_that_may_be_tried_again_gives_no_try_where_there_is_no_right(house: House):
    """The account's stop is due for its try: another type is tried, and its success lifts the
    account's stop alone.
    """
    await rights(house, WITHOUT_MESAJ)
    now = house.clock()
    async with house.ledger.transaction() as connection:
        await standing.stop(
            connection,
            ACTIVE,
            account="ada",
            channel="*",
            status="*",
            code="H250",
            reason="",
            now=now,
        )
    now += timedelta(hours=1)

    async def may_try(channel: str) -> bool | None:
        async with house.ledger.transaction() as connection:
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
    async with house.ledger.transaction() as connection:
        await standing.lift(connection, BRAND, "ARAMA", "RET", account="ada")
    assert await is_stopped(house)


async def test_a_persons_word_takes_the_place_of_iyss(house: House):
    """What İYS refused is tried no more once a person says that there is no right."""
    await house.told_onay(PHONE)
    house.twin.weather("addV2", status=403, code="H353")
    await house.ingest(ret(PHONE))
    assert await house.scheduler.opt_out()
    await rights(house, WITHOUT_MESAJ)
    house.passes(timedelta(hours=1))
    assert await nothing_leaves(house)
    assert await is_stopped(house)


async def test_opt_outs_without_the_right_ring_and_can_be_written_down(house: House):
    """A person withdraws them on İYS's own pages meanwhile."""
    await house.told_onay(PHONE)
    await rights(house, WITHOUT_MESAJ)
    await house.ingest(ret(PHONE), onay(a_phone(2)))
    watch = DeadlineMonitor(ledger=house.ledger, clock=house.clock, interval=timedelta(minutes=1))
    (alarm,) = await watch.look()
    assert (alarm.stage, alarm.status, alarm.channel, alarm.keys) == (SUSPENDED, "RET", "MESAJ", 1)
    (one,) = await deadlines.open_opt_outs(house.ledger, BRAND)
    assert one.recipient == PHONE


async def test_a_lost_opt_out_is_only_asked_about_without_the_right(house: House):
    """It never arrived: it is not told again, waits with the others, and rings with them."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", drop="before")
    assert await house.scheduler.opt_out()
    calls = house.twin.calls("addV2")
    await rights(house, WITHOUT_MESAJ)
    assert await house.recovery().recover()
    assert house.twin.calls("addV2") == calls
    entry = await house.entry()
    assert (entry.state, entry.action) == ("retryable", "send")
    assert [one.keys for one in await deadlines.suspended_opt_outs(house.ledger)] == [1]
    await rights(house, tuple(Channel))
    assert await house.scheduler.opt_out()
    assert house.twin.register() == {PHONE: "RET"}


async def test_a_lost_opt_out_of_a_stopped_brand_is_only_asked_about(house: House):
    """Nothing of a brand that a person has stopped is told, what was under way neither."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", drop="before")
    assert await house.scheduler.opt_out()
    calls = house.twin.calls("addV2")
    await house.brand(replace(ACTIVE, status="stopped"))
    assert await house.recovery().recover()
    assert house.twin.calls("addV2") == calls
    assert (await house.entry()).state == "retryable"
    assert [one.keys for one in await deadlines.suspended_opt_outs(house.ledger)] == [1]
    await house.brand()
    assert await house.scheduler.opt_out()
    assert house.twin.register() == {PHONE: "RET"}


async def test_a_lost_batch_is_not_handed_in_again_without_the_right(house: House):
    """What of it arrived is read, once İYS can show it."""
    await house.ingest(onay(PHONE), onay(a_phone(2)))
    house.twin.weather("batchV2", drop="after")
    assert await house.scheduler.bulk()
    calls = house.twin.calls("batchV2")
    await rights(house, WITHOUT_MESAJ)
    assert await house.recovery().recover()
    assert house.twin.calls("batchV2") == calls
    assert (await house.entry()).state == (await house.entry(a_phone(2))).state == "accepted"


async def test_a_right_that_is_given_back_wakes_the_lanes(house: House):
    """Nobody waits for the next look."""
    heard = notifications.Notifications()
    listening = asyncio.create_task(heard.listen(house.ledger))
    lanes = (notifications.OPT_OUTS, notifications.BULK)
    await until(lambda: all(heard.heard(lane) for lane in lanes))
    before = [heard.heard(lane) for lane in lanes]
    await rights(house, tuple(Channel))
    await until(lambda: [heard.heard(lane) for lane in lanes] == [one + 1 for one in before])
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
