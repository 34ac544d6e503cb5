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

import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history import acts
from izin.sinks.ledger.history.batches import BatchDigest, batch_of
from izin.sinks.ledger.history.hash_chain import commitment_of_row, next_link
from izin.sinks.record.anchor import Anchor
from izin.sinks.record.errors import UnreadableAnchorError

_NOBODY_ERASED = "the row was erased, and no act names it"
_PAGE = 5000
_SQL = statements("movements")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of a chain, and between which places it is."""

    shard: int
    after: int
    place: int
    what: str


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


def first_link(shard: int) -> bytes:
    """Return the link from which a chain starts."""
    return hashlib.sha256(f"izin movements {shard}".encode()).digest()


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
        shard: _Chain(shard, known.pop(shard, {}), heads[shard], cuts.get(shard))
        for shard in sorted(heads)
    }
    named = defaultdict[int, set[int]](set)
    batches, erased_deliveries = dict[int, BatchDigest](), set[tuple[int, int]]()
    async for row in rows:
        chain = chains.get(row.shard)
        if chain is None:
            begin = Head(0, first_link(row.shard))
            chain = chains[row.shard] = _Chain(row.shard, known.pop(row.shard, {}), begin, None)
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


class Head(NamedTuple):
    """The last row of a chain, as the ledger says."""

    place: int
    link: bytes


async def _heads(ledger: Ledger) -> Mapping[int, Head]:
    """Return the head of each chain."""
    found = await ledger.fetch(_SQL["chains"])
    return {row["shard"]: Head(row["place"], row["link"]) for row in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRow:
    """A movement to be verified."""

    shard: int
    place: int
    link: bytes
    commitment: bytes
    is_erased: bool
    named: Mapping[int, frozenset[int]]
    """The rows that an act of erasure names: places by shard."""
    named_deliveries: frozenset[tuple[int, int]]
    """The deliveries that it names: batch and place."""
    batch: tuple[int, BatchDigest] | None
    """The batch of deliveries that it proves."""


class _Chain:
    """The verification of one chain, whose rows are added in the order of their places."""

    def __init__(
        self,
        shard: int,
        anchors: Mapping[int, Anchor],
        head: Head,
        cut: Mapping[str, Any] | None,
    ) -> None:
        self.rows = 0
        self.faults: list[Fault] = []
        self.erased: list[tuple[int, int]] = []
        """The places of erased rows, after the place before each."""
        self._shard = shard
        self._head = head
        self._appended = head.place
        """The last row that was read, also beyond the head."""
        self._place = 0
        self._link = first_link(shard)
        self._confirmed = 0
        """The last place that an anchor has confirmed."""
        if cut is not None:
            self._place = self._confirmed = cut["place"]
            self._link = cut["link"]
            anchored = anchors.get(self._place)
            if anchored is None or anchored.link != self._link:
                self._fault(
                    self._place, "rows up to this place were dropped, and no anchor says so"
                )
        self._anchors = {place: one for place, one in anchors.items() if place > self._place}

    def add(self, row: VerifiedRow) -> None:
        if row.place > self._head.place:
            self._appended = max(self._appended, row.place)
            return
        self.rows += 1
        if row.is_erased:
            self.erased.append((self._place, row.place))
        if row.place > self._place + 1:
            self._fault(row.place - 1, f"{row.place - self._place - 1} rows are missing")
        elif row.place <= self._place or next_link(self._link, row.commitment) != row.link:
            self._fault(row.place, "the row was changed, moved or inserted")
        # Continue with the stored link, so that one row's fault is not the next one's.
        self._place, self._link = row.place, row.link
        self._compare(row)

    def end(self, latest: int) -> None:
        """Compare with the head, and with the place of the ``latest`` one, read after the rows."""
        place, link = self._head
        if place > self._place:
            self._fault(place, f"{place - self._place} rows are missing at the end")
        elif link != self._link or self._appended > latest:
            self._fault(self._appended, "the chain does not end where the ledger says")
        for cut in sorted(self._anchors):
            what = "rows up to this place were anchored and are gone"
            self._fault(cut, what)

    def compare_erased(self, named: frozenset[int]) -> None:
        """Note each erased row whose place no act names."""
        self.faults += [
            Fault(shard=self._shard, after=after, place=place, what=_NOBODY_ERASED)
            for after, place in self.erased
            if place not in named
        ]

    def _compare(self, row: VerifiedRow) -> None:
        anchored = self._anchors.pop(row.place, None)
        if anchored is None:
            return
        if anchored.link != row.link:
            what = f"rows after {self._confirmed} were rewritten since {anchored.anchored_at}"
            self._fault(row.place, what)
        self._confirmed = row.place

    def _fault(self, place: int, what: str) -> None:
        self.faults.append(Fault(shard=self._shard, after=self._place, place=place, what=what))


async def _rows(ledger: Ledger, month: date) -> AsyncIterator[VerifiedRow]:
    async with (
        ledger.transaction() as connection,
        connection.cursor(name="month") as cursor,
    ):
        await cursor.execute(_SQL["month"], {"first": month})
        while page := await cursor.fetchmany(_PAGE):
            for row in page:
                yield verified_row(row)


def verified_row(row: Mapping[str, Any]) -> VerifiedRow:
    """Return a row to be verified: its columns by name, as :func:`commitment_of_row` has them."""
    commitment, data = row["commitment"], row["data"]
    is_erased = commitment is not None
    if not is_erased:
        commitment = commitment_of_row(row)
    is_act = not is_erased and row["kind"] == acts.KIND
    erasure = _erasure(data) if is_act and data is not None else {}
    return VerifiedRow(
        shard=row["shard"],
        place=row["place"],
        link=row["link"],
        commitment=commitment,
        is_erased=is_erased,
        named={int(shard): frozenset(some) for shard, some in erasure.get("places", {}).items()},
        named_deliveries=frozenset(
            (int(batch), place)
            for batch, some in erasure.get("deliveries", {}).items()
            for place in some
        ),
        batch=None if is_erased else batch_of(row),
    )


def _erasure(data: str) -> Mapping[str, Mapping[str, list[int]]]:
    """Return what an act of erasure names; nothing of any other act."""
    said = json.loads(data)
    return said["after"] if said.get("act") == acts.ERASED else {}
