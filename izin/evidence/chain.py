"""The chains of an archive: each row of it leads to an anchor, link by link.

A segment begins with one of the archive's rows and ends with the next anchor of its chain. Of the
rows between, which are others', it has the commitments alone: 32 salted bytes a row that open
nothing.

A verifier brings the anchors: heads of the history's chains that were published before. A line of
the anchor file, and a record of the topic ``ledger-anchors`` as JSON, both name a shard, a place
and the link there. Time stamps in the file are left to ``izin ledger verify``.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from izin.consent import SourceError
from izin.evidence.container import UnreadableEvidenceError
from izin.evidence.iys_history import is_answer
from izin.evidence.rows import EvidenceRow, next_link

Anchors = Mapping[tuple[int, int], str]
"""The link, in hexadecimal digits, by shard and place."""
WIDTH = 32
"""The bytes of a commitment, and of a link."""
_ROW = ("row", "İYS's own history in row")
"""What a row is called, and one with an answer of İYS."""
_NO_SEGMENT = "chain.json has an entry that is no segment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a chain, from its first row to the anchor at its last."""

    shard: int
    first: int
    before: bytes
    """The link of the row before the first."""
    place: int
    """Of the anchor."""
    link: bytes
    """Of the anchor."""
    anchored_at: str
    commitments: bytes
    """Of every row, in order."""

    def commitment(self, place: int) -> bytes:
        """Return the commitment of a row."""
        at = (place - self.first) * WIDTH
        return self.commitments[at : at + WIDTH]

    def end(self) -> bytes:
        """Return the link of the last row, computed from the first one on."""
        link, commitments = self.before, self.commitments
        for at in range(0, len(commitments), WIDTH):
            link = next_link(link, commitments[at : at + WIDTH])
        return link

    def to_json(self) -> dict[str, Any]:
        """Return it as ``chain.json`` has it; its commitments are in a file of their own."""
        return {
            "shard": self.shard,
            "first": self.first,
            "before": self.before.hex(),
            "place": self.place,
            "link": self.link.hex(),
            "anchored_at": self.anchored_at,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], commitments: memoryview) -> Self:
        """Return a segment of ``chain.json``, whose commitments come first in ``commitments``.

        Raises:
            UnreadableEvidenceError: the entry is none, or has fewer commitments than rows.
        """
        try:
            first, place = int(value["first"]), int(value["place"])
            count = place - first + 1
            found = cls(
                shard=int(value["shard"]),
                first=first,
                before=bytes.fromhex(value["before"]),
                place=place,
                link=bytes.fromhex(value["link"]),
                anchored_at=str(value["anchored_at"]),
                commitments=bytes(commitments[: max(count, 0) * WIDTH]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableEvidenceError(_NO_SEGMENT) from error
        if first < 1 or count < 1 or len(found.commitments) != count * WIDTH:
            raise UnreadableEvidenceError(_NO_SEGMENT)
        return found


def segments_of(values: Iterable[Mapping[str, Any]], commitments: bytes) -> list[Segment]:
    """Return the segments of ``chain.json``, with the commitments of all of them in their order;
    raises UnreadableEvidenceError.
    """
    found, left = [], memoryview(commitments)
    for value in values:
        one = Segment.from_json(value, left)
        found.append(one)
        left = left[len(one.commitments) :]
    if left:
        raise UnreadableEvidenceError("commitments.bin has more than the segments of chain.json")
    return found


def unproven(rows: Sequence[EvidenceRow], segments: Iterable[Segment]) -> list[str]:
    """Return what is wrong with the chains: each row must stand in a segment, with its commitment,
    and each segment must lead to its anchor.
    """
    left = defaultdict[int, dict[int, EvidenceRow]](dict)
    for row in rows:
        left[row.shard][row.columns.place] = row
    faults = []
    if sum(map(len, left.values())) != len(rows):
        faults.append("two rows have one place")
    for segment in segments:
        here = left[segment.shard]
        faults += [
            f"{_ROW[is_answer(row.columns.kind, row.columns.data)]} {place} of shard "
            f"{segment.shard} is not the one that was chained"
            for place in sorted(here.keys() & range(segment.first, segment.place + 1))
            for row in [here.pop(place)]
            if row.commitment != segment.commitment(place)
        ]
        if segment.end() != segment.link:
            faults.append(
                f"shard {segment.shard} from row {segment.first} does not lead to its anchor"
            )
    faults += [
        f"row {place} of shard {shard} stands in no segment of a chain"
        for shard, here in left.items()
        for place in here
    ]
    return faults


def unanchored(segments: Iterable[Segment], anchors: Anchors) -> list[str]:
    """Return which segments do not end at one of the ``anchors`` from outside."""
    faults = []
    for segment in segments:
        known = anchors.get((segment.shard, segment.place))
        if known is None:
            faults.append(
                f"the anchors given have none of shard {segment.shard} at row {segment.place}; "
                "they end too early or are of another ledger "
                f"({segment.anchored_at} was the anchor)"
            )
        elif known != segment.link.hex():
            faults.append(
                f"shard {segment.shard} up to row {segment.place} was rewritten since "
                f"{segment.anchored_at}: the anchor published then has another link"
            )
    return faults


def anchors_in(path: Path) -> dict[tuple[int, int], str]:
    """Return the anchors of a file, a JSON object in each line.

    A line that a crash cut off is skipped: the last one, or one that is repeated whole in the next.

    Raises:
        SourceError: naming the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as text; name a file of anchors") from error
    found = {}
    for number, (line, following) in enumerate(zip(lines, [*lines[1:], ""], strict=True), 1):
        if following.startswith(line) or number == len(lines):
            continue
        try:
            fields = json.loads(line)
            if "timestamp" in fields:
                continue
            place = int(fields["shard"]), int(fields["place"])
            found[place] = bytes.fromhex(fields["link"]).hex()
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"{path}, line {number} is no anchor; export them again: izin evidence anchors"
            ) from error
    return found


def anchors_of(files: Sequence[Path]) -> Anchors | None:
    """Return the anchors of ``files``; None where there are no files.

    Raises:
        SourceError: a line of one is no anchor.
    """
    if not files:
        return None
    return {place: link for file in files for place, link in anchors_in(file).items()}
