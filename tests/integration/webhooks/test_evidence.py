"""Acknowledgements are evidence: whatever was changed, added or removed among them is found."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from izin.ledger import retention
from izin.ledger.db import Ledger
from izin.ledger.history import verify as chains
from izin.ledger.record import RefusedValueError, TopicMessages
from izin.ledger.webhooks import deliveries, registry
from izin.ledger.webhooks.deliveries import DeliveryFault, DeliveryGroup, DeliveryReceipt
from izin.ledger.webhooks.registry import EventFilter, NewSubscriber
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.views.explanation import Explanation
from izin.webhooks.posting import new_secret
from tests.support.builders import CUSTOMER, PHONE, a_key
from tests.support.webhooks import add_customer

pytestmark = pytest.mark.database

KEY = str(a_key(recipient=PHONE))
LEASE = """INSERT INTO leases (name, owner, epoch) VALUES ('webhooks 1', 'x', 1)
    ON CONFLICT DO NOTHING RETURNING name"""


def a_receipt(number: int, **overrides: object) -> DeliveryReceipt:
    """Return the acknowledgement of a record."""
    fields: dict[str, Any] = {
        "subscriber_id": 1,
        "customer_id": CUSTOMER,
        "type": "consent.opted-out",
        "topic": "consent-opt-outs",
        "partition": 0,
        "offset": number,
        "webhook_id": f"msg_{number}",
        "key": KEY,
        "attempts": 1,
        "status": 200,
        "delivered": 1_772_442_000_000_000 + number,
    }
    return DeliveryReceipt(**fields | overrides)


async def stored(
    ledger: Ledger, *batches: int, now: datetime | None = None, **overrides: object
) -> None:
    """Store batches of so many acknowledgements."""
    await ledger.fetch(LEASE)
    for size in batches:
        rows = [a_receipt(one, **overrides) for one in range(size)]
        group = DeliveryGroup(subscriber_id=1, epoch=1, acknowledgements=rows)
        assert await deliveries.write(ledger, [group], now=now or datetime.now(UTC)) == frozenset()


async def faults(ledger: Ledger) -> list[DeliveryFault]:
    """Return what verification finds; the chains of the history are whole."""
    found = await chains.verify(ledger, ())
    assert found.faults == ()
    result = await deliveries.verify(
        ledger,
        found.batches,
        found.erased_deliveries,
        read_at=datetime(2020, 1, 1, tzinfo=UTC),
    )
    return list(result.faults)


async def tamper(ledger: Ledger, statement: str) -> None:
    """Change deliveries as no code of ours does, without their guards."""
    async with ledger.transaction() as connection:
        await connection.execute("ALTER TABLE deliveries DISABLE TRIGGER deliveries_append_only")
        await connection.execute(statement.encode())
        await connection.execute("ALTER TABLE deliveries ENABLE TRIGGER deliveries_append_only")


async def test_untouched_deliveries_verify(ledger: Ledger):
    """Each batch is one entry, also one of repetitions."""
    await stored(ledger, 3, 1)
    await stored(ledger, 2, resend_id=7)
    assert await faults(ledger) == []
    assert await ledger.fetch(
        "SELECT source FROM history WHERE key = 'deliveries' ORDER BY source"
    ) == [{"source": f"deliveries/{n}"} for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("statement", "batch", "place", "what"),
    [
        (
            (
                "UPDATE deliveries SET delivered_at = delivered_at - interval '1 hour'"
                " WHERE (batch, place) = (2, 1)"
            ),
            *(2, 1, "the row was changed"),
        ),
        (
            "DELETE FROM deliveries WHERE (batch, place) = (2, 1)",
            *(2, None, "1 rows are missing"),
        ),
        ("DELETE FROM deliveries WHERE batch = 2", 2, None, "all 2 rows are missing"),
        (
            (
                "INSERT INTO deliveries SELECT (jsonb_populate_record(d, '{\"place\": 9}')).*"
                " FROM deliveries AS d WHERE (batch, place) = (2, 1)"
            ),
            *(2, 9, "the row was changed"),
        ),
        (
            (
                "INSERT INTO deliveries SELECT (jsonb_populate_record(d, '{\"batch\": 9}')).*"
                " FROM deliveries AS d WHERE (batch, place) = (1, 0)"
            ),
            *(9, None, "1 rows were added: the history has no such batch"),
        ),
        (
            (
                "UPDATE deliveries SET key = NULL, salt = NULL, webhook_id = NULL"
                " WHERE (batch, place) = (2, 1)"
            ),
            *(2, 1, "the row was erased, and no act names it"),
        ),
        (
            "UPDATE deliveries SET resend_id = NULL WHERE (batch, place) = (2, 1)",
            *(2, 1, "the row was changed"),
        ),
        (
            "UPDATE deliveries SET resend_id = 8 WHERE (batch, place) = (2, 1)",
            *(2, 1, "the row was changed"),
        ),
        (
            (
                "UPDATE deliveries SET commitment = sha256('forged'), key = NULL, salt = NULL,"
                " webhook_id = NULL WHERE (batch, place) = (2, 1)"
            ),
            *(2, None, "the rows are not those whose digest the history has"),
        ),
    ],
    ids=[
        *("changed", "removed", "all-removed", "added", "batch-added", "emptied"),
        *("made-a-first", "made-another-repetition", "forged"),
    ],
)
async def test_tampered_delivery_is_found(
    ledger: Ledger, statement: str, batch: int, place: int | None, what: str
):
    """Changed, removed, added or emptied: the history has the digest of what was there. Whoever
    computes the commitment of a row anew cannot compute that anew.
    """
    await stored(ledger, 1)
    await stored(ledger, 2, resend_id=7)
    await tamper(ledger, statement)
    assert DeliveryFault(batch=batch, place=place, what=what) in await faults(ledger)


@pytest.mark.parametrize(
    "change", ["status = 500", "key = 'another'", "attempts = 2", "resend_id = 7"]
)
async def test_database_refuses_to_change_a_delivery(ledger: Ledger, change: str):
    """Nor to delete one."""
    await stored(ledger, 1)
    for statement in (f"UPDATE deliveries SET {change}", "DELETE FROM deliveries"):
        with pytest.raises(RefusedValueError, match="deliveries_append_only"):
            async with ledger.transaction() as connection:
                await connection.execute(statement.encode())


async def test_delivery_of_a_lost_lease_is_not_stored(ledger: Ledger):
    """Another process has taken over: the epoch has risen."""
    await stored(ledger, 1)
    await ledger.fetch("UPDATE leases SET epoch = 2 RETURNING name")
    group = DeliveryGroup(subscriber_id=1, epoch=1, acknowledgements=[a_receipt(5)])
    assert await deliveries.write(ledger, [group], now=datetime.now(UTC)) == frozenset({1})
    assert len(await ledger.fetch("SELECT FROM deliveries")) == 1


async def test_deliveries_of_a_recipient_are_shown(ledger: Ledger):
    """For a complaint: which system took what, and when."""
    await add_customer(ledger)
    new = NewSubscriber(
        name="crm",
        url="https://crm.example.com",
        filter=EventFilter(customer_id=CUSTOMER),
        parallel=1,
        secret=new_secret(),
    )
    await registry.add(ledger, new, (), by="ada", now=datetime.now(UTC))
    await stored(ledger, 2)
    await stored(ledger, 1, resend_id=7)
    found: list[Mapping[str, Any]] = list(await deliveries.of_keys(ledger, [KEY]))
    shown = [(one["subscriber"], one["offset"], one["status"], one["resend_id"]) for one in found]
    assert sorted(shown, key=str) == [
        ("crm", 0, 200, 7),
        ("crm", 0, 200, None),
        ("crm", 1, 200, None),
    ]
    again = {one[2] for one in Explanation().delivery_rows(found) if one[2].endswith(", again")}
    assert again == {"consent.opted-out, again"}


async def test_deliveries_are_dropped_with_the_month_of_their_digest(ledger: Ledger):
    """After ten years; what is left verifies."""
    await stored(ledger, 2, now=datetime(2001, 2, 3, tzinfo=UTC))
    await stored(ledger, 1)
    messages = TopicMessages(Codec(), Topics())
    dropped = await retention.drop(ledger, messages, by="ada", now=datetime.now(UTC))
    assert [one.month.year for one in dropped] == [2001]
    rows = await ledger.fetch("SELECT batch FROM deliveries")
    assert [row["batch"] for row in rows] == [2]
    found = await chains.verify(ledger, await chains.anchors_after(ledger, 0))
    result = await deliveries.verify(
        ledger, found.batches, (), read_at=datetime.now(UTC) - timedelta(days=9)
    )
    assert (found.faults, result.faults, result.rows) == ((), (), 1)
