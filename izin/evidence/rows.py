"""Rows of the history in an archive: each as the text that its commitment was computed from.

``commitment = sha256(salt || text || decision)`` and ``link = sha256(previous link || commitment)``
(``sinks.ledger.history.hash_chain``). The text is a JSON array: place, kind, customer, key, event,
status, source, the instants of the act and of its recording in microseconds since 1970, content. Of
a decision the content is null, and the bytes of an Avro Decision follow.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, Self

from izin.evidence.errors import UnreadableEvidenceError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
        except (ValueError, TypeError) as error:
            raise UnreadableEvidenceError(_NO_ROW) from error
        numbers = (columns.place, columns.occurred, columns.recorded)
        if not all(isinstance(one, int) for one in numbers) or not isinstance(columns.key, str):
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


def instant(microseconds: int) -> str:
    """Return an instant, in microseconds since 1970, as ISO text in UTC."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
