"""How long history is kept: ten years by default, longer where a hold says so, and then it goes.

A month goes whole, and months go in order, so that every chain keeps its end: the last link of what
is dropped is kept, and anchored outside like any head, and verifying goes on from there. A month
that is held keeps those after it. Records are to be kept three years after a consent has ended
(Yönetmelik m.13); nobody knows when it ends, so the months are kept for ten. Who had a month kept
longer or shorter, or dropped it, stands in the history itself, where nobody can change it unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import append_messages
from izin.sinks.record.anchor import Anchor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from izin.sinks.ledger.db.connection import Ledger
    from izin.sinks.record.messages import TopicMessages

YEARS_AT_LEAST = 3
"""How long a record is kept by law (Yönetmelik m.13)."""
_NOBODYS = ""
"""The customer of what concerns the history of all."""
_LONGEST_MONTH = timedelta(days=31)
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
    kept_by: str | None
    """Who said last how long it is kept; None: nobody, so for ten years."""

    @property
    def ends(self) -> date:
        """The first day after it."""
        return (self.month + _LONGEST_MONTH).replace(day=1)

    @property
    def least(self) -> date:
        """The day until which the law has it kept."""
        return self.ends.replace(year=self.ends.year + YEARS_AT_LEAST)

    def may_go(self, today: date) -> bool:
        """Whether it is over, and nothing keeps it any more."""
        return self.ends <= today and self.retain_until < today and not self.holds

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Month:
        """Return the month that a row of ``months`` tells of."""
        return cls(**{**row, "holds": tuple(row["holds"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHold:
    """What a court, an authority or a dispute needs kept."""

    id: int
    customer_id: str
    key: str | None
    """None: every key of the customer."""
    reason: str
    since: datetime


async def months(ledger: Ledger) -> tuple[Month, ...]:
    """Return the months that are kept, in order."""
    rows = await ledger.fetch(_SQL["months"])
    return tuple(map(Month.from_row, rows))


async def expired(ledger: Ledger, *, today: date) -> tuple[Month, ...]:
    """Return the months that may go: the oldest, up to the first that is kept."""
    return tuple(takewhile(lambda one: one.may_go(today), await months(ledger)))


async def drop(
    ledger: Ledger, topic_messages: TopicMessages, *, by: str, now: datetime
) -> tuple[Month, ...]:
    """Drop the months that may go, each in a transaction of its own; return them.

    Raises ConcurrentChangeError where writers keep the history too busy.
    """
    gone = []
    for _ in await expired(ledger, today=now.date()):
        async with ledger.transaction() as connection:
            await connection.execute(_SQL["begin"])
            # Looked at again under the lock: a hold may have come meanwhile.
            rows = await (await connection.execute(_SQL["months"])).fetchall()
            first = Month.from_row(rows[0])
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
                connection, [topic_messages.anchor(Anchor(**row)) for row in made], now
            )
            said = {"dropped": first.month, "kept until": first.retain_until, "by": by}
            await append.append(connection, [_act(first.month, said, now)], now=now)
            await connection.execute(_SQL["drop"], values)
        gone.append(first)
    return tuple(gone)


async def retain(ledger: Ledger, month: date, *, until: date, by: str, now: datetime) -> bool:
    """Keep a month (its first day) until the end of a day; return whether there is such a month.

    Raises LedgerFaultError where that is sooner than ``Month.least``.
    """
    async with ledger.transaction() as connection:
        values = {"month": month, "until": until}
        row = await (await connection.execute(_SQL["retain"], values)).fetchone()
        if row is None:
            return False
        said = {"kept until": until, "before": row["before"], "by": by}
        await append.append(connection, [_act(month, said, now)], now=now)
        return True


async def knows(ledger: Ledger, customer_id: str) -> bool:
    """Return whether the ledger has a brand, a consent or any history of a customer."""
    return bool(await ledger.fetch(_SQL["knows"], {"customer_id": customer_id}))


async def keys_of(ledger: Ledger, customer_id: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``keys`` of which the ledger has a consent or history of a customer."""
    values = {"customer_id": customer_id, "keys": list(keys)}
    return tuple(row["key"] for row in await ledger.fetch(_SQL["keys-of"], values))


async def hold(
    ledger: Ledger, customer_id: str, *, key: str | None, reason: str, now: datetime
) -> int:
    """Have nothing dropped of a customer, or of one of its keys; return the hold's number."""
    values = {"customer_id": customer_id, "key": key, "reason": reason, "now": now}
    (row,) = await ledger.fetch(_SQL["add-hold"], values)
    return int(row["id"])


async def release(ledger: Ledger, number: int, *, now: datetime) -> bool:
    """End a hold; return whether it was one."""
    return bool(await ledger.fetch(_SQL["release-hold"], {"id": number, "now": now}))


async def holds(ledger: Ledger) -> tuple[LegalHold, ...]:
    """Return what is held."""
    return tuple(LegalHold(**row) for row in await ledger.fetch(_SQL["holds"]))


def _act(month: date, said: Mapping[str, object], now: datetime) -> Movement:
    """Return what the history keeps of a person's word about a month."""
    return Movement(
        kind="act",
        customer_id=_NOBODYS,
        key=f"retention/{month:%Y-%m}",
        event_id=None,
        status=None,
        source=f"retention/{month:%Y-%m}/{now.isoformat()}",
        occurred_at=now,
        data=said,
    )
