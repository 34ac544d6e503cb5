"""Rows of the history in an archive: each as the text that its commitment was computed from.

``commitment = sha256(salt || text || decision)`` and ``link = sha256(previous link || commitment)``
(``sinks.ledger.history.hash_chain``). The text is a JSON array: place, kind, customer, key, event,
status, source, the instants of the act and of its recording in microseconds since 1970, content. Of
a decision event, status, source and content are null, and the bytes of an Avro Decision follow.

Nothing separates the three parts, so the same bytes must not be read in two ways: the salt has 16
bytes, the text is one JSON array as the history writes it, and a decision follows exactly where the
kind is one. No array begins with another, so one split alone is left.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, Self

from izin.evidence.errors import UnreadableEvidenceError

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
