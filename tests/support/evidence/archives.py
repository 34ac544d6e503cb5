"""Evidence of a recipient for tests: rows chained among others', acknowledgements, anchors."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from izin.consent import decide
from izin.evidence.chain import Segment
from izin.evidence.daily_files import DailyLines
from izin.evidence.rows import Batches, DeliveryAcknowledgement, EvidenceRow, first_link, next_link
from izin.evidence.verification import FORMAT, Evidence
from izin.ledger.db import microseconds
from izin.schemas.codec import Codec
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    a_key,
    an_event,
    an_iys_origin,
    as_admitted,
    usual,
)

KEY = str(a_key())
MINUTE = timedelta(minutes=1)
SHARD = 3
RECEIPT = "019d1f5e-0000-7000-8000-000000000001"


def noise(seed: str) -> bytes:
    """Return 32 bytes in place of random ones, the same for each run."""
    return hashlib.sha256(seed.encode()).digest()


def a_row(
    place: int, kind: str, data: object, *, at: datetime = NOON, **columns: object
) -> EvidenceRow:
    """Return a row of the history that was recorded a second after it happened."""
    fields = {"key": KEY, "event_id": None, "status": None, "source": f"{kind}/{place}"} | columns
    occurred = microseconds(at)
    columns = [
        place,
        kind,
        CUSTOMER,
        fields["key"],
        fields["event_id"],
        fields["status"],
        fields["source"],
        occurred,
        occurred + 1_000_000,
    ]
    said = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    text = f"{json.dumps(columns, ensure_ascii=False)[:-1]}, {said}]"
    return EvidenceRow(SHARD, text, None, noise(f"salt {place}")[:16])


def a_decision_row(place: int, *, at: datetime = NOON, **event: object) -> EvidenceRow:
    """Return the row of a decision on `an_event` with these fields."""
    given = {"consent_date": at, "received_at": at + timedelta(seconds=2), **event}
    admitted = as_admitted(an_event(**given), at + timedelta(seconds=3))
    record = a_decision_record(decide(None, admitted))
    row = a_row(place, "decision", None, at=at, source=None)
    return EvidenceRow(SHARD, row.text, Codec().encode("Decision", record), row.salt)


def a_history() -> list[EvidenceRow]:
    """Return the rows of a consent that was registered, asked about, and ended at İYS."""
    call = {
        "submission": 7,
        "kind": "single",
        "attempt": 1,
        "consent_date": NOON.isoformat(),
        "source": "HS_WEB",
    }
    answer = {
        "submission": 7,
        "how": "add",
        "verdict": "success",
        "code": None,
        "request_id": "request-7",
        "sub_request_id": None,
        "transaction_id": "a" * 64,
        "creation_date": (NOON + 2 * MINUTE).isoformat(),
    }
    asked = {
        "message_class": "commercial",
        "campaign": "bahar",
        "retailer_code": None,
        "asked_by": "kampanya",
        "as_of": (NOON + 5 * MINUTE).isoformat(),
    }
    reply = {"index": 0, "may_send": True, "reason": "registered", "basis": None}
    listed = {"brand_code": BRAND, "type": "MESAJ", "recipients": 1, "reasons": {"registered": 1}}
    about = {"event_id": "event-1", "status": "ONAY"}
    evidence = {"ip": "192.0.2.1", "form": "Kayıt <formu> & onay"}
    left = {
        "event_id": "event-2",
        "status": "RET",
        "source": "IYS_WEB",
        "origin": "iys",
        "iys": an_iys_origin(
            creation_date=NOON + 60 * MINUTE,
            transaction_id="b" * 64,
            observed_at=NOON + 60 * MINUTE + timedelta(seconds=1),
        ),
    }
    return [
        a_decision_row(2, notice_version="2026-1", evidence=evidence),
        a_row(4, "call", call, at=NOON + MINUTE, **about),
        a_row(5, "answer", answer, at=NOON + 2 * MINUTE, **about),
        a_row(
            6,
            "delivery",
            {"topic": "permissions", "partition": 1, "offset": 5},
            at=NOON + 3 * MINUTE,
        ),
        a_row(8, "receipt", {**asked, **reply, "receipt_id": RECEIPT}, at=NOON + 5 * MINUTE),
        a_row(9, "receipt", {**asked, **listed}, at=NOON + 5 * MINUTE, key=f"receipt/{RECEIPT}"),
        a_decision_row(12, at=NOON + 60 * MINUTE, **left),
    ]


def acknowledged(at: datetime, *, batch: int = 4) -> tuple[Batches, EvidenceRow]:
    """Return what a subscriber acknowledged among others' records, and the row that proves it."""
    values = [
        *(batch, 1, 1, CUSTOMER, "consent.opted-out", "consent-opt-outs", 0, 9, "msg_9", KEY),
        *(1, 200, microseconds(at)),
    ]
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    one = DeliveryAcknowledgement(text, noise("salt")[:16], "sms")
    commitments = (noise("0").hex(), one.commitment.hex(), noise("2").hex())
    digest = hashlib.sha256(b"".join(map(bytes.fromhex, commitments))).hexdigest()
    data = {"batch": batch, "rows": 3, "digest": digest}
    row = a_row(14, "delivery", data, at=at, key="deliveries", source=f"deliveries/{batch}")
    return Batches([one], {batch: commitments}), row


def a_segment(rows: Sequence[EvidenceRow], *, first: int, end: int) -> Segment:
    """Return the segment of a chain with ``rows`` among others', up to an anchor at ``end``."""
    ours = {row.columns.place: row.commitment for row in rows}
    link = first_link(SHARD)
    for place in range(1, first):
        link = next_link(link, noise(f"row {place}"))
    before, commitments = link, []
    for place in range(first, end + 1):
        commitments.append(ours.get(place) or noise(f"row {place}"))
        link = next_link(link, commitments[-1])
    return Segment(
        shard=SHARD,
        first=first,
        before=before,
        place=end,
        link=link,
        anchored_at=(NOON + 90 * MINUTE).isoformat(),
        commitments=b"".join(commitments),
    )


def a_header(**overrides: object) -> dict[str, Any]:
    """Return who asked for the evidence, of whom and why."""
    return usual(
        overrides,
        format=FORMAT,
        recipient=PHONE,
        brand={"code": BRAND, "iys_code": BRAND, "name": "Örnek <Marka>"},
        customer={"id": CUSTOMER, "name": "Örnek A.Ş."},
        keys=[KEY],
        at=(NOON + 30 * MINUTE).isoformat(),
        made_at=(NOON + 100 * MINUTE).isoformat(),
        made_by="ada@example.com",
        reason="şikâyet 2026/1",
    )


def a_daily_file(**overrides: object) -> DailyLines:
    """Return the file of a day with the opt-out of `a_history`, without a time stamp."""
    line = f"2026-03-02 13:00:00,{'b' * 64},{PHONE},BIREYSEL,MESAJ,RET,,IYS_WEB"
    fields: dict[str, Any] = {
        "day": "2026-03-02",
        "hash_value": hashlib.sha384(b"a day").hexdigest(),
        "fetched_at": (NOON + 18 * 60 * MINUTE).isoformat(),
        "total": 1000,
        "erased": 0,
        "integrity": "ok",
        "agreement": "differs",
        "own_hash": hashlib.sha384(b"our day").hexdigest(),
        "only_at_iys": 1,
        "only_here": 0,
        "timestamp_state": "missing",
        "timestamped_at": None,
        "timestamp_reply": None,
        "lines": (line,),
    }
    merged: dict[str, Any] = fields | overrides
    return DailyLines(**merged)


def some_evidence(**header: object) -> Evidence:
    """Return evidence that is whole."""
    batches, digest = acknowledged(NOON + 61 * MINUTE)
    rows = [*a_history(), digest]
    return Evidence(
        header=a_header(**header),
        rows=rows,
        batches=batches,
        segments=[a_segment(rows, first=2, end=16)],
        daily_files=[a_daily_file()],
    )


def anchors_for(evidence: Evidence) -> Mapping[tuple[int, int], str]:
    """Return the anchors that were published of the chains of ``evidence``."""
    return {(one.shard, one.place): one.link.hex() for one in evidence.segments}
