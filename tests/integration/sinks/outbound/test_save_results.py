"""A receipt of an older save says nothing of what stands now."""

from datetime import timedelta

import pytest

from tests.integration.sinks.hearing import fresh
from tests.integration.sinks.sink_harness import IYS_CODE, House, onay
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database


async def test_a_success_of_an_old_save_opens_nothing_though_the_batch_was_handed_in_twice(
    house: House,
):
    """Another writer (an earlier ledger) told this very ONAY; the citizen has said no since."""
    await house.brand_in_loading()
    event = onay(PHONE, minutes=60)
    await house.told_onay(PHONE)
    house.twin.citizen("RET", PHONE)
    # A new ledger that knows none of it: the brand is loaded anew.
    async with house.ledger.transaction() as connection:
        await connection.execute("DELETE FROM submission_items")
        await connection.execute("DELETE FROM submissions")
        await connection.execute("DELETE FROM consents")
        await connection.execute("DELETE FROM outbox")
        await connection.execute("DELETE FROM kafka_offsets")
    house.states.clear()
    house.offset = 0
    house.passes(timedelta(days=8))  # no pull shows it any more
    house.twin.order("brands", brandCode=BRAND, iysCode=IYS_CODE, name="Örnek", activatedAt=None)
    await house.ingest(event)
    house.twin.weather("batchV2", drop="before")
    assert await house.scheduler.bulk()
    assert await house.recovery().recover()
    house.results_are_due()
    assert await house.poller.settle()
    for _ in range(3):
        house.passes(timedelta(minutes=5))
        await house.querier.ask()
    entry = await house.entry()
    assert house.twin.register() == {PHONE: "RET"}
    assert (entry.registered, entry.may_send) == ("RET", False)


async def test_a_single_add_that_iys_has_saved_before_opens_nothing(house: House):
    """The receipt is years old, in a manner: the citizen has said no since."""
    event = fresh(house.clock() - timedelta(minutes=30))
    await house.ingest(event)
    soon = {"soon": house.clock() + timedelta(minutes=50)}
    await house.ledger.fetch("UPDATE consents SET expires_at = %(soon)s RETURNING key", soon)
    assert await house.scheduler.last_hour()
    assert (await house.entry()).state == "accepted"
    house.twin.citizen("RET", PHONE)
    house.passes(timedelta(minutes=20))
    async with house.ledger.transaction() as connection:
        for table in ("submission_items", "submissions", "consents", "outbox", "kafka_offsets"):
            await connection.execute(f"DELETE FROM {table}")
    house.states.clear()
    house.offset = 0
    await house.ingest(event)
    await house.ledger.fetch("UPDATE consents SET expires_at = %(soon)s RETURNING key", soon)
    assert await house.scheduler.last_hour()
    for _ in range(3):
        house.passes(timedelta(minutes=1))
        await house.querier.ask()
    entry = await house.entry()
    assert house.twin.register() == {PHONE: "RET"}
    assert entry.may_send is False


async def test_an_old_success_opens_nothing_before_it_is_read_back(house: House):
    """İYS says that it saved this before; until it is asked whether that stands, nothing opens."""
    event = onay(PHONE, minutes=60)
    await house.told_onay(PHONE)
    house.twin.citizen("RET", PHONE)
    async with house.ledger.transaction() as connection:
        for table in ("submission_items", "submissions", "consents", "outbox", "kafka_offsets"):
            await connection.execute(f"DELETE FROM {table}")
    house.states.clear()
    house.offset = 0
    await house.ingest(event)
    assert await house.scheduler.bulk()
    house.results_are_due()
    assert await house.poller.settle()
    entry = await house.entry()
    assert (entry.action, entry.reason) == ("query", "told-before")
    assert await house.permissions(PHONE) == [False]
    assert entry.may_send is False
