"""Rows of the history in an archive: each as the text that its commitment was computed from.

``commitment = sha256(salt || text || decision)`` and ``link = sha256(previous link || commitment)``
(``sinks.ledger.history.hash_chain``). The text is a JSON array: place, kind, customer, key, event,
status, source, the instants of the act and of its recording in microseconds since 1970, content. Of
a decision event, status, source and content are null, and the bytes of an Avro Decision follow.

Nothing separates the three parts, so the same bytes must not be read in two ways: the salt has 16
bytes, the text is one JSON array as the history writes it, and a decision follows exactly where the
kind is one. No array begins with another, so one split alone is left.

A row says a *fact*. What this release cannot read is a fact of the kind ``unreadable``: it is
proven like any other, and hides none.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

from izin.evidence.errors import UnreadableEvidenceError
from izin.schemas.codec import Codec, UndecodableError

SALT = 16
"""The bytes of a salt."""
DECISION = "decision"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LITERALS = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+([.eE][-+.0-9eE]+)?')
"""Texts, which may have numbers in them, and numbers."""
_NO_ROW = "a row of rows.json is no row of the history"


def first_link(shard: int) -> bytes:
    """Return the link from which a chain starts."""
    return hashlib.sha256(f"izin movements {shard}".encode()).digest()


def next_link(link: bytes, commitment: bytes) -> bytes:
    """Return the link of a row after the one with ``link``."""
    return hashlib.sha256(link + commitment).digest()


class _Columns(NamedTuple):
    """The columns of a row, as its text has them."""

    place: int
    kind: str
    customer_id: str
    key: str
    event_id: str | None
    status: str | None
    source: str | None
    occurred: int
    recorded: int
    data: Any


class EvidenceRow:
    """One row of the history."""

    def __init__(self, shard: int, text: str, decision: bytes | None, salt: bytes) -> None:
        self.shard = shard
        self.text = text
        self.decision = decision
        self.salt = salt

    @cached_property
    def columns(self) -> _Columns:
        """What the text says; raises UnreadableEvidenceError."""
        try:
            columns = _Columns(*json.loads(self.text))
            said = _canonical(columns)
            is_canonical = said == self.text or said == _plain(self.text)
        except (ValueError, TypeError, RecursionError) as error:
            raise UnreadableEvidenceError(_NO_ROW) from error
        is_decision = self.decision is not None
        holds = columns[4:7] == (None, None, None) and columns.data is None
        if (
            not is_canonical
            or len(self.salt) != SALT
            or (columns.kind == DECISION) != is_decision
            or holds < is_decision
        ):
            raise UnreadableEvidenceError(_NO_ROW)
        return columns

    @property
    def commitment(self) -> bytes:
        """What its link covers."""
        return hashlib.sha256(self.salt + self.text.encode() + (self.decision or b"")).digest()

    def to_json(self) -> dict[str, Any]:
        """Return the row as ``rows.json`` has it."""
        decision = None if self.decision is None else base64.b64encode(self.decision).decode()
        return {
            "shard": self.shard,
            "text": self.text,
            "decision": decision,
            "salt": self.salt.hex(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the row of an entry of ``rows.json``; raises UnreadableEvidenceError."""
        try:
            decision = value["decision"]
            return cls(
                int(value["shard"]),
                str(value["text"]),
                None if decision is None else base64.b64decode(decision, validate=True),
                bytes.fromhex(value["salt"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableEvidenceError("rows.json has an entry that is no row") from error


def _canonical(columns: _Columns) -> str:
    """Return the text of ``columns`` as the history writes it; raises TypeError where one is of
    another type than its column.
    """
    numbers = (columns.place, columns.occurred, columns.recorded)
    texts, optional = columns[1:4], columns[4:7]
    if not (
        all(type(number) is int for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and all(text is None or isinstance(text, str) for text in optional)
    ):
        raise TypeError
    said = json.dumps(columns.data, ensure_ascii=False, separators=(",", ":"))
    before = json.dumps(columns[:-1], ensure_ascii=False)
    return f"{before[:-1]}, {said}]"


def _plain(text: str) -> str:
    """Return ``text`` with its fractions as Python spells them: 1e16 is 1e+16. The ledger's library
    spells some otherwise, and how one is spelled separates nothing.
    """
    return _LITERALS.sub(lambda one: repr(float(one[0])) if one[1] else one[0], text)


def instant(microseconds: int) -> str:
    """Return an instant, in microseconds since 1970, as ISO text in UTC."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()


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
        "data": _json(data),
    }


def _json(value: Any) -> Any:  # noqa: ANN401  # any Avro value
    """Return ``value`` with its instants as texts, as JSON has it."""
    match value:
        case dict():
            return {name: _json(one) for name, one in value.items()}
        case list():
            return [_json(one) for one in value]
        case datetime():
            return value.isoformat()
        case _:
            return value
