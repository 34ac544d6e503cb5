"""Verify an archive of evidence: without the ledger, from its bytes and from published anchors.

Each fault names its place. What is compared, in this order: the digests of the bytes and of each
file, each row with the chain that it stands in, each acknowledgement with the digest of its batch,
the ends of the chains with the anchors from outside, and what is said of the rows with the rows.
What it cannot show: that a row of the recipient was left out. Whoever doubts that has the whole
ledger verified (``izin ledger verify``).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from izin.evidence import chain, deliveries
from izin.evidence.anchors import Anchors
from izin.evidence.chain import Segment, segments_of
from izin.evidence.container import LIST, dumped, loaded, packed, unpacked
from izin.evidence.deliveries import Batches
from izin.evidence.errors import UnreadableEvidenceError
from izin.evidence.report import FORMAT, misplaced, report_of
from izin.evidence.rows import EvidenceRow
from izin.evidence.summary import summary_of

HEADER, ROWS, DELIVERIES, CHAIN = "header.json", "rows.json", "deliveries.json", "chain.json"
COMMITMENTS, REPORT, SUMMARY = "commitments.bin", "evidence.json", "ozet.html"
_FILES = frozenset({HEADER, ROWS, DELIVERIES, CHAIN, COMMITMENTS, REPORT, SUMMARY, LIST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an archive is made of; all else of it is computed."""

    header: Mapping[str, Any]
    rows: Sequence[EvidenceRow]
    batches: Batches
    segments: Sequence[Segment]

    def packed(self) -> bytes:
        """Return the archive."""
        report = report_of(self.header, self.rows, self.batches, self.segments)
        return packed(
            {
                SUMMARY: summary_of(report),
                REPORT: dumped(report),
                HEADER: dumped(self.header),
                ROWS: dumped([one.to_json() for one in self.rows]),
                DELIVERIES: dumped(self.batches.to_json()),
                CHAIN: dumped([one.to_json() for one in self.segments]),
                COMMITMENTS: b"".join(one.commitments for one in self.segments),
            }
        )

    def unproven(self) -> list[str]:
        """Return what is wrong with the proofs that it brings."""
        faults = chain.unproven(self.rows, self.segments)
        return [*faults, *deliveries.unproven(self.batches, self.rows)]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEvidence:
    """The result of a verification."""

    sha256: str
    """Of the archive: the history of the ledger names it, beside who made it and why."""
    header: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 0
    deliveries: int = 0
    anchors: int = 0
    """How many ends of chains were compared with anchors from outside."""
    is_computed: bool = False
    """Whether the report and the summary were computed again from the rows."""
    faults: tuple[str, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether nothing is wrong, and every row leads to an anchor from outside."""
        return not self.faults and self.anchors > 0

    def lines(self) -> list[str]:
        """Return the result in words, a line each; no recipient is among them."""
        lines = [f"fault: {one}" for one in self.faults]
        lines += [
            f"sha256 {self.sha256}",
            (
                f"{self.rows} rows and {self.deliveries} deliveries verified, "
                f"{self.anchors} anchors compared: {len(self.faults) or 'no'} faults"
            ),
        ]
        if not self.faults and not self.anchors:
            lines.append("not proven: bring anchors that were published (--anchors FILE)")
        if not self.faults and not self.is_computed:
            lines.append(
                f"{REPORT} and {SUMMARY} are as they were made, and were not computed again: "
                "they are of another release"
            )
        return lines


def verify(archive: bytes, anchors: Anchors | None) -> VerifiedEvidence:
    """Verify ``archive``, with ``anchors`` from outside; None: its proofs are not compared."""
    sha256 = hashlib.sha256(archive).hexdigest()
    try:
        files, faults = unpacked(archive)
        evidence = _read(files)
        is_computed = evidence.header.get("format") == FORMAT
        faults += misplaced(evidence.header, evidence.rows)
        faults += evidence.unproven()
        if anchors is not None:
            faults += chain.unanchored(evidence.segments, anchors)
        if is_computed:
            faults += _otherwise(files, evidence)
    except UnreadableEvidenceError as error:
        return VerifiedEvidence(sha256=sha256, faults=(str(error),))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # A file is JSON of another shape than any archive has.
        what = f"the archive has contents that none has ({type(error).__name__})"
        return VerifiedEvidence(sha256=sha256, faults=(what,))
    return VerifiedEvidence(
        sha256=sha256,
        header=evidence.header,
        rows=len(evidence.rows),
        deliveries=len(evidence.batches.rows),
        anchors=0 if anchors is None else len(evidence.segments),
        is_computed=is_computed,
        faults=tuple(dict.fromkeys(faults)),
    )


def _read(files: Mapping[str, bytes]) -> Evidence:
    """Return what is in ``files``; raises UnreadableEvidenceError."""
    if files.keys() != _FILES:
        names = ", ".join(sorted(files.keys() ^ _FILES))
        raise UnreadableEvidenceError(f"the archive has other files than it must: {names}")
    return Evidence(
        header=loaded(HEADER, files[HEADER]),
        rows=[EvidenceRow.from_json(one) for one in loaded(ROWS, files[ROWS])],
        batches=Batches.from_json(loaded(DELIVERIES, files[DELIVERIES])),
        segments=segments_of(loaded(CHAIN, files[CHAIN]), files[COMMITMENTS]),
    )


def _otherwise(files: Mapping[str, bytes], evidence: Evidence) -> list[str]:
    """Return the files that say something else than the rows."""
    report = report_of(evidence.header, evidence.rows, evidence.batches, evidence.segments)
    computed = {REPORT: dumped(report), SUMMARY: summary_of(report)}
    return [
        f"{name} says something else than the rows of the history"
        for name, content in computed.items()
        if files[name] != content
    ]
