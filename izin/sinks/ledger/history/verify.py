"""Anchor and verify the chains of the history.

The link of a movement is the SHA-256 of the previous link and of the commitment of its content, so
whoever changes, removes or moves a row must rewrite every later link of its chain, and then the
anchors (heads that were published to the topic and to append-only files before) differ. Links are
computed again here, not in the database, whose functions could be changed with its rows. Of an
erased row only the commitment is left that its link covers; an act must name its place. A chain
whose first months were dropped starts from its last dropped row, whose link is anchored.

Sinks go on writing meanwhile: rows beyond the heads that are read first are left to the next
verification, and must not be beyond those that are read at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.batches import BatchDigest
from izin.sinks.ledger.history.chain_check import (
    ChainCheck,
    Fault,
    Head,
    VerifiedRow,
    first_link,
    verified_row,
)
from izin.sinks.record.anchor import Anchor
from izin.sinks.record.errors import UnreadableAnchorError

_PAGE = 5000
_SQL = statements("movements")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The result of a verification."""

    rows: int
    anchors: int
    faults: tuple[Fault, ...]
    batches: Mapping[int, BatchDigest] = field(default_factory=dict)
    """The batches of deliveries that the history proves."""
    erased_deliveries: frozenset[tuple[int, int]] = frozenset()
    """Batch and place of the deliveries that acts have erased."""


async def anchor(connection: Connection, *, now: datetime) -> tuple[Anchor, ...]:
    """Anchor the heads of the chains that have grown; return the anchors."""
    heads = await (await connection.execute(_SQL["heads"])).fetchall()
    if not heads:
        return ()
    values = {
        "shards": [row["shard"] for row in heads],
        "places": [row["place"] for row in heads],
        "links": [row["link"] for row in heads],
        "now": now,
    }
    found = await (await connection.execute(_SQL["anchor"], values)).fetchall()
    return tuple(Anchor(**row) for row in found)


async def growth(ledger: Ledger) -> int:
    """Return by how many rows a chain has grown since its last anchor, of the one with the most."""
    (row,) = await ledger.fetch(_SQL["growth"])
    return int(row["rows"])


async def anchors_after(ledger: Ledger, after: int) -> tuple[Anchor, ...]:
    """Return the anchors whose id is greater than ``after``, in order."""
    return tuple(
        Anchor(**row) for row in await ledger.fetch(_SQL["anchors-after"], {"after": after})
    )


def read_anchors(path: Path) -> tuple[Anchor, ...]:
    """Return the anchors of a file.

    A line that a crash cut off is skipped: the last one, or one that is repeated whole in the next.

    Raises:
        UnreadableAnchorError: naming file and line.
    """
    try:
        *lines, last = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UnreadableAnchorError(f"{path} is not a text file") from error
    found = []
    for number, (line, following) in enumerate(zip(lines, [*lines[1:], last], strict=True), 1):
        if following.startswith(line):
            continue
        try:
            found.append(Anchor.from_line(line))
        except UnreadableAnchorError as error:
            raise UnreadableAnchorError(f"{path}, line {number}: {error}") from error
    return tuple(found)


async def verify(ledger: Ledger, anchors: Iterable[Anchor]) -> Verified:
    """Compute every link again; compare with ``anchors``, read before from outside the ledger."""
    heads = await _heads(ledger)
    cuts = {row["shard"]: row for row in await ledger.fetch(_SQL["cuts"])}
    months = [row["month"] for row in await ledger.fetch(_SQL["months"])]
    rows = (row for month in months async for row in _rows(ledger, month))
    return await verify_rows(rows, anchors, heads=heads, cuts=cuts, latest=partial(_heads, ledger))


async def verify_rows(
    rows: AsyncIterator[VerifiedRow],
    anchors: Iterable[Anchor],
    *,
    heads: Mapping[int, Head],
    cuts: Mapping[int, Mapping[str, Any]],
    latest: Callable[[], Awaitable[Mapping[int, Head]]] | None = None,
) -> Verified:
    """Compute the links of ``rows`` again, each chain in its order, from ``cuts`` to ``heads``.

    ``latest`` returns the heads once all are read; None: nobody writes meanwhile.
    """
    known: dict[int, dict[int, Anchor]] = {}
    for one in anchors:
        known.setdefault(one.shard, {})[one.place] = one
    compared = sum(map(len, known.values()))
    chains = {
        shard: ChainCheck(shard, known.pop(shard, {}), heads[shard], cuts.get(shard))
        for shard in sorted(heads)
    }
    named = defaultdict[int, set[int]](set)
    batches, erased_deliveries = dict[int, BatchDigest](), set[tuple[int, int]]()
    async for row in rows:
        chain = chains.get(row.shard)
        if chain is None:
            begin = Head(0, first_link(row.shard))
            chain = chains[row.shard] = ChainCheck(row.shard, known.pop(row.shard, {}), begin, None)
        chain.add(row)
        for shard, places in row.named.items():
            named[shard] |= places
        erased_deliveries |= row.named_deliveries
        if row.batch is not None:
            batches[row.batch[0]] = row.batch[1]
    ends = heads if latest is None else await latest()
    for shard, chain in chains.items():
        chain.compare_erased(frozenset(named[shard]))
        chain.end(ends[shard].place if shard in ends else 0)
    faults = [fault for chain in chains.values() for fault in chain.faults]
    faults += [
        Fault(shard=shard, after=0, place=max(places), what="the chain is gone")
        for shard, places in known.items()
    ]
    return Verified(
        rows=sum(chain.rows for chain in chains.values()),
        anchors=compared,
        faults=tuple(faults),
        batches=batches,
        erased_deliveries=frozenset(erased_deliveries),
    )


async def _heads(ledger: Ledger) -> Mapping[int, Head]:
    """Return the head of each chain."""
    found = await ledger.fetch(_SQL["chains"])
    return {row["shard"]: Head(row["place"], row["link"]) for row in found}


async def _rows(ledger: Ledger, month: date) -> AsyncIterator[VerifiedRow]:
    async with (
        ledger.transaction() as connection,
        connection.cursor(name="month") as cursor,
    ):
        await cursor.execute(_SQL["month"], {"first": month})
        while page := await cursor.fetchmany(_PAGE):
            for row in page:
                yield verified_row(row)
