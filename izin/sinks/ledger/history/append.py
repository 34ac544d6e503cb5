"""Append facts to the history: each once, linked to the one before, in the month of its recording.

A transaction appends its facts to one chain, whichever no other transaction has locked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, copy
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.hash_chain import ChainWriter, Fact

REPEATED_WITHIN = timedelta(days=100)
"""How long a fact may be repeated: topics are retained for 90 days, İYS's streams for 7."""
_SQL = statements("movements")


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A fact of a key's history. ``source`` names its origin and makes it unique."""

    kind: str
    customer_id: str
    key: str
    event_id: str | None
    status: str | None
    source: str
    occurred_at: datetime
    data: Mapping[str, Any]
    may_repeat: bool = False
    """Whether the source can repeat it. If not, the history is not searched for it."""


async def append(
    connection: Connection,
    movements: Sequence[Movement],
    *,
    now: datetime,
    facts: Sequence[Fact] = (),
) -> datetime:
    """Record ``facts``, which are known to be new, and ``movements``, of which a repetition of a
    known source changes nothing; return the instant of their recording.
    """
    fresh = await _fresh(connection, movements, now)
    return await append_facts(connection, [*facts, *map(_fact, fresh)], now=now)


async def append_facts(connection: Connection, facts: Sequence[Fact], *, now: datetime) -> datetime:
    """Record ``facts``, which are known to be new; return the instant of their recording."""
    if not facts:
        return now
    chain = await (await connection.execute(_SQL["free-chain"])).fetchone()
    if chain is None:
        chain = await (await connection.execute(_SQL["any-chain"])).fetchone()
    if chain is None:
        raise LookupError("the ledger has no chains")
    recorded_at = now if chain["recorded_at"] is None else max(now, chain["recorded_at"])
    month = recorded_at.astimezone(UTC).date().replace(day=1)
    if not await _has(connection, month):
        await connection.execute(_SQL["create-month"], {"month": month})
    writer = ChainWriter(chain["shard"], chain["place"], chain["link"], recorded_at)
    await copy(connection, _SQL["copy"], writer.rows(facts))
    values = {
        "shard": writer.shard,
        "place": writer.place,
        "link": writer.link,
        "recorded_at": recorded_at,
    }
    await connection.execute(_SQL["save-head"], values)
    return recorded_at


async def _fresh(
    connection: Connection, movements: Sequence[Movement], now: datetime
) -> list[Movement]:
    """Return ``movements`` without those whose source is recorded already."""
    repeatable = [one for one in movements if one.may_repeat]
    if not repeatable:
        return list(movements)
    values = {
        "keys": [one.key for one in repeatable],
        "sources": [one.source for one in repeatable],
        "since": now - REPEATED_WITHIN,
    }
    found = await (await connection.execute(_SQL["known"], values)).fetchall()
    known = {row["source"] for row in found}
    fresh = []
    for one in movements:
        if one.may_repeat:
            if one.source in known:
                continue
            known.add(one.source)
        fresh.append(one)
    return fresh


async def _has(connection: Connection, month: date) -> bool:
    return (
        await (await connection.execute(_SQL["has-month"], {"month": month})).fetchone() is not None
    )


def _fact(one: Movement) -> Fact:
    return Fact(
        one.kind,
        one.customer_id,
        one.key,
        one.event_id,
        one.status,
        one.source,
        copy_format.microseconds(one.occurred_at),
        orjson.dumps(one.data),
        None,
    )
