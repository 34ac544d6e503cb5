"""Channels that a person says a brand may not write are suspended until the right returns.

A person suspends a brand or a customer: its calls to İYS, what the gate permits, or both.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent import Channel
from izin.ledger import brands, reads, suspensions as ledger_suspensions
from izin.ledger.db import notifications
from izin.ledger.record import NO_RIGHT, ORDERED, UnknownCustomerError, UnregisteredBrandError
from izin.ledger.registry import suspension_orders
from izin.ledger.registry.suspension_orders import Part, Target
from izin.runtime.process import cancel_all
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness, a_phone, onay, ret, until
from tests.support.builders import BRAND, CUSTOMER, PHONE

pytestmark = pytest.mark.database
WITHOUT_MESAJ = (Channel.ARAMA, Channel.EPOSTA)
OURS, CUSTOMERS = Target(BRAND), Target(None, CUSTOMER)
LATER = 100_009


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
    """It replaces that of İYS, whose refused record is not tried again. No retry, requeue, refusal
    of İYS or success of an earlier record ends it.
    """
    await harness.refuse_opt_out(403, "H353")
    await harness.set_rights(WITHOUT_MESAJ)
    harness.advance(timedelta(hours=1))
    assert await nothing_is_submitted(harness)
    assert (
        await ledger_suspensions.recheck_now(harness.ledger, BRAND, by="ada", now=harness.clock())
        == 0
    )
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
            return await ledger_suspensions.may_submit(
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


async def test_opt_outs_without_the_right_alert_and_are_listed(harness: SinkHarness):
    """A person withdraws them on İYS's own pages meanwhile."""
    await harness.register_onay()
    await harness.set_rights(WITHOUT_MESAJ)
    await harness.ingest(ret(), onay(a_phone(2)))
    (alert,) = await harness.monitor.check()
    assert (alert.event, alert.records) == ("opt-outs suspended", 1)
    about = dict(alert.fields)
    assert (about["brand"], about["channel"]) == (BRAND, "MESAJ")
    (one,) = await reads.open_opt_outs(harness.ledger, BRAND)
    assert one.recipient == PHONE


@pytest.mark.parametrize(
    ("suspend", "how"),
    [
        (SinkHarness.set_rights, WITHOUT_MESAJ),
        (SinkHarness.brand, replace(ACTIVE, status="stopped")),
    ],
    ids=["rights", "brand"],
)
async def test_lost_opt_out_of_suspended_brand_is_only_queried(
    harness: SinkHarness, suspend: Callable[..., Awaitable[object]], how: object
):
    """Without the right, or with the brand stopped by a person, it is not submitted again."""
    await harness.lose_opt_out()
    await suspend(harness, how)
    assert await harness.recover()
    assert harness.iys.calls("addV2") == 1
    assert await harness.columns("state", "action") == ("retryable", "send")
    assert [one.keys for one in await reads.suspended_opt_outs(harness.ledger)] == [1]
    await harness.set_rights(tuple(Channel))
    await harness.brand()
    assert await harness.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}


async def test_lost_opt_ins_with_opt_outs_behind_them_are_queried_first(harness: SinkHarness):
    """In one call; the others one by one, for their receipts. Without the right, the batch is not
    submitted again.
    """
    people = await harness.lose_batch_of(4, drop="after")
    await harness.set_rights(WITHOUT_MESAJ)
    await harness.ingest_for(ret, (1, 3))
    assert await harness.recover()
    assert [harness.iys.calls(call) for call in ("batchV2", "statuses", "status")] == [1, 1, 2]
    assert await harness.states_of(people) == ["accepted", "pending", "accepted", "pending"]


async def test_returned_right_wakes_both_lanes(harness: SinkHarness):
    """They do not wait for the interval."""
    wakes = notifications.Notifications()
    listening = asyncio.create_task(wakes.listen(harness.ledger))
    lanes = (notifications.OPT_OUTS, notifications.BULK)
    await until(lambda: all(wakes.count(lane) for lane in lanes))
    before = [wakes.count(lane) for lane in lanes]
    await harness.set_rights(tuple(Channel))
    await until(lambda: [wakes.count(lane) for lane in lanes] == [one + 1 for one in before])
    await cancel_all([listening])


async def suspend(
    harness: SinkHarness, target: Target, *parts: Part, reason: str = "complaint"
) -> int:
    """Suspend parts of a target; both, where none is named."""
    return await suspension_orders.suspend(
        harness.ledger,
        harness.context.topic_messages,
        target,
        parts or tuple(Part),
        reason=reason,
        by="ada",
        now=harness.clock(),
    )


async def resume(harness: SinkHarness, target: Target, *parts: Part) -> int:
    """Resume parts of a target; both, where none is named."""
    return await suspension_orders.resume(
        harness.ledger,
        harness.context.topic_messages,
        target,
        parts or tuple(Part),
        by="ada",
        now=harness.clock(),
    )


async def gates(harness: SinkHarness, brand_code: int = BRAND) -> list[str | None]:
    """Return the suspensions that were published with a brand, in order."""
    found = await harness.outbox("%brands", "Brand")
    return [one["suspension"] for one in found if one["brand_code"] == brand_code]


async def stopped_calls(harness: SinkHarness) -> dict[int, str]:
    """Return why the calls of brands are suspended by an order, by brand."""
    return {
        one.brand_code: one.reason for one in await harness.suspensions() if one.code == ORDERED
    }


async def test_suspended_calls_wait_until_the_brand_is_resumed(harness: SinkHarness):
    """Opt-outs, opt-ins and status queries; the gate is as it was, and so are the rights."""
    await harness.register_onay()
    await harness.ingest(ret(), onay(a_phone(2)))
    assert await suspend(harness, OURS, Part.IYS) == 1
    await harness.set_columns(action="query")
    assert not await harness.query()
    await harness.set_columns(action="send")
    assert not await harness.opt_out()
    assert not await harness.bulk()
    assert await stopped_calls(harness) == {BRAND: "complaint"}
    assert await gates(harness) == [None]
    assert await harness.columns("state") == ("pending",)
    assert await resume(harness, OURS, Part.IYS) == 1
    assert await stopped_calls(harness) == {}
    assert await harness.opt_out()
    assert await harness.bulk()


async def test_order_outlasts_what_iys_does_and_ends_by_a_person(harness: SinkHarness):
    """It replaces a suspension that İYS caused; neither a retry nor a result ends it."""
    await harness.suspend("H437", scope="provider")
    await suspend(harness, OURS, Part.IYS)
    await harness.suspend("H437", scope="provider")
    await harness.resume("MESAJ", "ONAY")
    await harness.requeue("quota-spent")
    assert await stopped_calls(harness) == {BRAND: "complaint"}
    await resume(harness, OURS, Part.IYS)
    assert await harness.suspensions() == ()


async def test_closed_gate_is_published_with_the_brand(harness: SinkHarness):
    """With the latest reason; a change of the brand leaves it, and calls go on."""
    await suspend(harness, OURS, Part.GATE)
    await suspend(harness, OURS, Part.GATE, reason="court")
    await harness.brand()
    assert await gates(harness) == [None, "complaint", "court", "court"]
    await harness.submit_bulk(onay())
    await resume(harness, OURS)
    assert (await gates(harness))[-1] is None
    assert await suspension_orders.every(harness.ledger) == ()


async def test_suspended_customer_covers_brands_added_later(harness: SinkHarness):
    """An order of the brand itself comes first, and each is ended for itself."""
    await suspend(harness, CUSTOMERS)
    await harness.brand(replace(ACTIVE, brand_code=LATER))
    assert await gates(harness, LATER) == ["complaint"]
    assert await stopped_calls(harness) == {BRAND: "complaint", LATER: "complaint"}
    await suspend(harness, Target(LATER), Part.GATE, reason="own")
    assert await resume(harness, CUSTOMERS) == 2
    assert await gates(harness, LATER) == ["complaint", "own"]
    assert (await gates(harness))[-1] is None
    assert await stopped_calls(harness) == {}
    await suspend(harness, CUSTOMERS, Part.GATE)
    await resume(harness, Target(LATER))
    assert (await gates(harness, LATER))[-1] == "complaint"


async def test_brand_added_while_its_customer_is_suspended_is_covered(harness: SinkHarness):
    """Whichever of the two transactions is first: the other waits for it, and sees it."""
    for code in range(LATER, LATER + 4):
        added = replace(ACTIVE, brand_code=code)
        await asyncio.gather(harness.brand(added), suspend(harness, CUSTOMERS))
        assert (await gates(harness, code))[-1] == "complaint"
        assert code in await stopped_calls(harness)
        await resume(harness, CUSTOMERS)


async def test_brand_that_moves_follows_the_orders_of_its_customer(harness: SinkHarness):
    """An order on a customer is none on a brand that is another's now."""
    await suspend(harness, CUSTOMERS)
    await harness.brand(replace(ACTIVE, customer_id="beta"))
    assert (await gates(harness))[-1] is None
    assert await stopped_calls(harness) == {}
    await harness.brand()
    assert (await gates(harness))[-1] == "complaint"
    assert await stopped_calls(harness) == {BRAND: "complaint"}


async def test_orders_are_acts_of_the_history(harness: SinkHarness):
    """With who and when, and what it was before; of a customer too."""
    await harness.ingest(onay())
    await suspend(harness, OURS, Part.GATE)
    await suspend(harness, CUSTOMERS, Part.IYS)
    await resume(harness, OURS, Part.GATE)
    facts = (await reads.history(harness.ledger, PHONE)).facts
    acts = [one.data for one in facts if one.kind == "act"][-3:]
    assert [(one["act"], one["by"]) for one in acts] == [
        ("suspend brand", "ada"),
        ("suspend customer", "ada"),
        ("resume brand", "ada"),
    ]
    assert acts[0]["after"] == acts[2]["before"] == {"gate": "complaint"}
    (order,) = await suspension_orders.every(harness.ledger)
    assert (order.customer_id, order.part, order.ordered_by) == (CUSTOMER, "iys", "ada")


async def test_order_on_what_is_not_registered_is_refused(harness: SinkHarness):
    """Neither a brand nor a customer; nothing is stored."""
    with pytest.raises(UnregisteredBrandError):
        await suspend(harness, Target(999))
    with pytest.raises(UnknownCustomerError):
        await suspend(harness, Target(None, "nobody"))
    assert await suspension_orders.every(harness.ledger) == ()
