"""What subscribers acknowledged: each acknowledgement leads to a row of the history.

``commitment = sha256(salt || text)``, and the digest over the commitments of a batch stands in a
row of the history of the source ``deliveries/<batch>`` (``sinks.ledger.webhooks.deliveries``).
The text is a JSON array: batch, place, subscriber, customer, type, topic, partition, offset, id of
the message, key, attempts, status of the reply, its instant in microseconds since 1970, and of a
repetition the number of the resend. Salt and text are held to their one form, as of rows.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from izin.evidence.errors import UnreadableEvidenceError
from izin.evidence.rows import SALT, EvidenceRow, instant

_NAMES = (
    *("batch", "place", "subscriber_id", "customer_id", "type", "topic", "partition", "offset"),
    *("webhook_id", "key", "attempts", "status", "delivered", "resend_id"),
)
_TEXTS = frozenset({"customer_id", "type", "topic", "webhook_id", "key"})
_NO_ACKNOWLEDGEMENT = "deliveries.json has an entry that is no acknowledgement"


class Acknowledgement(NamedTuple):
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
            fields = dict(zip(_NAMES, [*values, None][: len(_NAMES)], strict=True))
            is_canonical = _canonical(fields) == self.text
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
            salt = bytes.fromhex(value["salt"])
            return cls(str(value["text"]), salt, str(value["subscriber"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableEvidenceError(_NO_ACKNOWLEDGEMENT) from error


class Batches(NamedTuple):
    """The acknowledgements of an archive, and the commitments of the batches they stand in."""

    rows: Sequence[Acknowledgement]
    commitments: Mapping[int, Sequence[str]]
    """By batch, in hexadecimal digits, in the order of their places."""

    def to_json(self) -> dict[str, Any]:
        """Return them as ``deliveries.json`` has them."""
        return {
            "rows": [one.to_json() for one in self.rows],
            "batches": {str(batch): list(some) for batch, some in self.commitments.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return those of ``deliveries.json``; raises UnreadableEvidenceError."""
        try:
            batches = {
                int(batch): tuple(map(str, some)) for batch, some in value["batches"].items()
            }
            return cls([Acknowledgement.from_json(one) for one in value["rows"]], batches)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableEvidenceError("deliveries.json has no acknowledgements") from error


def _canonical(fields: Mapping[str, Any]) -> str:
    """Return the text of ``fields`` as the ledger writes it; raises TypeError where one is of
    another type than its column.
    """
    is_repeated = fields["resend_id"] is not None
    values = {name: fields[name] for name in (_NAMES if is_repeated else _NAMES[:-1])}
    if not all(type(one) is (str if name in _TEXTS else int) for name, one in values.items()):
        raise TypeError
    return json.dumps(list(values.values()), ensure_ascii=False, separators=(",", ":"))


def unproven(batches: Batches, rows: Iterable[EvidenceRow]) -> list[str]:
    """Return what is wrong with the acknowledgements, given the proven rows of the history."""
    proven: dict[int, str] = {}
    faults = []
    for one in (row.columns.data for row in rows if is_digest(row)):
        batch, digest = int(one["batch"]), str(one["digest"])
        if proven.setdefault(batch, digest) != digest:
            faults.append(f"batch {batch} of deliveries has two digests in the history")
    for batch, commitments in batches.commitments.items():
        joined = b"".join(map(_bytes, commitments))
        if hashlib.sha256(joined).hexdigest() != proven.get(batch):
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
