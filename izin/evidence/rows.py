"""What of the history is in an archive: rows, and what subscribers acknowledged, each as the text
that its commitment was computed from.

``commitment = sha256(salt || text || decision)`` and ``link = sha256(previous link || commitment)``
(``ledger.history.hash_chain``). The text is a JSON array: place, kind, customer, key, event,
status, source, the instants of the act and of its recording in microseconds since 1970, content. Of
a decision event, status, source and content are null, and the bytes of an Avro Decision follow.

Nothing separates the three parts, so the same bytes must not be read in two ways: the salt has 16
bytes, the text is one JSON array as the history writes it, and a decision follows exactly where the
kind is one. No array begins with another, so one split alone is left.

Of an acknowledgement, ``commitment = sha256(salt || text)``, and the digest over the commitments of
a batch stands in a row whose source is ``deliveries/<batch>``, as the ledger's ``delivery_rows``
write it. The text is a JSON array: batch, place, subscriber, customer, type, topic, partition,
offset, id of the message, key, attempts, status of the reply, its instant in microseconds since
1970, and of a repetition the number of the resend. Salt and text are held to their one form, as of
rows.

A row says a *fact*. What this release cannot read is a fact of the kind ``unreadable``: it is
proven like any other, and hides none.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

from izin.evidence.container import UnreadableEvidenceError
from izin.schemas.codec import Codec, UndecodableError

SALT = 16
"""The bytes of a salt."""
DECISION = "decision"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LITERALS = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+([.eE][-+.0-9eE]+)?')
"""Texts, which may have numbers in them, and numbers."""
_NO_ROW = "a row of rows.json is no row of the history"
_DELIVERY = (
    *("batch", "place", "subscriber_id", "customer_id", "type", "topic", "partition", "offset"),
    *("webhook_id", "key", "attempts", "status", "delivered", "resend_id"),
)
_DELIVERY_TEXTS = frozenset({"customer_id", "type", "topic", "webhook_id", "key"})
_NO_ACKNOWLEDGEMENT = "deliveries.json has an entry that is no acknowledgement"


def first_link(shard: int) -> bytes:
    """Return the link from which a chain starts."""
    return hashlib.sha256(f"izin history {shard}".encode()).digest()


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


class DeliveryAcknowledgement(NamedTuple):
    """One acknowledgement, as its commitment covers it."""

    text: str
    salt: bytes
    subscriber: str
    """The name of the subscriber; no commitment covers it."""

    @property
    def fields(self) -> dict[str, Any]:
        """What the text says, by name; raises UnreadableEvidenceError."""
        try:
            values = json.loads(self.text)
            fields = dict(zip(_DELIVERY, [*values, None][: len(_DELIVERY)], strict=True))
            is_canonical = _canonical_delivery(fields) == self.text
            fields["delivered_at"] = instant(int(fields.pop("delivered")))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UnreadableEvidenceError(_NO_ACKNOWLEDGEMENT) from error
        if not is_canonical or len(self.salt) != SALT:
            raise UnreadableEvidenceError(_NO_ACKNOWLEDGEMENT)
        return {**fields, "subscriber": self.subscriber}

    @property
    def commitment(self) -> bytes:
        """What the digest of its batch covers."""
        return hashlib.sha256(self.salt + self.text.encode()).digest()

    def to_json(self) -> dict[str, Any]:
        """Return it as ``deliveries.json`` has it."""
        return {"text": self.text, "salt": self.salt.hex(), "subscriber": self.subscriber}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the acknowledgement of an entry; raises UnreadableEvidenceError."""
        try:
            return cls(str(value["text"]), bytes.fromhex(value["salt"]), str(value["subscriber"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableEvidenceError(_NO_ACKNOWLEDGEMENT) from error


class Batches(NamedTuple):
    """The acknowledgements of an archive, and the commitments of the batches they stand in."""

    rows: Sequence[DeliveryAcknowledgement]
    commitments: Mapping[int, Sequence[str]]
    """By batch, in hexadecimal digits, in the order of their places."""

    def to_json(self) -> dict[str, Any]:
        """Return them as ``deliveries.json`` has them."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "batches": {str(batch): list(some) for batch, some in self.commitments.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return those of ``deliveries.json``; raises UnreadableEvidenceError."""
        try:
            batches = {
                int(batch): tuple(map(str, some)) for batch, some in value["batches"].items()
            }
            return cls([DeliveryAcknowledgement.from_json(one) for one in value["rows"]], batches)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableEvidenceError("deliveries.json has no acknowledgements") from error


def _canonical_delivery(fields: Mapping[str, Any]) -> str:
    """Return the text of ``fields`` as the ledger writes it; raises TypeError where one is of
    another type than its column.
    """
    is_repeated = fields["resend_id"] is not None
    values = {name: fields[name] for name in (_DELIVERY if is_repeated else _DELIVERY[:-1])}
    kinds = {name: str if name in _DELIVERY_TEXTS else int for name in values}
    if not all(type(one) is kinds[name] for name, one in values.items()):
        raise TypeError
    return json.dumps(list(values.values()), ensure_ascii=False, separators=(",", ":"))


def unproven_deliveries(batches: Batches, rows: Iterable[EvidenceRow]) -> list[str]:
    """Return what is wrong with the acknowledgements, given the proven rows of the history."""
    proven: dict[int, str] = {}
    faults = []
    for one in (row.columns.data for row in rows if is_digest(row)):
        batch, digest = int(one["batch"]), str(one["digest"])
        if proven.setdefault(batch, digest) != digest:
            faults.append(f"batch {batch} of deliveries has two digests in the history")
    for batch, commitments in batches.commitments.items():
        if hashlib.sha256(b"".join(map(_bytes, commitments))).hexdigest() != proven.get(batch):
            faults.append(f"batch {batch} of deliveries has another digest in the history")
    for sent in batches.rows:
        fields = sent.fields
        batch, place = int(fields["batch"]), int(fields["place"])
        known = batches.commitments.get(batch, ())
        if not 0 <= place < len(known) or known[place] != sent.commitment.hex():
            faults.append(f"delivery {batch}/{place} is not the one that was recorded")
    return faults


def is_digest(row: EvidenceRow) -> bool:
    """Whether a row has the digest of a batch of deliveries."""
    columns = row.columns
    return (
        columns.kind == "delivery"
        and columns.key == "deliveries"
        and isinstance(columns.data, dict)
        and columns.source == f"deliveries/{columns.data.get('batch')}"
    )


def _bytes(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError as error:
        raise UnreadableEvidenceError("deliveries.json has a commitment that is none") from error
