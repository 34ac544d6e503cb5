"""Erase the history of a key, each row when its own retention has ended.

A row is retained for ten years after its month (6563 m.11/3), for three years after the consent
ended (Yönetmelik m.13), and while a legal hold concerns it. Of an erased row its place, its link
and its commitment stay, so that the chain is verified as before; an act names the places. The
deliveries to subscribers are retained and erased in the same way, and the lines in İYS's daily
files with the rows that were made of them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import orjson

from izin.sinks.ledger.daily import recipient_lines
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.acts import ERASED, act, erasure_key
from izin.sinks.ledger.history.hash_chain import commitment_of_row
from izin.sinks.ledger.history.retention import YEARS_AFTER_THE_END

_SLICE = 200
_HELD = timedelta(days=1)
"""How long until a history under a legal hold is looked at again."""
_BY = "izin"
_SQL = statements("privacy")

_Rows = Mapping[int, Sequence[Mapping[str, Any]]]
"""Rows by the number of their erasure."""


async def erase(ledger: Ledger, *, now: datetime) -> int:
    """Erase the rows of the history that nothing retains any more; return how many."""
    count = 0
    while True:
        async with ledger.transaction() as connection:
            values: dict[str, Any] = {"now": now, "size": _SLICE}
            found = await (await connection.execute(_SQL["retained"], values)).fetchall()
            if not found:
                return count
            count += await _erase(connection, found, now)


async def _erase(
    connection: Connection, erasures: Sequence[Mapping[str, Any]], now: datetime
) -> int:
    values = {"ids": [one["id"] for one in erasures], "years": YEARS_AFTER_THE_END}
    rows = await (await connection.execute(_SQL["history"], values)).fetchall()
    sent = await (await connection.execute(_SQL["deliveries"], values)).fetchall()
    later: dict[int, datetime] = {}
    free, free_sent = _of_free(rows, now, later), _of_free(sent, now, later)
    await _erase_rows(connection, free, now)
    await _erase_deliveries(connection, free_sent)
    await recipient_lines.erase(connection, _shown(free))
    await _append_acts(connection, erasures, free, free_sent, now)
    for number, at in later.items():
        await connection.execute(_SQL["wait"], {"ids": [number], "at": at})
    over = {"ids": [one["id"] for one in erasures if one["id"] not in later], "now": now}
    await connection.execute(_SQL["erased"], over)
    return sum(map(len, (*free.values(), *free_sent.values())))


def _of_free(rows: Sequence[Mapping[str, Any]], now: datetime, later: dict[int, datetime]) -> _Rows:
    """Return the rows that nothing retains, by the number of their erasure; note in ``later`` when
    others may be looked at again.
    """
    free = defaultdict[int, list[Mapping[str, Any]]](list)
    for row in rows:
        at = _free_at(row["retain_until"], is_held=row["is_held"], now=now)
        number = row["erasure"]
        if at <= now:
            free[number].append(row)
        else:
            later[number] = min(at, later.get(number, at))
    return free


async def _erase_rows(connection: Connection, free: _Rows, now: datetime) -> None:
    """Erase rows of the history."""
    rows = [row for some in free.values() for row in some]
    if rows:
        values = {
            "keys": [row["key"] for row in rows],
            "shards": [row["shard"] for row in rows],
            "places": [row["place"] for row in rows],
            "commitments": [commitment_of_row(row) for row in rows],
            "now": now,
        }
        await connection.execute(_SQL["erase-history"], values)


async def _erase_deliveries(connection: Connection, free: _Rows) -> None:
    """Erase whom deliveries concern."""
    rows = [row for some in free.values() for row in some]
    if rows:
        values = {
            "batches": [row["batch"] for row in rows],
            "places": [row["place"] for row in rows],
        }
        await connection.execute(_SQL["erase-deliveries"], values)


def _shown(free: _Rows) -> Iterator[recipient_lines.Shown]:
    """Yield the movements that İYS showed, of those that the history has."""
    for row in (row for some in free.values() for row in some):
        if row["kind"] in recipient_lines.SHOWING:
            created = orjson.loads(row["data"]).get("creation_date")
            if created is not None:
                yield row["key"], created


async def _append_acts(
    connection: Connection,
    erasures: Sequence[Mapping[str, Any]],
    free: _Rows,
    deliveries: _Rows,
    now: datetime,
) -> None:
    """Append the acts that name what was erased."""
    acts = [
        act(
            ERASED,
            erasure_key(one["id"]),
            by=_BY,
            now=now,
            before={},
            after={
                "places": _places(free.get(one["id"], ()), "shard"),
                "deliveries": _places(deliveries.get(one["id"], ()), "batch"),
            },
            customer_id=one["customer_id"],
        )
        for one in erasures
        if one["id"] in free or one["id"] in deliveries
    ]
    await append.append(connection, acts, now=now)


def _free_at(retain_until: date, *, is_held: bool, now: datetime) -> datetime:
    """Return the first instant at which nothing retains a row, as far as is known now."""
    at = datetime.combine(retain_until + timedelta(days=1), time(), UTC)
    return max(at, now + _HELD) if is_held else at


def _places(rows: Sequence[Mapping[str, Any]], within: str) -> dict[str, list[int]]:
    """Return the places of ``rows`` by their shard or batch, the column ``within``."""
    places = defaultdict[str, list[int]](list)
    for row in sorted(rows, key=lambda one: (one[within], one["place"])):
        places[str(row[within])].append(row["place"])
    return dict(places)
