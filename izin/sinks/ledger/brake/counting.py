"""Count the opt-outs of each source at ingest, and hold them back where they are too many.

Counted are keys, within the hour before their ingest, and by the clock of the ledger: no date that
a sender states delays or spreads them. Everything is written in the transaction of the rows
themselves, so that none of them is submitted in between.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from izin.consent.model import Status
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.consent_row import ConsentRow

WINDOW = timedelta(hours=1)
_LONGEST = 200
"""Characters of a source: an origin is any text, and an entry of an index is not."""
_SQL = statements("brakes")


class SourcedOptOut(NamedTuple):
    """An opt-out of ours that is new in the ledger, and where it comes from."""

    brand_code: int
    key: str
    event_id: str
    actor: str | None
    origin: str


async def watched(connection: Connection, codes: Collection[int]) -> Mapping[int, int | None]:
    """Return how many keys desire ONAY of the brands among ``codes`` whose customer has set a
    brake; None where they are not counted yet.
    """
    if not codes:
        return {}
    found = await connection.execute(_SQL["watched"], {"codes": sorted(codes)})
    return {row["brand_code"]: row["opted_in"] for row in await found.fetchall()}


def opt_in_changes(
    before: Mapping[str, ConsentRow | None], after: Mapping[str, ConsentRow]
) -> Counter[int]:
    """Return how many keys of each brand desire ONAY in ``after`` that did not ``before``, less
    those that did and do not; without the brands of which the number is the same.
    """
    changes = Counter[int]()
    for key, row in after.items():
        was = before.get(key)
        is_on = row.desired_status == Status.ONAY
        was_on = was is not None and was.desired_status == Status.ONAY
        if is_on != was_on:
            changes[row.brand_code] += 1 if is_on else -1
    return Counter({code: change for code, change in changes.items() if change})


async def add_opt_ins(connection: Connection, changes: Mapping[int, int]) -> None:
    """Add to the opt-ins of those brands that are counted how many more, or fewer, there are."""
    if not changes:
        return
    values = {"codes": list(changes), "changes": list(changes.values())}
    await connection.execute(_SQL["add-opt-ins"], values)


async def count_opt_ins(connection: Connection, codes: Collection[int]) -> None:
    """Count the opt-ins of brands. It reads the whole ledger."""
    await connection.execute(_SQL["count-opt-ins"], {"codes": sorted(codes)})


async def forget(connection: Connection, codes: Collection[int]) -> None:
    """Forget what was counted of brands."""
    await connection.execute(_SQL["forget"], {"codes": sorted(codes)})


async def forget_keys(connection: Connection, keys: Collection[str]) -> None:
    """Forget from where opt-outs of ``keys`` came lately."""
    await connection.execute(_SQL["forget-keys"], {"keys": list(keys)})


async def brake(
    connection: Connection, opt_outs: Sequence[SourcedOptOut], *, now: datetime
) -> None:
    """Note ``opt_outs``, whose rows are written, and hold back those of sources with an open brake;
    one is opened where a source has sent too many.
    """
    sources = await _sources(connection, opt_outs)
    codes = [one.brand_code for one in opt_outs]
    # First: a person's decision, which forgets what was noted, waits for this transaction.
    found = await connection.execute(_SQL["lock-open"], {"codes": sorted(set(codes))})
    brakes = {(row["brand_code"], row["source"]): row["id"] for row in await found.fetchall()}
    noted = {
        "codes": codes,
        "sources": sources,
        "keys": [one.key for one in opt_outs],
        "event_ids": [one.event_id for one in opt_outs],
        "now": now,
    }
    await connection.execute(_SQL["note"], noted)
    for code, source in sorted(set(zip(codes, sources, strict=True))):
        since = now
        values = {"brand_code": code, "source": source, "since": now - WINDOW, "now": now}
        await connection.execute(_SQL["forget-older"], values)
        brake_id = brakes.get((code, source))
        if brake_id is None:
            # Those of the hour before too, if it trips.
            since = now - WINDOW
            tripped = await (await connection.execute(_SQL["trip"], values)).fetchone()
            brake_id = None if tripped is None else tripped["id"]
        if brake_id is not None:
            values |= {"since": since, "brake_id": brake_id}
            await connection.execute(_SQL["hold-back"], values)


async def _sources(connection: Connection, opt_outs: Sequence[SourcedOptOut]) -> list[str]:
    """Return the source of each: the API key that published it, else the origin that it names, or
    the beginning of a long one.
    """
    actors = {one.actor for one in opt_outs if one.actor is not None}
    found = await connection.execute(_SQL["names-of-keys"], {"actors": sorted(actors)})
    names = {row["name"] for row in await found.fetchall()}
    return [
        one.actor if one.actor is not None and one.actor in names else one.origin[:_LONGEST]
        for one in opt_outs
    ]
