"""A row belongs to its brand's customer, whatever customer the events of a topic name."""

from dataclasses import replace
from unittest.mock import AsyncMock

import pytest
from structlog.typing import EventDict

from izin.consent import ConsentEvent
from izin.ledger.record import ruling
from izin.ledger.registry import ownership
from izin.runtime.settings import KafkaSettings
from tests.integration.sinks.ingest.test_bootstrap import alerts, ingesting, is_restored, lose
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    Killed,
    SinkHarness,
    a_phone,
    onay,
    ret,
    until,
)
from tests.support.builders import BRAND, CUSTOMER, PHONE

pytestmark = pytest.mark.database

MOVED = replace(ACTIVE, customer_id="beta")
STATE = ("customer_id", "state", "reason", "may_send")
ALERT = "opt-ins of another customer"


def of_beta(event: ConsentEvent) -> ConsentEvent:
    """Return ``event`` as if it named another customer than its brand's."""
    return replace(event, customer_id="beta")


async def test_opt_in_of_another_customer_is_parked_with_an_alert(
    harness: SinkHarness, logged: list[EventDict]
):
    """It is not sent until a person vouches for it; its neighbours are."""
    others = await harness.ingest_for(onay, range(2, 5))
    await harness.ingest(*(of_beta(onay(a_phone(number))) for number in (5, 6)), onay(PHONE))
    for recipient in (a_phone(5), a_phone(6)):
        shown = await harness.columns(*STATE, recipient=recipient)
        assert shown == (CUSTOMER, "parked", ruling.OTHER_CUSTOMER, False)
    (alert,) = alerts(logged, ALERT)
    assert (alert["brand"], alert["named"], alert["records"]) == (BRAND, "beta", 2)
    await harness.settle_bulk()
    assert set(harness.iys.register()) == {*others, PHONE}
    assert await harness.requeue(ruling.OTHER_CUSTOMER) == 2
    await harness.settle_bulk()
    assert len(harness.iys.register()) == 6


async def test_opt_out_of_another_customer_takes_effect(
    harness: SinkHarness, logged: list[EventDict]
):
    """Of a consent that İYS has, and of a key that is new: it is the brand's customer's row."""
    await harness.register_onay()
    await harness.ingest(of_beta(ret(PHONE)), of_beta(ret(a_phone(2))))
    for recipient in (PHONE, a_phone(2)):
        customer, may_send = await harness.columns("customer_id", "may_send", recipient=recipient)
        assert (customer, may_send) == (CUSTOMER, False)
    # Retention and legal holds go by it.
    assert await harness.ledger.fetch(
        "SELECT DISTINCT customer_id FROM history WHERE kind = 'decision'"
    ) == [{"customer_id": CUSTOMER}]
    await harness.drain(harness.opt_out)
    assert harness.iys.register() == {PHONE: "RET"}
    assert alerts(logged, ALERT) == []


async def test_opt_in_of_another_customer_undoes_no_opt_out(
    harness: SinkHarness, logged: list[EventDict]
):
    """An opt-out that is still due to İYS stays due, and is registered there."""
    await harness.ingest_opt_out()
    await harness.ingest(of_beta(onay(PHONE, minutes=1)))
    assert (await harness.row()).desired_status == "RET"
    assert len(alerts(logged, ALERT)) == 1
    assert await harness.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}
    await harness.ingest(onay(PHONE, minutes=0))
    assert (await harness.row()).desired_status == "ONAY"


async def test_opt_in_of_another_customer_after_a_settled_opt_out_is_parked(harness: SinkHarness):
    """What İYS has of the recipient is the opt-out, so nothing is permitted meanwhile."""
    await harness.ingest_opt_out()
    assert await harness.opt_out()
    await harness.ingest(of_beta(onay(PHONE, minutes=1)))
    assert await harness.columns(*STATE) == (CUSTOMER, "parked", ruling.OTHER_CUSTOMER, False)
    await harness.ingest(onay(PHONE, minutes=0))
    assert (await harness.row()).state == "pending"


async def test_repeated_opt_in_of_another_customer_is_one_alert(
    harness: SinkHarness, logged: list[EventDict]
):
    """The event is known already, and what a person decided about it stays."""
    event = of_beta(onay(PHONE))
    await harness.ingest(event)
    await harness.requeue(ruling.OTHER_CUSTOMER)
    await harness.ingest_again(event)
    assert (await harness.row()).state == "pending"
    assert len(alerts(logged, ALERT)) == 1


async def test_records_of_a_brand_that_moves_are_its_new_customers(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
):
    """Settled, waiting and parked ones, its suspensions too; what was consented to stays so."""
    monkeypatch.setattr(ownership, "_PAGE", 2)
    await harness.register_onay()
    await harness.ingest(onay(a_phone(2)), of_beta(onay(a_phone(3))), ret(a_phone(4)))
    await harness.suspend("H077", "ARAMA")
    await harness.brand(MOVED)
    states = [
        await harness.columns("customer_id", "state", recipient=recipient)
        for recipient in (PHONE, a_phone(2), a_phone(3), a_phone(4))
    ]
    assert states == [
        ("beta", "accepted"),
        ("beta", "pending"),
        ("beta", "parked"),
        ("beta", "pending"),
    ]
    assert await harness.columns("may_send") == (True,)
    suspended = await harness.ledger.fetch("SELECT customer_id FROM suspensions")
    assert suspended == [{"customer_id": "beta"}]
    (known,) = alerts(logged, ALERT)  # of before it moved
    await harness.ingest(onay(a_phone(5)), of_beta(onay(a_phone(6))), ret(PHONE))
    assert alerts(logged, ALERT)[1:] == [known | {"named": CUSTOMER}]
    assert await harness.columns(*STATE, recipient=a_phone(5)) == (
        "beta",
        "parked",
        ruling.OTHER_CUSTOMER,
        False,
    )
    assert (await harness.row(a_phone(6))).state == "pending"
    assert await harness.columns("customer_id", "desired_status", "may_send") == (
        "beta",
        "RET",
        False,
    )


async def test_move_that_failed_is_completed_by_the_same_order(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """The brand has moved and its settled records have not: the command again moves them."""
    await harness.register_onay()
    with monkeypatch.context() as patched:
        patched.setattr(ownership, "adopt", AsyncMock(side_effect=Killed))
        with pytest.raises(Killed):
            await harness.brand(MOVED)
    await harness.brand(MOVED)
    assert await harness.columns("customer_id") == ("beta",)


async def test_brand_that_becomes_known_parks_what_others_named(
    harness: SinkHarness, logged: list[EventDict]
):
    """Its records waited for it; an opt-in of another customer still waits, an opt-out does not."""
    unknown = 999_999
    await harness.ingest(
        replace(onay(a_phone(2)), brand_code=unknown),
        of_beta(replace(onay(a_phone(3)), brand_code=unknown)),
        of_beta(replace(ret(a_phone(4)), brand_code=unknown)),
    )
    await harness.brand(replace(ACTIVE, brand_code=unknown))
    rows = await harness.ledger.fetch(
        "SELECT customer_id, state, reason FROM consents ORDER BY recipient"
    )
    assert [(row["customer_id"], row["state"]) for row in rows] == [
        (CUSTOMER, "pending"),
        (CUSTOMER, "parked"),
        (CUSTOMER, rows[2]["state"]),
    ]
    assert rows[1]["reason"] == ruling.OTHER_CUSTOMER
    assert rows[2]["state"] != "parked"
    (alert,) = alerts(logged, ALERT)
    assert (alert["brand"], alert["records"]) == (unknown, 1)


@pytest.mark.broker
async def test_restored_opt_in_of_another_customer_is_parked(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """A ledger that is restored from the state judges, and counts its opt-ins, as one that read the
    decisions.
    """
    count = {"code": BRAND}
    await harness.ledger.fetch("INSERT INTO opt_in_counts VALUES (%(code)s, 0) RETURNING 1", count)
    await lose(
        harness, kafka_settings, of_beta(onay(PHONE)), of_beta(ret(a_phone(2))), onay(a_phone(3))
    )
    async with ingesting(harness, kafka_settings):
        await until(lambda: is_restored(harness))
    assert await harness.columns(*STATE) == (CUSTOMER, "parked", ruling.OTHER_CUSTOMER, False)
    for number, status in ((2, "RET"), (3, "ONAY")):
        shown = await harness.columns("customer_id", "desired_status", recipient=a_phone(number))
        assert shown == (CUSTOMER, status)
    (alert,) = alerts(logged, ALERT)
    assert alert["records"] == 1
    assert await harness.ledger.fetch("SELECT keys FROM opt_in_counts") == [{"keys": 2}]
