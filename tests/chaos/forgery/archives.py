"""Genuine archives of generated histories, and forgeries of them by whoever has one: every digest
of the archive, its report and its summary are computed anew wherever that is possible.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any

from izin.evidence import verification
from izin.evidence.chain import Segment
from izin.evidence.container import LIST, dumped, packed, unpacked
from izin.evidence.rows import EvidenceRow
from izin.evidence.verification import (
    CHAIN,
    COMMITMENTS,
    DAILY,
    DELIVERIES,
    HEADER,
    REPORT,
    ROWS,
    SUMMARY,
    Evidence,
    VerifiedEvidence,
    verify,
)
from izin.ledger.db import microseconds
from izin.ledger.history import SALT, digest_fact
from izin.ledger.webhooks.deliveries import DeliveryReceipt, commitment_of_delivery
from izin.schemas.codec import Codec
from tests.chaos.forgery.copies import OTHERS, HistoryCopy, Row, archive_of, source_of, stuffing
from tests.chaos.forgery.forger import NothingToForgeError
from tests.support.builders import CUSTOMER, NOON, PHONE
from tests.support.evidence.archives import KEY, a_daily_file, noise

Links = Mapping[tuple[int, int], str]
COLUMNS = (
    *("place", "kind", "customer", "key", "event", "status", "source", "occurred", "recorded"),
    "data",
)
"""Of the text of a row."""


@dataclass(frozen=True, slots=True)
class GenuineArchive:
    """An archive of a history, with the anchors that its verifier holds."""

    evidence: Evidence
    anchors: Links

    def files(self) -> dict[str, bytes]:
        """Return its files, without the list of their digests."""
        files, _ = unpacked(self.evidence.packed())
        del files[LIST]
        return files


def genuine(random: Random) -> GenuineArchive:
    """Return an archive of a history that was never in a ledger: of any size, from any cut on."""
    source, history = source_of(random, NOON), HistoryCopy()
    source.consents.clear()
    shards = random.sample(range(16), random.randrange(1, 4))
    if random.random() < 0.3:
        history.cuts = {one: (random.randrange(1, 2**40), noise("cut")) for one in shards}
    for _ in range(random.choice((3, 8, 20, 60))):
        history.append(random, random.choice(shards), source.one())
    history.append(random, shards[0], source.one(KEY))
    if random.random() < 0.6:
        _deliver(random, history, shards[0], microseconds(source.now))
    anchors = {shard: history.heads[shard] for shard in shards if shard in history.heads}
    at = (NOON + timedelta(minutes=random.randrange(600))).isoformat()
    made = archive_of(history, {shard: place for shard, (place, _) in anchors.items()}, at=at)
    if random.random() < 0.3:
        made = replace(made, daily_files=[a_daily_file(lines=tuple(_lines(made.rows)))])
    links = {(shard, place): link.hex() for shard, (place, link) in anchors.items()}
    return GenuineArchive(made, links)


def _lines(rows: Iterable[EvidenceRow]) -> Iterator[str]:
    """Yield lines of a daily file that say what rows say, and one of which no row knows."""
    yield from a_daily_file().lines
    for columns in (row.columns for row in rows):
        if columns.kind == "observation" and columns.key == KEY:
            said = columns.data
            before = f"{said['creation_date']},{said['transaction_id']},{PHONE},BIREYSEL,MESAJ"
            yield f"{before},{columns.status},{said['consent_date']},{said['source']}"


def _deliver(random: Random, history: HistoryCopy, shard: int, at: int) -> None:
    """Add a batch of acknowledgements of the recipient and of others."""
    receipts = [
        DeliveryReceipt(
            *(1, CUSTOMER, "consent.opted-out", "consent-opt-outs", 0, number, "msg", key),
            *(1, 200, at, random.choice((None, 7))),
        )
        for number, key in enumerate((KEY, *OTHERS[: random.randrange(3)]))
    ]
    for place, one in enumerate(receipts):
        row: Row = {**one._asdict(), "batch": 9, "place": place, "salt": random.randbytes(SALT)}
        history.deliveries.append({**row, "commitment": commitment_of_delivery(row)})
    digests = [row["commitment"] for row in history.deliveries]
    history.append(random, shard, digest_fact(9, digests, len(digests), at))


def is_found(forged: bytes, archive: GenuineArchive) -> bool:
    """Whether a verifier who holds the anchors does not take an archive for proven: of a line of a
    daily file the history alone vouches, so that it says how many stand there too.
    """
    found = verify(forged, archive.anchors)
    return not found.is_proven or _vouched(found) < _vouched(
        verify(archive.evidence.packed(), archive.anchors)
    )


def _vouched(found: VerifiedEvidence) -> int:
    return sum(one.in_history for one in found.daily_files)


@dataclass(slots=True)
class ArchiveForger:
    """Changes an archive."""

    random: Random
    archive: GenuineArchive

    @property
    def evidence(self) -> Evidence:
        """What the archive is made of."""
        return self.archive.evidence

    def a_row(self, accepts: Callable[[EvidenceRow], bool] = lambda _: True) -> int:
        """Return the index of a row."""
        found = [index for index, row in enumerate(self.evidence.rows) if accepts(row)]
        if not found:
            raise NothingToForgeError
        return self.random.choice(found)

    def with_row(self, index: int, *rows: EvidenceRow, is_chained: bool | None = None) -> bytes:
        """Return the archive with other rows in the place of one; the chain follows, or not."""
        old, every = self.evidence.rows[index], [*self.evidence.rows]
        every[index : index + 1] = rows
        segments = self.evidence.segments
        is_chained = self.random.random() < 0.5 if is_chained is None else is_chained
        if is_chained:
            segments = [self._rechained(one, old, rows) for one in segments]
        return self.made(rows=every, segments=segments)

    def made(self, **changes: Any) -> bytes:  # noqa: ANN401  # any part of it
        """Return the archive with changes; of what cannot be read the old report stays."""
        forged = replace(self.evidence, **changes)
        try:
            return forged.packed()
        except Exception:  # noqa: BLE001  # a forger is stopped by nothing
            listed = dumped([one.to_json() for one in forged.daily_files])
            parts = {
                HEADER: dumped(forged.header),
                ROWS: dumped([one.to_json() for one in forged.rows]),
                DELIVERIES: dumped(forged.batches.to_json()),
                CHAIN: dumped([one.to_json() for one in forged.segments]),
                COMMITMENTS: b"".join(one.commitments for one in forged.segments),
            }
            daily = {DAILY: listed} if forged.daily_files else {}
            return packed({**self.archive.files(), **parts, **daily})

    def _rechained(self, one: Segment, old: EvidenceRow, new: tuple[EvidenceRow, ...]) -> Segment:
        """Return a segment whose commitments and links follow from the ``new`` rows."""
        place = old.columns.place
        if one.shard != old.shard or not one.first <= place <= one.place:
            return one
        at = (place - one.first) * 32
        commitments = one.commitments[:at] + b"".join(row.commitment for row in new)
        commitments += one.commitments[at + 32 :]
        more = len(new) - 1
        changed = replace(one, commitments=commitments, place=one.place + more)
        if self.random.random() < 0.7:  # at the place of the anchor again
            changed = replace(changed, first=one.first - more, place=one.place)
        return replace(changed, link=self.random.choice((one.link, changed.end())))

    def text(self, name: str) -> bytes:
        """Change one column of a row's text."""
        at = COLUMNS.index(name)
        index = self.a_row()
        row = self.evidence.rows[index]
        columns = json.loads(row.text)
        old = columns[at]
        if isinstance(old, int):
            columns[at] += self.random.choice((-1, 1, 1_000_000))
        elif isinstance(old, dict):
            columns[at] = {**old, self.random.choice([*old, "x"]): "RET"}
        else:
            columns[at] = self.random.choice(("ONAY", "RET", "decision", KEY, "x"))
        if columns[at] == old:
            raise NothingToForgeError
        said = json.dumps(columns[-1], ensure_ascii=False, separators=(",", ":"))
        text = f"{json.dumps(columns[:-1], ensure_ascii=False)[:-1]}, {said}]"
        return self.with_row(index, EvidenceRow(row.shard, text, row.decision, row.salt))

    def decision(self) -> bytes:
        """Have a decision say the opposite."""
        index = self.a_row(lambda row: row.decision is not None)
        row = self.evidence.rows[index]
        record = Codec().decode("Decision", row.decision or b"")
        event = record["event"]
        status = "RET" if event["status"] == "ONAY" else "ONAY"
        changed = self.random.choice(({"status": status}, {"source": "HS_2015"}, {"actor": "x"}))
        stored = Codec().encode("Decision", {**record, "event": {**event, **changed}})
        return self.with_row(index, EvidenceRow(row.shard, row.text, stored, row.salt))

    def split(self) -> bytes:
        """Read the same bytes otherwise: move some between salt, text and decision."""
        index = self.a_row()
        row = self.evidence.rows[index]
        salt, text, stored = row.salt, row.text.encode(), row.decision or b""
        whole = salt + text + stored
        start = self.random.choice((0, 8, SALT - 1, SALT, SALT + 1, SALT + 20))
        ends = (SALT + len(text) - 1, SALT + len(text), SALT + len(text) + 1, len(whole))
        end = self.random.choice(ends)
        if (start, end) == (SALT, SALT + len(text)) and stored:
            raise NothingToForgeError
        middle, after = whole[start:end].decode(errors="surrogateescape"), whole[end:]
        try:
            middle.encode()
        except UnicodeEncodeError:
            raise NothingToForgeError from None
        left = after or self.random.choice((None, b""))
        if (start, middle, left) == (SALT, row.text, row.decision):
            raise NothingToForgeError
        return self.with_row(
            index, EvidenceRow(row.shard, middle, left, whole[:start]), is_chained=False
        )

    def stuffed(self) -> bytes:
        """Have a text that a customer put into the evidence of an event stand as a row."""
        row = self.evidence.rows[self.a_row(lambda row: b'"receipt"' in (row.decision or b""))]
        inner = stuffing(row.columns.place).encode()
        whole = row.salt + row.text.encode() + (row.decision or b"")
        before, found, after = whole.partition(inner)
        if not found:
            raise NothingToForgeError
        index = self.evidence.rows.index(row)
        forged = EvidenceRow(row.shard, inner.decode(), after, before)
        return self.with_row(index, forged, is_chained=False)

    def salted(self) -> bytes:
        """Give a row another salt."""
        index = self.a_row()
        row = self.evidence.rows[index]
        salt = self.random.randbytes(self.random.choice((SALT, SALT, SALT, 0, 15, 17)))
        return self.with_row(index, EvidenceRow(row.shard, row.text, row.decision, salt))

    def sharded(self) -> bytes:
        """Say that a row, or a segment, is of another chain."""
        if self.random.random() < 0.5:
            index = self.a_row()
            row = self.evidence.rows[index]
            other = EvidenceRow((row.shard + 1) % 16, row.text, row.decision, row.salt)
            return self.with_row(index, other, is_chained=False)
        first, *others = self.evidence.segments
        moved = (first.shard + self.random.randrange(1, 16)) % 16
        rows = [
            EvidenceRow(moved if row.shard == first.shard else row.shard, row.text, *parts)
            for row in self.evidence.rows
            for parts in [(row.decision, row.salt)]
        ]
        return self.made(rows=rows, segments=[replace(first, shard=moved), *others])

    def deleted(self) -> bytes:
        """Delete a row with its commitment."""
        return self.with_row(self.a_row(), is_chained=True)

    def inserted(self) -> bytes:
        """Insert a row, in the chain or beside it."""
        index = self.a_row()
        row = self.evidence.rows[index]
        double = EvidenceRow(row.shard, row.text, row.decision, self.random.randbytes(SALT))
        return self.with_row(index, row, double)

    def reordered(self) -> bytes:
        """Exchange the bytes of two rows in the chain."""
        one = self.random.choice(self.evidence.segments)
        count = len(one.commitments) // 32
        if count == 1:
            raise NothingToForgeError
        parts = [one.commitments[at : at + 32] for at in range(0, len(one.commitments), 32)]
        at, other = self.random.sample(range(count), 2)
        parts[at], parts[other] = parts[other], parts[at]
        changed = replace(one, commitments=b"".join(parts))
        rest = [each for each in self.evidence.segments if each is not one]
        return self.made(segments=[replace(changed, link=changed.end()), *rest])

    def chained(self) -> bytes:
        """Change where a segment begins, ends or leads, and its links with it."""
        one = self.random.choice(self.evidence.segments)
        rest = [each for each in self.evidence.segments if each is not one]
        changed = self.random.choice(
            (
                replace(one, first=one.first + 1, place=one.place + 1),
                replace(one, first=one.first + 1, commitments=one.commitments[32:]),
                replace(one, before=noise("x")),
                replace(one, link=noise("x")),
                replace(one, commitments=noise("x") + one.commitments[32:]),
            )
        )
        if self.random.random() < 0.7:
            changed = replace(changed, link=changed.end())
        if changed == one:
            raise NothingToForgeError
        return self.made(segments=[changed, *rest])

    def said(self) -> bytes:
        """Change the report or the summary, or both, and the digests."""
        files = self.archive.files()
        for name in self.random.choice(((REPORT,), (SUMMARY,), (REPORT, SUMMARY))):
            content = files[name]
            at = self.random.randrange(len(content))
            files[name] = content[:at] + self.random.choice((b"", b"RET ")) + content[at + 1 :]
            if files[name] == content:
                raise NothingToForgeError
        return packed(files)

    def formatted(self) -> bytes:
        """Say that another release computed the archive, whose summary lies."""
        files = self.archive.files()
        other = self.random.choice(
            (verification.FORMAT + 1, verification.FORMAT - 1, "2", None, 2.5, True)
        )
        header = json.loads(files[HEADER]) | {"format": other}
        files |= {HEADER: dumped(header), SUMMARY: b"<p>ONAY</p>"}
        if self.random.random() < 0.3:
            del header["format"]
            files[HEADER] = dumped(header)
        return packed(files)

    def headed(self) -> bytes:
        """Say that the archive is of another recipient, brand or key."""
        keys, other = self.evidence.header["keys"], OTHERS[0]
        changes = self.random.choice(
            (
                {"recipient": "+905550000002"},
                {"brand": {**self.evidence.header["brand"], "code": 100002}},
                {"keys": [other]},
                {"keys": [*keys, other]},
                {"keys": []},
            )
        )
        return self.made(header={**self.evidence.header, **changes})

    def daily(self) -> bytes:
        """Change a line of a daily file that stands in the history, or its time stamp."""
        files = self.evidence.daily_files
        if not files or not _vouched(verify(self.evidence.packed(), None)):
            raise NothingToForgeError
        first, *lines = files[0].lines
        at = self.random.randrange(len(lines))
        cells = lines[at].split(",")
        index = self.random.choice((0, 1, 5, 6, 7))
        cells[index] = {5: "ONAY" if cells[5] == "RET" else "RET"}.get(index, "2026-03-02 09:00:00")
        lines[at] = ",".join(cells)
        return self.made(daily_files=[replace(files[0], lines=(first, *lines))])

    def timestamped(self) -> bytes:
        """Claim a time stamp for a daily file, or line of another."""
        files = self.evidence.daily_files
        if not files:
            raise NothingToForgeError
        line = files[0].lines[0].replace("+905550000001", "+905550000002")
        changes: dict[str, Any] = self.random.choice(
            ({"timestamp_state": "verified"}, {"lines": (line,)}, {"timestamp_reply": b"0"})
        )
        return self.made(daily_files=[replace(files[0], **changes)])

    def acknowledged(self) -> bytes:
        """Change an acknowledgement, with its batch or without, or the batch alone."""
        batches = self.evidence.batches
        if not batches.rows:
            raise NothingToForgeError
        one = batches.rows[0]
        fields = json.loads(one.text)
        at = self.random.randrange(len(fields))
        old = fields[at]
        fields[at] = old + 1 if isinstance(old, int) else f"{old}x"
        changed = one._replace(text=json.dumps(fields, ensure_ascii=False, separators=(",", ":")))
        commitments = {number: [*some] for number, some in batches.commitments.items()}
        if self.random.random() < 0.7:
            number, place = json.loads(one.text)[:2]
            commitments[number][place] = changed.commitment.hex()
        if self.random.random() < 0.2:
            changed = one
            commitments[next(iter(commitments))].append("00" * 32)
        return self.made(batches=batches._replace(rows=[changed], commitments=commitments))


KINDS: dict[str, Callable[[ArchiveForger], bytes]] = {
    "deleted": ArchiveForger.deleted,
    "inserted": ArchiveForger.inserted,
    "re-ordered": ArchiveForger.reordered,
    "re-salted": ArchiveForger.salted,
    "re-split": ArchiveForger.split,
    "stuffed": ArchiveForger.stuffed,
    "re-sharded": ArchiveForger.sharded,
    "segment": ArchiveForger.chained,
    "decision": ArchiveForger.decision,
    "report or summary": ArchiveForger.said,
    "format": ArchiveForger.formatted,
    "header": ArchiveForger.headed,
    "daily line": ArchiveForger.daily,
    "daily file": ArchiveForger.timestamped,
    "acknowledgement": ArchiveForger.acknowledged,
    **{
        f"column {name}": lambda forger, name=name: forger.text(name)  # type: ignore[misc]
        for name in COLUMNS
    },
}
