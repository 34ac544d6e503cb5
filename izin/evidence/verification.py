"""Verify an archive of evidence: without the ledger, from its bytes and from published anchors.

What an archive says of each key, its machine form, is computed from its rows alone. Whoever
verifies computes it again, so that nothing in it can say anything else than the rows.

Each fault names its place. What is compared, in this order: the digests of the bytes and of each
file, İYS's own histories with their keys, each row with the chain that it stands in, each
acknowledgement with the digest of its batch, the ends of the chains with the anchors from outside,
the time stamps of İYS's daily files with the hashes that they are of, and what is said of the rows
with the rows. What it cannot show: that a row of the recipient was left out (whoever doubts that
has the whole ledger verified, ``izin ledger verify``), that a line is of the daily file whose hash
İYS states (the whole file shows that), and that an answer came from İYS, which signs none.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from izin.consent import Channel, ConsentKey, RecipientType, RecordedKey, Status, is_of_citizens
from izin.evidence import chain, daily_files, iys_history
from izin.evidence.chain import Anchors, Segment, segments_of
from izin.evidence.container import (
    LIST,
    UnreadableEvidenceError,
    dumped,
    loaded,
    packed,
    refuse_large,
    unpacked,
)
from izin.evidence.daily_files import WRONG, DailyLines, TimestampCheck, check_with, shown_in
from izin.evidence.rows import (
    UNREADABLE,
    Batches,
    EvidenceRow,
    Fact,
    fact_of,
    is_digest,
    unproven_deliveries,
)
from izin.evidence.summary import summary_of

HEADER, ROWS, DELIVERIES, CHAIN = "header.json", "rows.json", "deliveries.json", "chain.json"
DAILY, COMMITMENTS = "daily-files.json", "commitments.bin"
REPORT, SUMMARY = "evidence.json", "ozet.html"
PROVEN, UNPROVEN, NOT_RECOMPUTED = 0, 1, 6
"""Exit codes of a verification. The last one: nothing is wrong with the rows, and what is said of
them was not computed again."""
_MOST_KEYS = len(Channel) * len(RecipientType)
_SHAPELESS = (
    *(KeyError, TypeError, ValueError, AttributeError),
    *(OverflowError, RecursionError),
)
"""What JSON of another shape than any archive has, or with other numbers, ends with."""
_FILES = frozenset({HEADER, ROWS, DELIVERIES, CHAIN, COMMITMENTS, REPORT, SUMMARY, LIST})
"""What every archive has; ``DAILY`` only one with lines of daily files."""
FORMAT = 5
"""Of the archive. It rises with every change of what is computed from the rows: a release that
computes otherwise verifies older archives without these files."""
RECEIPTS = "receipt/"
"""How the keys of requests to the gate begin, which name nobody."""


def _key(
    key: str, facts: Sequence[Fact], sent: Sequence[Mapping[str, Any]], at: datetime
) -> dict[str, Any]:
    parsed = ConsentKey.parse(key)
    recipient_type = str(parsed.recipient_type)
    then = state_at(recipient_type, facts, until=at)
    return {
        "key": key,
        "channel": str(parsed.channel),
        "recipient_type": recipient_type,
        "then": then,
        "latest": state_at(recipient_type, facts),
        "consents": _consents(facts, then),
        "calls": _calls(facts),
        "iys_history": history_at_iys(key, facts),
        "receipts": [fact for fact in facts if fact["kind"] == "receipt"],
        "deliveries": list(sent),
        "entries": list(facts),
    }


def state_at(
    recipient_type: str, facts: Iterable[Fact], *, until: datetime | None = None
) -> dict[str, Any]:
    """Return what stands of one key, here and at İYS, and whether a message may be sent.

    By those of its ``facts``, in the order of their recording, that were recorded by ``until``;
    None: by all of them.
    """
    key, known_at, unreadable = RecordedKey(), None, 0
    for fact in facts:
        if until is None or datetime.fromisoformat(fact["recorded_at"]) <= until:
            key.add(fact)
            known_at = fact["recorded_at"]
            unreadable += fact["kind"] == UNREADABLE
    desired, shown = key.state.desired, key.state.registration
    answer = key.state.permission(RecipientType(recipient_type))
    return {
        "known_at": known_at,
        "unreadable": unreadable,
        "desired": desired
        and {
            "status": str(desired.status),
            "effective_at": _text(desired.effective_at),
            "origin_rank": int(desired.origin_rank),
            "event_id": desired.event_id,
            "source": desired.source,
            "consent_date": _text(desired.consent_date),
        },
        "registered": {
            "status": str(shown.value),
            "creation_date": _text(shown.creation_date),
            "consent_date": _text(shown.consent_date),
            "source": shown.source,
            "transaction_id": shown.transaction_id,
            "seen_at": _text(shown.verified_at),
            "path": shown.verified_by,
        },
        "may_send": answer.may_send,
        "reason": str(answer.reason),
    }


def history_at_iys(key: str, facts: Sequence[Fact]) -> dict[str, Any] | None:
    """Return İYS's own history of a key, as it last answered it, beside ours in ``facts``; None:
    it was not asked.
    """
    answers = [fact for fact in facts if iys_history.is_answer(fact["kind"], fact["data"])]
    if not answers:
        return None
    until = datetime.fromisoformat(answers[-1]["recorded_at"])
    then = state_at(str(ConsentKey.parse(key).recipient_type), facts, until=until)
    return iys_history.compared(answers[-1], facts, held=then["registered"]["status"])


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _consents(facts: Iterable[Fact], then: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each consent (ONAY) that was given, with its notice and evidence, and who has to prove
    it: for one given through İYS not the provider.
    """
    found = []
    desired = then["desired"] or {}
    for fact in facts:
        if fact["kind"] != "decision" or fact["data"]["event"]["status"] != Status.ONAY:
            continue
        event = fact["data"]["event"]
        through_iys = is_of_citizens(event.get("source")) and "iys" in event
        found.append(
            {
                "event_id": event["event_id"],
                "effective_at": fact["data"]["effective_at"],
                "source": event.get("source"),
                "origin": event.get("origin"),
                "actor": event.get("actor"),
                "received_at": event.get("received_at"),
                "notice_version": event.get("notice_version"),
                "evidence": event.get("evidence", {}),
                "evidence_hash": event.get("evidence_hash"),
                "through_iys": through_iys,
                "burden_of_proof": "iys" if through_iys else "provider",
                "recorded_at": fact["recorded_at"],
                "stood_then": (desired.get("event_id"), desired.get("status"))
                == (event["event_id"], Status.ONAY),
                "shard": fact["shard"],
                "place": fact["place"],
            }
        )
    return found


def _calls(facts: Iterable[Fact]) -> list[dict[str, Any]]:
    """Return each call to İYS about the key, with İYS's answer."""
    calls: dict[tuple[Any, str | None], dict[str, Any]] = {}
    for fact in facts:
        if fact["kind"] not in {"call", "answer"}:
            continue
        data = fact["data"]
        place = data["submission"], fact["status"]
        call = calls.setdefault(
            place, {"submission": data["submission"], "status": fact["status"], "answers": []}
        )
        if fact["kind"] == "call":
            call |= {
                "sent_at": fact["occurred_at"],
                "attempt": data["attempt"],
                "in_batch": data["kind"] == "batch",
                "consent_date": data["consent_date"],
                "source": data["source"],
            }
        else:
            names = ("verdict", "code", "how", "request_id", "sub_request_id", "transaction_id")
            call["answers"].append(
                {name: data.get(name) for name in (*names, "creation_date")}
                | {"answered_at": fact["occurred_at"]}
            )
    return list(calls.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an archive is made of; all else of it is computed."""

    header: Mapping[str, Any]
    rows: Sequence[EvidenceRow]
    batches: Batches
    segments: Sequence[Segment]
    daily_files: Sequence[DailyLines] = ()

    def packed(self) -> bytes:
        """Return the archive; raises UnreadableEvidenceError where a verifier would refuse it."""
        report = self.report()
        proofs = {
            HEADER: dumped(self.header),
            ROWS: dumped([row.to_json() for row in self.rows]),
            DELIVERIES: dumped(self.batches.to_json()),
            CHAIN: dumped([segment.to_json() for segment in self.segments]),
        }
        if self.daily_files:
            proofs[DAILY] = dumped([daily_file.to_json() for daily_file in self.daily_files])
        for name, content in proofs.items():
            refuse_large(name, content)
        says = {SUMMARY: summary_of(report), REPORT: dumped(report)}
        return packed(
            {**says, **proofs, COMMITMENTS: b"".join(one.commitments for one in self.segments)}
        )

    def report(self) -> dict[str, Any]:
        """Return what is in ``evidence.json``: what it says; raises UnreadableEvidenceError."""
        facts = [fact_of(row) for row in self.rows if not is_digest(row)]
        facts.sort(key=lambda one: (one["recorded_at"], one["shard"], one["place"]))
        sent = [one.fields for one in self.batches.rows]
        keys = [str(one) for one in self.header["keys"]]
        shown = shown_in(facts) if self.daily_files else {}
        return {
            "format": FORMAT,
            "header": self.header,
            "keys": [
                _key(
                    key,
                    [fact for fact in facts if fact["key"] == key],
                    [one for one in sent if one["key"] == key],
                    datetime.fromisoformat(self.header["at"]),
                )
                for key in keys
            ],
            "daily_files": [daily_file.report(keys, shown) for daily_file in self.daily_files],
            "requests": [one for one in facts if one["key"].startswith(RECEIPTS)],
            "chain": [
                {
                    "shard": segment.shard,
                    "place": segment.place,
                    "link": segment.link.hex(),
                    "anchored_at": segment.anchored_at,
                }
                for segment in self.segments
            ],
        }

    def misplaced(self) -> list[str]:
        """Return what of it does not belong into an archive with its header: of another recipient,
        brand or customer.
        """
        keys = [str(one) for one in self.header["keys"]]
        whose = (self.header["recipient"], self.header["brand"]["code"])
        parsed = map(ConsentKey.parse, keys)
        foreign = sum((key.recipient, key.brand_code) != whose for key in parsed)
        faults = [f"{foreign} keys are not of the recipient and the brand"] if foreign else []
        faults += [
            f"row {columns.place} of shard {row.shard} is of another key"
            for row in self.rows
            for columns in [row.columns]
            if columns.key not in keys
            and not columns.key.startswith(RECEIPTS)
            and not is_digest(row)
        ]
        faults += [
            f"row {columns.place} of shard {row.shard} has an answer of İYS that is no history of "
            "its key"
            for row in self.rows
            for columns in [row.columns]
            if iys_history.is_answer(columns.kind, columns.data)
            and iys_history.movements_in(columns.key, columns.data) is None
        ]
        return [*faults, *daily_files.misplaced(self.daily_files, keys)]

    def unproven(self) -> list[str]:
        """Return what is wrong with the proofs that it brings."""
        faults = chain.unproven(self.rows, self.segments)
        faults += unproven_deliveries(self.batches, self.rows)
        return [*faults, *daily_files.unproven(self.daily_files)]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDailyFile:
    """What was found of the lines of one daily file."""

    day: str
    hash_value: str
    """İYS's SHA-384 of the whole file, in hex."""
    lines: int
    in_history: int
    """How many of the lines stand in verified rows of the history too."""
    timestamp: str
    """``verified``, ``unverified``, ``wrong`` or ``missing``, by the roots that were brought."""
    timestamped_at: datetime | None
    note: str | None
    """Why the time stamp is wrong, or what its verification needs."""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return (
            f"daily file {self.day}: {self.in_history} of {self.lines} lines stand in the history "
            f"too; time stamp of its hash {self.timestamp}{note}"
        )


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
    daily_files: tuple[VerifiedDailyFile, ...] = ()
    is_computed: bool = False
    """Whether the report and the summary were computed again from the rows."""
    faults: tuple[str, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether nothing is wrong, every row leads to an anchor from outside, and report and
        summary are what follows from the rows.
        """
        return self.exit_code == PROVEN

    @property
    def exit_code(self) -> int:
        """The exit code that says so."""
        if self.faults or not self.anchors:
            return UNPROVEN
        return PROVEN if self.is_computed else NOT_RECOMPUTED

    def lines(self) -> list[str]:
        """Return the result in words, a line each; no recipient is among them."""
        lines = [f"fault: {fault}" for fault in self.faults]
        lines += map(str, self.daily_files)
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
                f"not recomputed: the archive says format {self.header.get('format')!r}, and this "
                f"release computes format {FORMAT}; {REPORT} and {SUMMARY} may say anything"
            )
        return lines


def verify(
    archive: bytes, anchors: Anchors | None, check: TimestampCheck | None = None
) -> VerifiedEvidence:
    """Verify ``archive``, with ``anchors`` from outside; None: its proofs are not compared.

    ``check`` checks time stamps; None: against no trusted roots.
    """
    sha256 = hashlib.sha256(archive).hexdigest()
    try:
        files, faults = unpacked(archive)
        evidence = _read(files)
        is_computed = evidence.header.get("format") == FORMAT
        faults += evidence.misplaced()
        faults += evidence.unproven()
        report = evidence.report()
        listed = _daily_files(evidence, report, check or check_with(None))
        faults += [
            f"the time stamp of the daily file of {one.day} is wrong: {found.note}"
            for one, found in zip(evidence.daily_files, listed, strict=True)
            if found.timestamp == WRONG and one.timestamp_state != WRONG  # and not called so
        ]
        if anchors is not None:
            faults += chain.unanchored(evidence.segments, anchors)
        if is_computed:
            faults += [
                f"{name} says something else than the rows of the history"
                for name, content in {REPORT: dumped(report), SUMMARY: summary_of(report)}.items()
                if files[name] != content
            ]
    except UnreadableEvidenceError as error:
        return VerifiedEvidence(sha256=sha256, faults=(str(error),))
    except _SHAPELESS as error:
        what = f"the archive has contents that none has ({type(error).__name__})"
        return VerifiedEvidence(sha256=sha256, faults=(what,))
    return VerifiedEvidence(
        sha256=sha256,
        header=evidence.header,
        rows=len(evidence.rows),
        deliveries=len(evidence.batches.rows),
        anchors=0 if anchors is None else len(evidence.segments),
        daily_files=listed,
        is_computed=is_computed,
        faults=tuple(dict.fromkeys(faults)),
    )


def _read(files: Mapping[str, bytes]) -> Evidence:
    """Return what is in ``files``; raises UnreadableEvidenceError."""
    others = (files.keys() - {DAILY}) ^ _FILES
    if others:
        names = ", ".join(sorted(others))
        raise UnreadableEvidenceError(f"the archive has other files than it must: {names}")
    header = loaded(HEADER, files[HEADER])
    if len(set(header["keys"])) != len(header["keys"]) or len(header["keys"]) > _MOST_KEYS:
        raise UnreadableEvidenceError(f"{HEADER} has more keys than a recipient has of a brand")
    return Evidence(
        header=header,
        rows=[EvidenceRow.from_json(one) for one in loaded(ROWS, files[ROWS])],
        batches=Batches.from_json(loaded(DELIVERIES, files[DELIVERIES])),
        segments=segments_of(loaded(CHAIN, files[CHAIN]), files[COMMITMENTS]),
        daily_files=[DailyLines.from_json(one) for one in loaded(DAILY, files.get(DAILY, b"[]"))],
    )


def _daily_files(
    evidence: Evidence, report: Mapping[str, Any], check: TimestampCheck
) -> tuple[VerifiedDailyFile, ...]:
    """Return what is found of the daily files, by the rows and by ``check``."""
    return tuple(
        VerifiedDailyFile(
            day=one.day,
            hash_value=one.hash_value,
            lines=len(one.lines),
            in_history=sum(bool(line["entries"]) for line in said["lines"]),
            timestamp=timestamp.state,
            timestamped_at=timestamp.at,
            note=timestamp.note,
        )
        for one, said in zip(evidence.daily_files, report["daily_files"], strict=True)
        for timestamp in [check(one.timestamp_reply, one.hash_value)]
    )
