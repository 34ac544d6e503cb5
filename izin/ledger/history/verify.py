"""Anchor and verify the chains of the history.

The link of an entry is the SHA-256 of the previous link and of the commitment of its content, so
whoever changes, removes or moves a row must rewrite every later link of its chain, and then the
anchors (heads that were published to the topic and to append-only files before) differ. Links are
computed again here, not in the database, whose functions could be changed with its rows. Of an
erased row only the commitment is left that its link covers; an act must name its place. A chain
whose first months were dropped starts from its last dropped row, which an act must name too; both
count only where an anchor from outside shows that ten years had passed (``chain_check``).

Sinks go on writing meanwhile: rows beyond the heads that are read first are left to the next
verification, and must not be beyond those that are read at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.x509 import Certificate

from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.history.chain_check import (
    Act,
    ChainCheck,
    Fault,
    Head,
    Loss,
    VerifiedRow,
    first_link,
    verified_row,
)
from izin.ledger.history.hash_chain import BatchDigest
from izin.ledger.record import Anchor, AnchorTimestamp, UnreadableAnchorError
from izin.ledger.retention import YEARS_AT_LEAST
from izin.schemas import timestamps

_PAGE = 5000
_UNSEEN = "restored, not provable: no anchor from outside is behind the act that says so"
_SQL = statements("history")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The result of a verification."""

    rows: int
    anchors: int
    faults: tuple[Fault, ...]
    unprovable: tuple[Fault, ...] = ()
    """What was dropped or emptied, lawfully or not: nothing from outside shows which."""
    losses: tuple[Loss, ...] = ()
    """What restorations of the ledger have lost, as acts say."""
    batches: Mapping[int, BatchDigest] = field(default_factory=dict)
    """The batches of deliveries that the history proves."""
    erased_deliveries: frozenset[tuple[int, int]] = frozenset()
    """Batch and place of the deliveries that acts have erased."""


async def anchor(connection: Connection, *, now: datetime) -> tuple[Anchor, ...]:
    """Anchor the heads of the chains that have grown; return the anchors."""
    heads = await fetch(connection, _SQL["heads"])
    if not heads:
        return ()
    values = {
        "shards": [row["shard"] for row in heads],
        "places": [row["place"] for row in heads],
        "links": [row["link"] for row in heads],
        "now": now,
    }
    return tuple(Anchor(**row) for row in (await fetch(connection, _SQL["anchor"], values)))


async def growth(ledger: Ledger) -> int:
    """Return by how many rows a chain has grown since its last anchor, of the one with the most."""
    (row,) = await ledger.fetch(_SQL["growth"])
    return int(row["rows"])


async def anchors_after(ledger: Ledger, after: int) -> tuple[Anchor, ...]:
    """Return the anchors whose id is greater than ``after``, in order."""
    return tuple(
        Anchor(**row) for row in await ledger.fetch(_SQL["anchors-after"], {"after": after})
    )


def read_anchors(path: Path, roots: Sequence[Certificate] = ()) -> tuple[Anchor, ...]:
    """Return the anchors of a file, with the instants of the time stamps in it that lead to
    ``roots``.

    A line that a crash cut off is skipped: the last one, or one that is repeated whole in the next.

    Raises:
        UnreadableAnchorError: naming file and line.
    """
    try:
        *lines, last = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UnreadableAnchorError(f"{path} is not a text file") from error
    found, timestamped = [], dict[tuple[int, int, str], datetime]()
    for number, (line, following) in enumerate(zip(lines, [*lines[1:], last], strict=True), 1):
        if following.startswith(line):
            continue
        timestamp = AnchorTimestamp.from_line(line)
        if timestamp is not None:
            known = timestamps.verify(timestamp.reply, timestamp.digest, roots)
            if known.state is timestamps.TimestampState.VERIFIED and known.at is not None:
                timestamped |= {
                    head: min(known.at, timestamped.get(head, known.at)) for head in timestamp.heads
                }
            continue
        try:
            found.append(Anchor.from_line(line))
        except UnreadableAnchorError as error:
            raise UnreadableAnchorError(f"{path}, line {number}: {error}") from error
    return tuple(
        replace(one, timestamped_at=timestamped.get((one.shard, one.place, one.link.hex())))
        for one in found
    )


async def verify(
    ledger: Ledger, anchors: Iterable[Anchor], *, now: datetime | None = None
) -> Verified:
    """Compute every link again; compare with ``anchors``, read before from outside the ledger.

    ``now`` is the instant by which ten years must have passed; None: by this process's clock.
    """
    heads = await _heads(ledger)
    cuts = {row["shard"]: row for row in await ledger.fetch(_SQL["cuts"])}
    months = [str(row["month"]) for row in await ledger.fetch(_SQL["months"])]
    # Without a gap: a row outside every month that is listed is found by readers, too.
    spans = pairwise(["-infinity", *months[1:], "infinity"])
    rows = (row for span in spans async for row in _rows(ledger, *span))
    return await verify_rows(
        rows, anchors, heads=heads, cuts=cuts, latest=partial(_heads, ledger), now=now
    )


async def verify_rows(  # noqa: PLR0913  # what is verified, by what, and against which instants
    rows: AsyncIterator[VerifiedRow],
    anchors: Iterable[Anchor],
    *,
    heads: Mapping[int, Head],
    cuts: Mapping[int, Mapping[str, Any]],
    latest: Callable[[], Awaitable[Mapping[int, Head]]] | None = None,
    now: datetime | None = None,
) -> Verified:
    """Compute the links of ``rows`` again, each chain in its order, from ``cuts`` to ``heads``.

    ``latest`` returns the heads once all are read; None: nobody writes meanwhile.
    """
    outside = tuple(anchors)
    known, faults = _by_place(outside)
    compared = sum(map(len, known.values()))
    instant = now or datetime.now(UTC)
    long_ago = instant.replace(year=instant.year - YEARS_AT_LEAST, day=min(instant.day, 28))

    def chain_of(shard: int) -> ChainCheck:
        head = heads.get(shard, Head(0, first_link(shard)))
        return ChainCheck(shard, known.pop(shard, {}), head, cuts.get(shard), long_ago=long_ago)

    chains = {shard: chain_of(shard) for shard in sorted(heads)}
    named = _Named()
    batches = dict[int, tuple[VerifiedRow, BatchDigest]]()
    async for row in rows:
        if row.shard not in chains:
            chains[row.shard] = chain_of(row.shard)
        chains[row.shard].add(row)
        named.add(row.act)
        if row.batch is not None:
            number, said = row.batch
            if batches.setdefault(number, (row, said))[1] != said:
                faults.append(_fault(row, f"batch {number} of deliveries has two digests"))
    ends = heads if latest is None else await latest()
    for shard, chain in chains.items():
        chain.compare_acts(named.erased[shard], named.cuts[shard])
        chain.end(ends[shard].place if shard in ends else 0)
    for number in sorted({batch for batch, _ in named.deliveries} & batches.keys()):
        proof, _ = batches[number]
        chains[proof.shard].judge(proof.place - 1, proof.place, "deliveries emptied")
    faults += [fault for chain in chains.values() for fault in chain.faults]
    unprovable = (
        *(_fault(loss, _UNSEEN) for loss in named.losses if not loss.is_published(outside)),
        *(one for chain in chains.values() for one in chain.unprovable),
    )
    faults += [
        Fault(shard=shard, after=0, place=max(places), what="the chain is gone")
        for shard, places in known.items()
    ]
    return Verified(
        rows=sum(chain.rows for chain in chains.values()),
        anchors=compared,
        faults=tuple(one for one in faults if not any(lost.covers(one) for lost in named.losses)),
        unprovable=unprovable,
        losses=tuple(named.losses),
        batches={number: said for number, (_, said) in batches.items()},
        erased_deliveries=frozenset(named.deliveries),
    )


def _fault(where: VerifiedRow | Loss, what: str) -> Fault:
    return Fault(shard=where.shard, after=where.place - 1, place=where.place, what=what)


def _by_place(anchors: Iterable[Anchor]) -> tuple[dict[int, dict[int, Anchor]], list[Fault]]:
    """Return the anchors by shard and place, each with its earliest time stamp, and where two of
    them contradict one another: then the newer one is compared.
    """
    known: dict[int, dict[int, Anchor]] = {}
    faults = []
    for one in sorted(anchors, key=lambda one: one.id):
        places = known.setdefault(one.shard, {})
        before = places.get(one.place)
        if before is not None and before.link != one.link:
            faults.append(
                Fault(
                    shard=one.shard,
                    after=0,
                    place=one.place,
                    what="two anchors from outside name different links of this row",
                    anchor=before.id,
                )
            )
        elif before is not None and before.timestamped_at is not None:
            at = min(before.timestamped_at, one.timestamped_at or before.timestamped_at)
            one = replace(one, timestamped_at=at)  # noqa: PLW2901  # the same anchor, with its stamp
        places[one.place] = one
    return known, faults


class _Named:
    """What the acts of a history name, of all chains."""

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self.deliveries: set[tuple[int, int]] = set()
        self.erased = defaultdict[int, set[int]](set)
        """The places of rows that were erased, by chain."""
        self.cuts = defaultdict[int, set[int]](set)
        """The last places of chains in months that were dropped."""

    def add(self, act: Act) -> None:
        """Add what one row names."""
        for shard, places in act.erased.items():
            self.erased[shard] |= places
        for shard, place in act.cuts.items():
            self.cuts[shard].add(place)
        self.deliveries |= act.erased_deliveries
        if act.loss is not None:
            self.losses.append(act.loss)


async def _heads(ledger: Ledger) -> Mapping[int, Head]:
    """Return the head of each chain."""
    return {
        row["shard"]: Head(row["place"], row["link"]) for row in await ledger.fetch(_SQL["chains"])
    }


async def _rows(ledger: Ledger, since: str, until: str) -> AsyncIterator[VerifiedRow]:
    values = {"since": since, "until": until}
    async for page in ledger.pages(_SQL["between"], values, size=_PAGE):
        for row in page:
            yield verified_row(row)
