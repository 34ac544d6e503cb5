"""The retention of history: ten years by default, longer under a legal hold; then it is dropped.

A month is dropped whole, and months in order, so that every chain keeps its end: the last link that
is dropped is stored, anchored outside like any head, and verifying starts from there. A month under
a legal hold keeps those after it. Records are kept until the later of ten years after the act (6563
m.11/3) and three years after the consent ended (Yönetmelik m.13): a month goes once ten years have
passed and no key in it has a consent that stands or ended less than three years ago. Who changed
the retention of a month, or dropped it, is in the history itself, where no change goes unnoticed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import takewhile

from izin.sinks.ledger.db import Connection, Ledger, statements
from izin.sinks.ledger.history.append import DROPPED, customer_key, record_act
from izin.sinks.ledger.unit_of_work import append_messages
from izin.sinks.record.anchor import Anchor
from izin.sinks.record.messages import TopicMessages

YEARS_AT_LEAST = 10
"""How long a record must be kept after the act (6563 m.11/3)."""
YEARS_AFTER_THE_END = 3
"""How long a record must be kept after the consent ended (Yönetmelik m.13)."""
_LONGEST_MONTH = timedelta(days=31)
_SQL = statements("retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month of history, and what retains it."""

    month: date
    retain_until: date
    bytes: int
    """On disk, with its indexes."""
    kept_by: str | None
    """Who last changed its retention; None: nobody, so it is ten years."""
    holds: tuple[int, ...] = ()
    """The legal holds on any of it."""

    @property
    def ends(self) -> date:
        """The first day after it."""
        return (self.month + _LONGEST_MONTH).replace(day=1)

    @property
    def least(self) -> date:
        """The day until which it must be kept by law."""
        return self.ends.replace(year=self.ends.year + YEARS_AT_LEAST)

    def may_go(self, today: date) -> bool:
        """Whether it is over and nothing retains it any more."""
        return self.ends <= today and self.retain_until < today and not self.holds


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHold:
    """History that must not be dropped, for a court, an authority or a dispute."""

    id: int
    customer_id: str
    key: str | None
    """None: every key of the customer."""
    reason: str
    since: datetime


async def months(ledger: Ledger) -> tuple[Month, ...]:
    """Return the months of history, in order."""
    async with ledger.reading() as connection:
        return tuple([await _held(connection, one) for one in await _unheld(connection)])


async def _unheld(connection: Connection) -> tuple[Month, ...]:
    """Return the months of history, in order, without their legal holds."""
    rows = await (await connection.execute(_SQL["months"])).fetchall()
    return tuple(Month(**row) for row in rows)


async def _held(connection: Connection, month: Month) -> Month:
    """Return ``month`` with its legal holds."""
    await connection.execute(_SQL["by-index"], {"by_index": True})
    rows = await (await connection.execute(_SQL["held"], {"month": month.month})).fetchall()
    await connection.execute(_SQL["by-index"], {"by_index": False})
    return replace(month, holds=tuple(row["id"] for row in rows))


async def expired(ledger: Ledger, *, today: date) -> tuple[Month, ...]:
    """Return the months that may be dropped: the oldest, up to the first that is retained."""
    found = []
    async with ledger.session() as connection, connection.transaction():
        for month in takewhile(lambda one: one.may_go(today), await _unheld(connection)):
            held = await _held(connection, month)
            if not held.may_go(today) or await _is_needed(connection, month, today):
                break
            found.append(month)
    return tuple(found)


async def _is_needed(connection: Connection, month: Month, today: date) -> bool:
    """Whether a consent in ``month`` stands, or ended less than three years ago."""
    ended = today.replace(day=1, year=today.year - YEARS_AFTER_THE_END)
    values = {"month": month.month, "ended": ended}
    row = await (await connection.execute(_SQL["is-needed"], values)).fetchone()
    return row is not None


async def drop(
    ledger: Ledger, topic_messages: TopicMessages, *, by: str, now: datetime
) -> tuple[Month, ...]:
    """Drop the months that may be dropped, each in a transaction of its own; return them.

    Raises:
        ConcurrentChangeError: writers keep the history too busy.
    """
    dropped = []
    for _ in await expired(ledger, today=now.date()):
        async with ledger.transaction() as connection:
            first = (await _unheld(connection))[0]
            values = {"month": first.month, "now": now}
            cuts = await (await connection.execute(_SQL["cut"], values)).fetchall()
            # Whoever creates a month waits for the lock: what reads much is done before it, for
            # nothing is added to an old month. A legal hold may have been placed meanwhile.
            await connection.execute(_SQL["begin"])
            oldest = await _held(connection, (await _unheld(connection))[0])
            if oldest.month != first.month or not oldest.may_go(now.date()):
                await connection.rollback()
                break
            heads = {
                "shards": [row["shard"] for row in cuts],
                "places": [row["place"] for row in cuts],
                "links": [row["link"] for row in cuts],
                "now": now,
            }
            made = await (await connection.execute(_SQL["anchor"], heads)).fetchall()
            await append_messages(
                connection, [topic_messages.anchor(Anchor(**row)) for row in made], now
            )
            await record_act(
                connection,
                DROPPED,
                _key(first.month),
                by=by,
                now=now,
                before={"kept until": first.retain_until},
                after={"cuts": {str(row["shard"]): row["place"] for row in cuts}},
            )
            await connection.execute(_SQL["drop"], values)
            await connection.execute(_SQL["drop-deliveries"], values)
            await connection.execute(_SQL["drop-daily-files"], values)
        dropped.append(first)
    return tuple(dropped)


async def retain(ledger: Ledger, month: date, *, until: date, by: str, now: datetime) -> bool:
    """Retain a month (its first day) until the end of a day; return whether there is such a month.

    Raises:
        LedgerFaultError: the day is before ``Month.least``.
    """
    async with ledger.transaction() as connection:
        values = {"month": month, "until": until}
        row = await (await connection.execute(_SQL["retain"], values)).fetchone()
        if row is None:
            return False
        await record_act(
            connection,
            "retain month",
            _key(month),
            by=by,
            now=now,
            before={"kept until": row["before"]},
            after={"kept until": until},
        )
        return True


async def knows(ledger: Ledger, customer_id: str) -> bool:
    """Return whether the ledger has a brand, a consent or any history of a customer."""
    return bool(await ledger.fetch(_SQL["knows"], {"customer_id": customer_id}))


async def keys_of(ledger: Ledger, customer_id: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return the ones among ``keys`` with a consent or history of a customer."""
    values = {"customer_id": customer_id, "keys": list(keys)}
    return tuple(row["key"] for row in await ledger.fetch(_SQL["keys-of"], values))


async def hold(  # noqa: PLR0913 - on what, why, and by whose order
    ledger: Ledger, customer_id: str, *, key: str | None, reason: str, by: str, now: datetime
) -> int:
    """Add a legal hold on a customer, or on one of its keys; return its number."""
    async with ledger.transaction() as connection:
        return await place(connection, customer_id, key=key, reason=reason, by=by, now=now)


async def place(  # noqa: PLR0913 - on what, why, and by whose order
    connection: Connection,
    customer_id: str,
    *,
    key: str | None,
    reason: str,
    by: str,
    now: datetime,
) -> int:
    """Add a legal hold within a transaction; return its number."""
    values = {"customer_id": customer_id, "key": key, "reason": reason, "now": now}
    row = await (await connection.execute(_SQL["add-hold"], values)).fetchone()
    number = 0 if row is None else int(row["id"])
    await record_act(
        connection,
        f"place legal hold {number}",
        key or customer_key(customer_id),
        by=by,
        now=now,
        before={},
        after={"reason": reason},
        customer_id=customer_id,
    )
    return number


async def release(ledger: Ledger, number: int, *, by: str, now: datetime) -> bool:
    """Release a legal hold; return whether there was one in force."""
    async with ledger.transaction() as connection:
        return await end(connection, number, by=by, now=now)


async def end(connection: Connection, number: int, *, by: str, now: datetime) -> bool:
    """Release a legal hold within a transaction; return whether there was one in force."""
    values = {"id": number, "now": now}
    row = await (await connection.execute(_SQL["release-hold"], values)).fetchone()
    if row is None:
        return False
    await record_act(
        connection,
        f"release legal hold {number}",
        row["key"] or customer_key(row["customer_id"]),
        by=by,
        now=now,
        before={"reason": row["reason"]},
        after={},
        customer_id=row["customer_id"],
    )
    return True


async def holds(ledger: Ledger) -> tuple[LegalHold, ...]:
    """Return the legal holds in force."""
    return tuple(LegalHold(**row) for row in await ledger.fetch(_SQL["holds"]))


def _key(month: date) -> str:
    """Return the key of acts on a month."""
    return f"retention/{month:%Y-%m}"
