"""The customers: who the consents of a brand belong to."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.acts import act, customer_key
from izin.sinks.record.errors import UnknownCustomerError

_SQL = statements("customers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A company whose consents are managed."""

    customer_id: str
    name: str
    created_at: datetime
    brake_share: float | None
    """Of a brand's keys, in percent: more opt-outs of one source an hour wait for a person."""
    brake_at_least: int | None
    """Never fewer; None, as the share is: the customer has set no brake (``ledger.brake``)."""


async def add(
    ledger: Ledger, customer_id: str, name: str, *, by: str, now: datetime
) -> tuple[Customer | None, Customer]:
    """Register a customer, or change its name; return it as it was and as it is.

    The history has who ordered it, ``by``; what changes nothing is no movement.
    """
    async with ledger.transaction() as connection:
        values = {"customer_id": customer_id, "name": name, "now": now}
        row = await (await connection.execute(_SQL["lock"], values)).fetchone()
        before = None if row is None else Customer(**row)
        if before is not None and before.name == name:
            return before, before
        (row,) = await (await connection.execute(_SQL["upsert"], values)).fetchall()
        change = act(
            "add customer" if before is None else "change customer",
            customer_key(customer_id),
            by=by,
            now=now,
            before={} if before is None else {"name": before.name},
            after={"name": name},
            customer_id=customer_id,
        )
        await append.append(connection, [change], now=now)
    return before, Customer(**row)


async def every(ledger: Ledger) -> tuple[Customer, ...]:
    """Return every customer."""
    return tuple(Customer(**row) for row in await ledger.fetch(_SQL["all"]))


async def require(connection: Connection, customers: Collection[str]) -> None:
    """Raise UnknownCustomerError where one of ``customers`` is not registered."""
    found = await connection.execute(_SQL["known"], {"customers": sorted(customers)})
    known = {row["customer_id"] for row in await found.fetchall()}
    for one in sorted(customers):
        if one not in known:
            raise UnknownCustomerError(one)
