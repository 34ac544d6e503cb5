"""The end of a customer: how far it is, what it has, and the one act that ends it.

Its keys, subscribers, waiting consents and brands end each only once. Opt-outs are never ended
here: they are sent first, or named to a person.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from izin.consent import WAITING, State, Status
from izin.ledger import brands
from izin.ledger.db import Ledger, fetch, fetch_one, statements
from izin.ledger.history import customer_key, record_act
from izin.ledger.record import Brand, TopicMessages, ruling
from izin.ledger.registry import api_keys, suspension_orders
from izin.ledger.unit_of_work import lock, unit_of_work
from izin.ledger.webhooks import registry as subscribers

OFFBOARDED = "offboarded"
"""Why a consent was not sent to İYS any more, and why nothing may be sent for the brands."""
_PAGE = 1000
_SQL = statements("offboarding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What is a customer's, and ends with it."""

    brands: tuple[Brand, ...]
    keys: tuple[str, ...]
    """Names of the valid API keys that are for nothing else: they are revoked."""
    shared_keys: tuple[str, ...]
    """Names of those that go on for other customers, without this one and its brands."""
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Ends what is a customer's, by a person's order."""

    ledger: Ledger
    messages: TopicMessages
    customer_id: str
    by: str

    async def belongings(self, now: datetime) -> Belongings:
        """Return what is the customer's now."""
        own = tuple(
            brand
            for brand in await brands.every(self.ledger)
            if brand.customer_id == self.customer_id
        )
        codes = [one.brand_code for one in own]
        keys = [
            (key.name, key.without(self.customer_id, codes) is None)
            for key in await api_keys.every(self.ledger)
            if self.customer_id in key.customers and key.is_valid(now)
        ]
        return Belongings(
            brands=own,
            keys=tuple(name for name, ends in keys if ends),
            shared_keys=tuple(name for name, ends in keys if not ends),
            subscribers=tuple(
                subscriber.name
                for subscriber in await subscribers.every(self.ledger)
                if subscriber.customer_id == self.customer_id
            ),
        )

    async def close(self, now: datetime) -> None:
        """Close the gate for its brands, take it from its keys and remove its subscribers."""
        target = suspension_orders.Target(customer_id=self.customer_id)
        orders = await suspension_orders.every(self.ledger)
        if not any(
            order.target == target and order.part == suspension_orders.Part.GATE for order in orders
        ):
            await suspension_orders.suspend(
                self.ledger,
                self.messages,
                target,
                [suspension_orders.Part.GATE],
                reason=OFFBOARDED,
                by=self.by,
                now=now,
            )
        found = await self.belongings(now)
        await api_keys.withdraw_customer(
            self.ledger,
            self.messages,
            self.customer_id,
            [brand.brand_code for brand in found.brands],
            by=self.by,
            now=now,
        )
        for name in found.subscribers:
            await subscribers.remove(self.ledger, name, by=self.by, now=now)

    async def withdraw_consents(self, now: datetime) -> int:
        """Have the consents that wait not sent to İYS any more; return how many."""
        withdrawn = 0
        values = {"customer_id": self.customer_id, "size": _PAGE}
        while True:
            async with unit_of_work(self.ledger, self.messages, now) as changes:
                found = await fetch(changes.connection, _SQL["waiting-consents"], values)
                if not found:
                    return withdrawn
                rows = await lock(changes.connection, (row["key"] for row in found))
                for row in rows.values():
                    is_waiting = row.state in {*WAITING, State.PARKED} and not row.onay_open
                    if is_waiting and row.desired_status == Status.ONAY:
                        changes.put(row, ruling.expire(row, OFFBOARDED, None))
                        withdrawn += 1

    async def set_brands(self, as_given: Iterable[Brand], now: datetime) -> None:
        """Change brands: of a stopped one nothing is sent, asked or pulled any more."""
        for brand in as_given:
            await brands.upsert(self.ledger, self.messages, brand, by=self.by, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offboarding:
    """The offboarding of a customer, as far as it is."""

    customer_id: str
    ordered_at: datetime
    ordered_by: str
    reason: str
    named_opt_outs: int | None
    """Opt-outs that were not at İYS and are in a file; None: none were, or they still wait."""
    sha256: str | None
    """Of the archive; None: it is not whole yet."""
    archived_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """What of a customer is not settled."""

    consents: int
    """ONAYs that wait to be sent, or for a person."""
    open: int
    """Records whose call to İYS is not settled, and every opt-out that İYS does not have."""
    opt_outs: int
    """The opt-outs among them."""
    keys: int
    """All records of the customer."""


async def find(ledger: Ledger, customer_id: str) -> Offboarding | None:
    """Return the offboarding of a customer; None: it was never ordered."""
    rows = await ledger.fetch(_SQL["one"], {"customer_id": customer_id})
    return Offboarding(**rows[0]) if rows else None


async def begin(ledger: Ledger, customer_id: str, *, reason: str, by: str, now: datetime) -> None:
    """Note the order; one that stands stays."""
    await ledger.execute(
        _SQL["begin"], {"customer_id": customer_id, "reason": reason, "by": by, "now": now}
    )


async def unsettled(ledger: Ledger, customer_id: str) -> Unsettled:
    """Return what of a customer is not settled."""
    (row,) = await ledger.fetch(_SQL["open"], {"customer_id": customer_id})
    return Unsettled(**row)


async def note_named(ledger: Ledger, customer_id: str, count: int) -> None:
    """Note how many opt-outs are in the file for a person."""
    await ledger.execute(_SQL["named"], {"customer_id": customer_id, "count": count})


async def note_archive(ledger: Ledger, customer_id: str, sha256: str, *, now: datetime) -> None:
    """Note that the archive is whole, with its digest."""
    await ledger.execute(
        _SQL["archived"], {"customer_id": customer_id, "sha256": sha256, "now": now}
    )


async def end(ledger: Ledger, one: Offboarding, *, by: str, now: datetime) -> bool:
    """End the customer, by one act of the history; return whether it was not ended before."""
    values = {"customer_id": one.customer_id, "now": now}
    async with ledger.transaction() as connection:
        if await fetch_one(connection, _SQL["end"], values) is None:
            return False
        await connection.execute(_SQL["end-customer"], values)
        await connection.execute(_SQL["remove-items"], values)
        await record_act(
            connection,
            "offboard customer",
            customer_key(one.customer_id),
            by=by,
            now=now,
            before={"offboarded_at": None},
            after={
                "offboarded_at": now,
                "reason": one.reason,
                "ordered_at": one.ordered_at,
                "ordered_by": one.ordered_by,
                "named_opt_outs": one.named_opt_outs or 0,
                "archive_sha256": one.sha256,
            },
            customer_id=one.customer_id,
        )
    return True
