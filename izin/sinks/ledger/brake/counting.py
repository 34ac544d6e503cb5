"""Count the opt-outs of each source at ingest, and its opt-ins over opt-outs, and hold them back
where they are too many.

Counted are keys, within the hour before their ingest, and by the clock of the ledger: no date that
a sender states delays or spreads them. Everything is written in the transaction of the rows
themselves, so that none of them is submitted in between.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from izin.consent.model import Status
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.consent_row import ConsentRow

WINDOW = timedelta(hours=1)
_LONGEST = 200
"""Characters of a source: an origin is any text, and an entry of an index is not."""
_SQL = statements("brakes")


class SourcedEvent(NamedTuple):
    """An opt-out of ours, or an opt-in over an opt-out, that is new in the ledger, and where it
    comes from.
    """

    brand_code: int
    key: str
    event_id: str
    actor: str | None
    origin: str
    over_ret: bool = False
    """Whether an opt-out was desired before."""


class Watched(NamedTuple):
    """What is counted of the brands of a batch."""

    opted_in: Mapping[int, int | None]
    """How many keys desire ONAY of each brand with a brake on opt-outs; None: not counted yet."""
    reversals: Collection[int]
    """The brands with a brake on opt-ins over opt-outs."""


async def watched(connection: Connection, codes: Collection[int]) -> Watched:
    """Return what is counted of the brands among ``codes``, by what their customers have set."""
    rows: Sequence[Mapping[str, Any]] = ()
    if codes:
        found = await connection.execute(_SQL["watched"], {"codes": sorted(codes)})
        rows = await found.fetchall()
    return Watched(
        {row["brand_code"]: row["opted_in"] for row in rows if row["of_ret"]},
        {row["brand_code"] for row in rows if row["of_onay"]},
    )


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
    connection: Connection, events: Sequence[SourcedEvent], status: Status, *, now: datetime
) -> list[str]:
    """Note ``events`` of a ``status``, whose rows are written, and hold back those of sources with
    an open brake; one is opened where a source has sent too many. Return which of the keys that are
    held back were opted out before.
    """
    sources = await sources_of(connection, events)
    codes = [one.brand_code for one in events]
    # First: a person's decision, which forgets what was noted, waits for this transaction.
    values: dict[str, Any] = {"codes": sorted(set(codes)), "status": status, "now": now}
    found = await connection.execute(_SQL["lock-open"], values)
    brakes = {(row["brand_code"], row["source"]): row["id"] for row in await found.fetchall()}
    noted = {
        "codes": codes,
        "sources": sources,
        "keys": [one.key for one in events],
        "event_ids": [one.event_id for one in events],
        "over_ret": [one.over_ret for one in events],
    }
    await connection.execute(_SQL["note"], values | noted)
    over_ret: list[str] = []
    for code, source in sorted(set(zip(codes, sources, strict=True))):
        values |= {"brand_code": code, "source": source, "since": now - WINDOW}
        await connection.execute(_SQL["forget-older"], values)
        brake_id = brakes.get((code, source))
        if brake_id is not None:
            values["since"] = now
        else:
            # Those of the hour before too, if it trips.
            tripped = await connection.execute(_SQL[f"trip-{status.lower()}"], values)
            brake_id = next((row["id"] for row in await tripped.fetchall()), None)
        if brake_id is not None:
            held = await connection.execute(_SQL["hold-back"], {**values, "brake_id": brake_id})
            over_ret += [row["key"] for row in await held.fetchall()]
    return over_ret


async def sources_of(connection: Connection, events: Sequence[SourcedEvent]) -> list[str]:
    """Return the source of each: the API key that published it, else the origin that it names, or
    the beginning of a long one.
    """
    actors = {one.actor for one in events if one.actor is not None}
    found = await connection.execute(_SQL["names-of-keys"], {"actors": sorted(actors)})
    names = {row["name"] for row in await found.fetchall()}
    return [
        one.actor if one.actor is not None and one.actor in names else one.origin[:_LONGEST]
        for one in events
    ]
