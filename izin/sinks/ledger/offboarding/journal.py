"""How far the offboarding of a customer is, and the one act that ends it."""

from dataclasses import dataclass
from datetime import datetime

from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import customer_key, record_act

_SQL = statements("offboarding")


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
    values = {"customer_id": customer_id, "reason": reason, "by": by, "now": now}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["begin"], values)


async def unsettled(ledger: Ledger, customer_id: str) -> Unsettled:
    """Return what of a customer is not settled."""
    (row,) = await ledger.fetch(_SQL["open"], {"customer_id": customer_id})
    return Unsettled(**row)


async def note_named(ledger: Ledger, customer_id: str, count: int) -> None:
    """Note how many opt-outs are in the file for a person."""
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["named"], {"customer_id": customer_id, "count": count})


async def note_archive(ledger: Ledger, customer_id: str, sha256: str, *, now: datetime) -> None:
    """Note that the archive is whole, with its digest."""
    values = {"customer_id": customer_id, "sha256": sha256, "now": now}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["archived"], values)


async def end(ledger: Ledger, one: Offboarding, *, by: str, now: datetime) -> bool:
    """End the customer, by one act of the history; return whether it was not ended before."""
    values = {"customer_id": one.customer_id, "now": now}
    async with ledger.transaction() as connection:
        ended = await (await connection.execute(_SQL["end"], values)).fetchone()
        if ended is None:
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
