"""Collect the evidence of a recipient from the ledger.

The heads of all chains are anchored first, so that every row has an anchor behind it. Of the rows
between ours and an anchor only commitments leave the ledger.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from izin.consent import Channel, ConsentKey, RecipientType, SourceError
from izin.evidence.chain import Segment
from izin.evidence.container import UnprovenHistoryError
from izin.evidence.daily_files import DailyLines
from izin.evidence.rows import (
    Batches,
    DeliveryAcknowledgement,
    EvidenceRow,
    Fact as ReadFact,
    fact_of,
    first_link,
)
from izin.evidence.verification import FORMAT, Evidence
from izin.ledger import brands
from izin.ledger.daily import lines
from izin.ledger.daily.files import FileState
from izin.ledger.daily.lines import FoundLines
from izin.ledger.db import Ledger, statements
from izin.ledger.history import BATCH_KEY, Fact, act, append, content, receipt_key, verify
from izin.ledger.history.append import RECEIPT
from izin.ledger.record import Brand, TopicMessages, UnregisteredBrandError
from izin.ledger.registry import customers
from izin.ledger.unit_of_work import append_messages
from izin.ledger.webhooks.deliveries import content_of_delivery

_REACHES = (timedelta(seconds=1), timedelta(minutes=15), timedelta(days=1), None)
"""How far other rows of a chain are looked for, in time; None: wherever they are."""
_NEVER, _EVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_AT_ONCE = 4
_SQL = statements("evidence")
_Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRequest:
    """Whose evidence is collected, of when, by whom and why."""

    recipient: str
    """Normalised."""
    brand_code: int
    channel: Channel | None
    """None: every channel."""
    at: datetime
    by: str
    reason: str

    @property
    def keys(self) -> list[str]:
        """Every key that the recipient may have, in order."""
        return [
            str(
                ConsentKey(
                    brand_code=self.brand_code,
                    channel=channel,
                    recipient_type=recipient_type,
                    recipient=self.recipient,
                )
            )
            for channel in Channel
            for recipient_type in RecipientType
            if self.channel in {None, channel}
        ]


async def collect(
    ledger: Ledger, topic_messages: TopicMessages, request: EvidenceRequest, *, now: datetime
) -> Evidence:
    """Return the evidence that is asked for, proven by anchors that are published with it.

    Raises:
        UnregisteredBrandError: the brand is not registered.
        SourceError: the ledger has nothing of the recipient for it.
        UnprovenHistoryError: the history was changed: its links do not lead to its anchors.
    """
    async with ledger.transaction() as connection:
        known = await brands.of_codes(connection, {request.brand_code})
    brand = known.get(request.brand_code)
    if brand is None:
        raise UnregisteredBrandError(request.brand_code)
    rows = await ledger.fetch(_SQL["rows"], {"keys": request.keys})
    if not rows:
        raise SourceError(
            f"the ledger has nothing of this recipient for brand {request.brand_code}; see izin "
            "explain, and leave out --type"
        )
    sent = await ledger.fetch(_SQL["deliveries"], {"keys": request.keys})
    every = [*rows, *await _requests(ledger, rows), *await _digests(ledger, sent)]
    await anchor_heads(ledger, topic_messages, now)
    evidence = Evidence(
        header=await _header(ledger, request, brand, sorted({row["key"] for row in rows}), now),
        rows=[_evidence_row(row) for row in every],
        batches=await _batches(ledger, sent),
        segments=await _segments(ledger, every),
        daily_files=await _daily_files(ledger, rows),
    )
    if evidence.unproven():
        raise UnprovenHistoryError(every[0]["shard"], every[0]["place"])
    return evidence


async def facts_of(ledger: Ledger, keys: Collection[str]) -> dict[str, list[ReadFact]]:
    """Return by key what its history says, as ``verification.state_at`` reads it."""
    found = defaultdict[str, list[ReadFact]](list)
    for row in await ledger.fetch(_SQL["rows"], {"keys": sorted(keys)}):
        found[row["key"]].append(fact_of(_evidence_row(row)))
    return found


async def record(
    ledger: Ledger, request: EvidenceRequest, evidence: Evidence, *, sha256: str, now: datetime
) -> None:
    """Write to the history of each key who had its evidence collected, why, and the digest of the
    archive.
    """
    customer = str(evidence.header["customer"]["id"])
    exported = [
        act(
            "export evidence",
            key,
            by=request.by,
            now=now,
            before={},
            after={"reason": request.reason, "at": request.at, "sha256": sha256},
            customer_id=customer,
        )
        for key in evidence.header["keys"]
    ]
    async with ledger.transaction() as connection:
        await append.append(connection, exported, now=now)


async def anchor_heads(ledger: Ledger, topic_messages: TopicMessages, now: datetime) -> None:
    """Anchor the heads of all chains; a sink worker publishes the anchors."""
    async with ledger.transaction() as connection:
        made = await verify.anchor(connection, now=now)
        if made:
            await append_messages(
                connection, [topic_messages.anchor(anchor) for anchor in made], now
            )


async def _header(
    ledger: Ledger, request: EvidenceRequest, brand: Brand, keys: Sequence[str], now: datetime
) -> dict[str, Any]:
    names = {customer.customer_id: customer.name for customer in await customers.every(ledger)}
    return {
        "format": FORMAT,
        "recipient": request.recipient,
        "brand": {"code": brand.brand_code, "iys_code": brand.iys_code, "name": brand.name},
        "customer": {"id": brand.customer_id, "name": names[brand.customer_id]},
        "keys": list(keys),
        "at": request.at.isoformat(),
        "made_at": now.isoformat(),
        "made_by": request.by,
        "reason": request.reason,
    }


async def _requests(ledger: Ledger, rows: _Rows) -> _Rows:
    """Return the rows of the gate's receipts that have what was asked as a whole; these name
    nobody.
    """
    answers = (_evidence_row(row).columns.data for row in rows if row["kind"] == RECEIPT)
    keys = sorted({receipt_key(str(answer["receipt_id"])) for answer in answers})
    if not keys:
        return []
    found = await ledger.fetch(_SQL["rows"], {"keys": keys})
    return [row for row in found if "recipients" in _evidence_row(row).columns.data]


async def _digests(ledger: Ledger, sent: _Rows) -> _Rows:
    """Return the rows of the history that prove the batches of ``sent``."""
    if not sent:
        return []
    values = {
        "instants": sorted({one["recorded_at"] for one in sent}),
        "sources": sorted({f"{BATCH_KEY}/{one['batch']}" for one in sent}),
    }
    return await ledger.fetch(_SQL["digests"], values)


async def _batches(ledger: Ledger, sent: _Rows) -> Batches:
    values = {"batches": sorted({one["batch"] for one in sent})}
    found = await ledger.fetch(_SQL["batches"], values) if sent else []
    return Batches(
        [
            DeliveryAcknowledgement(
                content_of_delivery(row).decode(), bytes(row["salt"]), row["subscriber"]
            )
            for row in sent
        ],
        {int(row["batch"]): tuple(bytes(one).hex() for one in row["commitments"]) for row in found},
    )


async def _daily_files(ledger: Ledger, rows: _Rows) -> list[DailyLines]:
    """Return the lines of the keys of ``rows`` in İYS's daily files, file by file."""
    columns = (_evidence_row(row).columns for row in rows if row["kind"] in lines.SHOWING)
    shown = lines.shown_by((column.kind, column.key, column.data) for column in columns)
    return [_daily_lines(found) async for found in lines.by_file(ledger, shown) if found.lines]


def _daily_lines(found: FoundLines) -> DailyLines:
    file = found.file
    is_compared = file.state is FileState.COMPARED
    agreement = "ok" if file.is_equal else "differs"
    return DailyLines(
        day=file.day.isoformat(),
        hash_value=file.hash_value or "",
        fetched_at=_iso(file.fetched_at),
        total=file.lines or 0,
        erased=file.redacted,
        integrity=found.integrity,
        agreement=agreement if is_compared else None,
        own_hash=file.own_hash if is_compared else None,
        only_at_iys=file.only_at_iys if is_compared else None,
        only_here=file.only_here if is_compared else None,
        timestamp_state=None if file.timestamp_state is None else str(file.timestamp_state),
        timestamped_at=_iso(file.timestamped_at),
        timestamp_reply=file.timestamp_reply,
        lines=tuple(found.lines),
    )


async def _segments(ledger: Ledger, rows: _Rows) -> list[Segment]:
    """Return the segments from ``rows`` to the next anchors, one for all rows before an anchor, a
    few of them read at a time.

    Raises:
        UnprovenHistoryError: rows of one are missing.
    """
    recorded = {(row["shard"], row["place"]): row["recorded_at"] for row in rows}
    values = {"shards": [shard for shard, _ in recorded], "places": [one for _, one in recorded]}
    needed: dict[tuple[int, int], Mapping[str, Any]] = {}
    for row in await ledger.fetch(_SQL["anchors"], values):
        # In the order of places: the first of our rows before an anchor begins the segment.
        needed.setdefault((row["shard"], row["anchor"]), row)
    free = asyncio.Semaphore(_AT_ONCE)

    async def read(row: Mapping[str, Any]) -> Segment:
        async with free:
            return await _segment(ledger, row, recorded[row["shard"], row["place"]])

    return await asyncio.gather(*map(read, needed.values()))


async def _segment(ledger: Ledger, row: Mapping[str, Any], recorded_at: datetime) -> Segment:
    """Return a segment with its commitments: from the place of ``row``, which was ``recorded_at``
    an instant, to its anchor.

    No row of a chain is recorded earlier than the one before it. How much earlier the one before
    was, and by how much the clock of the anchor is behind those of the writers, is tried: a second
    as a rule; where clocks differ by more, or the chain rested, it is read further.

    Raises:
        UnprovenHistoryError: rows of it are missing.
    """
    values = {"shard": row["shard"], "first": row["place"], "last": row["anchor"]}
    for reach in _REACHES:
        since = _NEVER if reach is None else recorded_at - reach
        until = _EVER if reach is None else max(row["anchored_at"], recorded_at) + reach
        (found,) = await ledger.fetch(_SQL["window"], {**values, "since": since, "until": until})
        before = _before(row, found["before"])
        if before is not None and found["rows"] == row["anchor"] - row["place"] + 1:
            return Segment(
                shard=row["shard"],
                first=row["place"],
                before=before,
                place=row["anchor"],
                link=bytes(row["link"]),
                anchored_at=row["anchored_at"].isoformat(),
                commitments=bytes(found["commitments"]),
            )
    raise UnprovenHistoryError(row["shard"], row["place"])


def _before(row: Mapping[str, Any], link: bytes | None) -> bytes | None:
    """Return the link of the row before the first, which may be dropped, but is anchored then."""
    if row["place"] == 1:
        return first_link(row["shard"])
    if row["before"] == row["place"] - 1:
        return bytes(row["before_link"])
    return None if link is None else bytes(link)


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _evidence_row(row: Mapping[str, Any]) -> EvidenceRow:
    data, decision = row["data"], row["decision"]
    fact = Fact(
        row["kind"],
        row["customer_id"],
        row["key"],
        row["event_id"],
        row["status"],
        row["source"],
        row["occurred"],
        None if data is None else data.encode(),
        decision,
    )
    text = content(row["place"], fact, row["recorded"])
    if decision is not None:
        text = text[: len(text) - len(decision)]
    stored = None if decision is None else bytes(decision)
    return EvidenceRow(row["shard"], text.decode(), stored, bytes(row["salt"]))
