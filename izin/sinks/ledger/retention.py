"""How long history is kept: ten years by default, longer where a hold says so, and then it goes.

A month goes whole, and months go in order, so that every chain keeps its end: the last link of what
is dropped is kept, and anchored outside like any head, and verifying goes on from there. A month
that is held keeps those after it. Records are to be kept three years after a consent has ended
(Yönetmelik m.13); nobody knows when it ends, so the months are kept for ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from izin.sinks.ledger.chains import Anchor
from izin.sinks.ledger.changes import append_messages
from izin.sinks.ledger.statements import statements

if TYPE_CHECKING:
    from datetime import date, datetime

    from izin.sinks.announce import Announcer
    from izin.sinks.ledger.database import Ledger

_SQL = statements("retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month of history: its first day, and what keeps it."""

    month: date
    retain_until: date
    bytes: int
    """On disk, with its indexes."""
    holds: tuple[int, ...]
    """The legal holds that concern any of it."""

    def may_go(self, today: date) -> bool:
        """Whether nothing keeps it any more."""
        return self.retain_until < today and not self.holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What a court, an authority or a dispute needs kept."""

    id: int
    customer_id: str
    key: str | None
    """None: every key of the customer."""
    why: str
    since: datetime


async def months(ledger: Ledger) -> tuple[Month, ...]:
    """Return the months that are kept, in order."""
    rows = await ledger.fetch(_SQL["months"])
    return tuple(Month(**row | {"holds": tuple(row["holds"])}) for row in rows)


async def expired(ledger: Ledger, *, today: date) -> tuple[Month, ...]:
    """Return the months that may go: the oldest, up to the first that is kept."""
    return tuple(takewhile(lambda one: one.may_go(today), await months(ledger)))


async def drop(ledger: Ledger, announcer: Announcer, *, now: datetime) -> tuple[Month, ...]:
    """Drop the months that may go, each in a transaction of its own; return them.

    Raises ConcurrentChangeError where writers keep the history too busy.
    """
    gone = []
    for _ in await expired(ledger, today=now.date()):
        async with ledger.transaction() as connection:
            await connection.execute(_SQL["begin"])
            # Looked at again under the lock: a hold may have come meanwhile.
            rows = await (await connection.execute(_SQL["months"])).fetchall()
            first = Month(**rows[0] | {"holds": tuple(rows[0]["holds"])})
            if not first.may_go(now.date()):
                break
            values = {"month": first.month, "now": now}
            cuts = await (await connection.execute(_SQL["cut"], values)).fetchall()
            told = {
                "shards": [row["shard"] for row in cuts],
                "places": [row["place"] for row in cuts],
                "links": [row["link"] for row in cuts],
                "now": now,
            }
            made = await (await connection.execute(_SQL["anchor"], told)).fetchall()
            await append_messages(
                connection, [announcer.anchor(Anchor(**row)) for row in made], now
            )
            await connection.execute(_SQL["drop"], values)
        gone.append(first)
    return tuple(gone)


async def retain(ledger: Ledger, month: date, *, until: date) -> bool:
    """Keep a month (its first day) until the end of a day; return whether there is such a month."""
    return bool(await ledger.fetch(_SQL["retain"], {"month": month, "until": until}))


async def hold(
    ledger: Ledger, customer_id: str, *, key: str | None, why: str, now: datetime
) -> int:
    """Have nothing dropped of a customer, or of one of its keys; return the hold's number."""
    values = {"customer_id": customer_id, "key": key, "why": why, "now": now}
    (row,) = await ledger.fetch(_SQL["hold"], values)
    return int(row["id"])


async def lift(ledger: Ledger, number: int, *, now: datetime) -> bool:
    """End a hold; return whether it was one."""
    return bool(await ledger.fetch(_SQL["lift"], {"id": number, "now": now}))


async def holds(ledger: Ledger) -> tuple[Hold, ...]:
    """Return what is held."""
    return tuple(Hold(**row) for row in await ledger.fetch(_SQL["holds"]))
