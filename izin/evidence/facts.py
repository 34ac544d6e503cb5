"""Rows of the history as facts: what each says, with its place on its chain.

What this release cannot read is a fact of the kind ``unreadable``: it is proven like any other, and
hides none.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from izin.evidence.rows import EvidenceRow, instant
from izin.schemas.codec import Codec, UndecodableError

UNREADABLE = "unreadable"
Fact = Mapping[str, Any]
"""What one row says: its columns by name, instants as ISO texts in UTC."""

_SHAPES = {
    "call": {"submission", "kind", "attempt", "consent_date", "source"},
    "answer": {"submission", "verdict", "how"},
    "outcome": {"outcome"},
    "delivery": {"topic", "partition", "offset"},
    "act": {"act", "by"},
    "breach": {"due_at"},
    "receipt": {"asked_by", "message_class", "campaign"},
    "bootstrap": {"origin", "source", "consent_date"},
}
"""What is read of each kind but decisions."""
_EVENT = (
    *("event_id", "status", "source", "consent_date", "received_at", "origin", "origin_ref"),
    *("actor", "cause", "import_id", "row", "notice_version", "evidence", "evidence_hash", "iys"),
)
_CONSENT = (
    *("status", "effective_at", "origin_rank", "event_id", "source", "consent_date"),
    *("latest_onay_at", "latest_ret_at"),
)
"""What is shown of a decision. Fields that later versions of the schema add are left out: an
archive says the same whichever release reads it."""


_NOTHING: Fact = {"kind": UNREADABLE, "data": {}}


@lru_cache(maxsize=1)
def _codec() -> Codec:
    return Codec()


def fact_of(row: EvidenceRow) -> Fact:
    """Return what ``row`` says; raises UnreadableEvidenceError."""
    columns = row.columns
    found: dict[str, Any] = {
        "shard": row.shard,
        "place": columns.place,
        "recorded_at": instant(columns.recorded),
        "occurred_at": instant(columns.occurred),
        "kind": columns.kind,
        "key": columns.key,
        "customer_id": columns.customer_id,
        "event_id": columns.event_id,
        "status": columns.status,
        "source": columns.source,
        "data": columns.data,
    }
    if columns.kind == "decision":
        return found | dict(_decided(row.decision) or _NOTHING)
    is_read = isinstance(columns.data, dict) and _SHAPES.get(columns.kind, set()) <= (
        columns.data.keys()
    )
    return found if is_read else found | dict(_NOTHING)


def _decided(stored: bytes | None) -> dict[str, Any] | None:
    """Return event, status, source and content of a stored decision; None: it cannot be read."""
    if stored is None:
        return None
    try:
        decision = _codec().decode("Decision", stored)
        event, consent = decision["event"], decision["consent"]
        place = f"{decision['topic']}/{decision['partition']}/{decision['offset']}"
        data = {
            "kind": decision["kind"],
            "reason": decision["reason"],
            "opted_out": decision["opted_out"],
            "effective_at": decision["effective_at"],
            "violations": [
                {name: one[name] for name in ("code", "reason", "reason_tr")}
                for one in decision["violations"]
            ],
            "consent": {name: consent[name] for name in _CONSENT},
            "event": {name: event[name] for name in _EVENT if event[name] not in (None, {}, "")},
        }
    except (UndecodableError, KeyError, TypeError):
        return None
    return {
        "event_id": event["event_id"],
        "status": event["status"],
        "source": place,
        "data": _plain(data),
    }


def _plain(value: Any) -> Any:  # noqa: ANN401  # any Avro value
    """Return ``value`` with its instants as texts, as JSON has it."""
    match value:
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case datetime():
            return value.isoformat()
        case _:
            return value
