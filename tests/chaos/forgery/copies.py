"""A history in memory, as whoever owns the database has it: rows, links, heads, cuts, deliveries.

All that can be computed again is computed again with the ledger's own functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any

from izin.evidence.chain import Segment
from izin.evidence.rows import Batches, DeliveryAcknowledgement, EvidenceRow
from izin.evidence.verification import Evidence
from izin.ledger.history import SALT, Fact, commitment_of_row, content, first_link, next_link
from izin.ledger.record import Anchor
from izin.ledger.webhooks.deliveries import content_of_delivery
from tests.support.builders import NOON
from tests.support.evidence.archives import KEY, a_header

Row = dict[str, Any]
"""A row of the history, or of deliveries: its columns by name."""
FACT = Fact._fields
DIGESTS = "deliveries"
"""The key of the digests of batches."""


class UnmadeArchiveError(Exception):
    """The ledger makes no archive of such a history."""


@dataclass(slots=True, kw_only=True)
class HistoryCopy:
    """A history that can be changed at will."""

    rows: dict[int, list[Row]] = field(default_factory=dict)
    """By shard, in the order of their places."""
    heads: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """Place and link of the last row of each chain."""
    cuts: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    deliveries: list[Row] = field(default_factory=list)

    def copied(self) -> HistoryCopy:
        """Return a history to be changed, apart from this one."""
        return deepcopy(self)

    def start(self, shard: int) -> tuple[int, bytes]:
        """Return place and link from which a chain starts."""
        return self.cuts.get(shard, (0, first_link(shard)))

    def relink(self, shard: int) -> None:
        """Compute every link of a chain again, and its head."""
        place, link = self.start(shard)
        for row in self.rows[shard]:
            place, link = row["place"], next_link(link, commitment(row))
            row["link"] = link
        self.heads[shard] = place, link

    def renumber(self, shard: int) -> None:
        """Give the rows of a chain places without a gap."""
        start, _ = self.start(shard)
        for place, row in enumerate(self.rows[shard], start + 1):
            row["place"] = place

    def append(self, random: Random, shard: int, fact: Fact, recorded: int | None = None) -> Row:
        """Append a row to a chain, as a writer does; return it."""
        rows = self.rows.setdefault(shard, [])
        place, link = self.heads.get(shard) or self.start(shard)
        row: Row = {
            **fact._asdict(),
            "data": None if fact.data is None else fact.data.decode(),
            "shard": shard,
            "place": place + 1,
            "recorded": recorded or max(fact.occurred, rows[-1]["recorded"] if rows else 0),
            "salt": random.randbytes(SALT),
            "commitment": None,
        }
        row["link"] = next_link(link, commitment(row))
        rows.append(row)
        self.heads[shard] = row["place"], row["link"]
        return row


def commitment(row: Row) -> bytes:
    """Return what the link of a row covers."""
    return row["commitment"] or commitment_of_row(row)


def emptied(row: Row) -> None:
    """Erase what a row says: its commitment stays."""
    row["commitment"] = commitment(row)
    row |= {"kind": "erased", "customer_id": "", "occurred": row["recorded"], "salt": None}
    row |= dict.fromkeys(("key", "event_id", "status", "source", "data", "decision"))


def evidence_row(row: Row) -> EvidenceRow:
    """Return a row as an archive has it."""
    named = {name: row[name] for name in FACT}
    data = row["data"]
    fact = Fact(**named | {"data": None if data is None else data.encode(), "decision": None})
    if row["decision"] is not None:
        fact = fact._replace(decision=b"")
    text = content(row["place"], fact, row["recorded"]).decode()
    return EvidenceRow(row["shard"], text, row["decision"], row["salt"])


def archive_of(history: HistoryCopy, anchors: dict[int, int], **header: object) -> Evidence:
    """Return the evidence of a recipient, with the chains up to ``anchors`` (places by shard).

    Raises:
        UnmadeArchiveError: no chain leads there.
    """
    rows, segments, batches = [], [], _batches(history)
    for shard, until in anchors.items():
        before, (_, link) = None, history.start(shard)
        chained: list[Row] = []
        for row in history.rows.get(shard, ()):
            if row["place"] > until:
                break
            if chained or _is_ours(row, batches):
                before = before or link
                chained.append(row)
            link = row["link"]
        if not chained:
            continue
        places = [row["place"] for row in chained]
        if places != [*range(places[0], until + 1)] or before is None:
            raise UnmadeArchiveError
        rows += [evidence_row(row) for row in chained if _is_ours(row, batches)]
        segments.append(
            Segment(
                shard=shard,
                first=places[0],
                before=before,
                place=until,
                link=chained[-1]["link"],
                anchored_at=NOON.isoformat(),
                commitments=b"".join(map(commitment, chained)),
            )
        )
    return Evidence(header=a_header(**header), rows=rows, batches=batches, segments=segments)


def places_of(anchors: Iterable[Anchor]) -> dict[int, int]:
    """Return the last anchored place of each chain."""
    found: dict[int, int] = {}
    for one in anchors:
        found[one.shard] = max(one.place, found.get(one.shard, 0))
    return found


def _is_ours(row: Row, batches: Batches) -> bool:
    """Whether a row belongs into the archive of the recipient."""
    if row["commitment"] is not None or row["key"] is None:
        return False
    if row["key"] == DIGESTS:
        return any(row["source"] == f"{DIGESTS}/{batch}" for batch in batches.commitments)
    return row["key"] == KEY or row["key"].startswith("receipt/")


def _batches(history: HistoryCopy) -> Batches:
    """Return the acknowledgements of the recipient, with the commitments of their batches."""
    ours = [row for row in history.deliveries if row["key"] == KEY]
    rows = [
        DeliveryAcknowledgement(content_of_delivery(row).decode(), row["salt"], "sms")
        for row in ours
    ]
    numbers = sorted({row["batch"] for row in ours})
    return Batches(
        rows,
        {
            number: tuple(
                row["commitment"].hex() for row in history.deliveries if row["batch"] == number
            )
            for number in numbers
        },
    )
