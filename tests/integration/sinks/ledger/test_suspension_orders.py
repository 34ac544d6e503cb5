"""A person suspends a brand or a customer: its calls to İYS, what the gate permits, or both."""

import asyncio
from dataclasses import replace

import pytest

from izin.sinks.ledger import reads
from izin.sinks.ledger.registry import suspension_orders
from izin.sinks.ledger.registry.suspension_orders import Part, Target
from izin.sinks.record.errors import UnknownCustomerError, UnregisteredBrandError
from izin.sinks.record.suspension import ORDERED
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness, a_phone, onay, ret
from tests.support.builders import BRAND, CUSTOMER, PHONE

pytestmark = pytest.mark.database

OURS, CUSTOMERS = Target(BRAND), Target(None, CUSTOMER)
LATER = 100_009
ACTIVE_LATER = replace(ACTIVE, brand_code=LATER)


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
    await harness.ingest(onay())
    assert await harness.bulk()
    await resume(harness, OURS)
    assert (await gates(harness))[-1] is None
    assert await suspension_orders.every(harness.ledger) == ()


async def test_suspended_customer_covers_brands_added_later(harness: SinkHarness):
    """An order of the brand itself comes first, and each is ended for itself."""
    await suspend(harness, CUSTOMERS)
    await harness.brand(ACTIVE_LATER)
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
    assert acts[0]["after"] == {"gate": "complaint"}
    assert acts[2]["before"] == {"gate": "complaint"}
    (order,) = await suspension_orders.every(harness.ledger)
    assert (order.customer_id, order.part, order.ordered_by) == (CUSTOMER, "iys", "ada")


async def test_order_on_what_is_not_registered_is_refused(harness: SinkHarness):
    """Neither a brand nor a customer; nothing is stored."""
    with pytest.raises(UnregisteredBrandError):
        await suspend(harness, Target(999))
    with pytest.raises(UnknownCustomerError):
        await suspend(harness, Target(None, "nobody"))
    assert await suspension_orders.every(harness.ledger) == ()
