"""The hash chain of the history, and the rows in which facts are written.

``link = sha256(previous link || commitment)`` and ``commitment = sha256(salt || content)``, where
content is the row's columns as one JSON array, followed by the bytes of the decision, if it is one.
Writers and verifiers use the same functions. A row can be erased, content and salt, and its chain
is verified by the commitment that stays. Each row has a salt of its own: one that was handed out as
evidence opens no other.

A batch of rows that stand outside the history (acknowledgements of webhooks) is proved by one
entry, which has the number of its rows and the digest of their commitments, in their order.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring
from typing import Any, NamedTuple

import orjson

from izin.ledger.db import copy_format

SALT = 16
"""The bytes of a row's salt."""
_CHUNK = 500
KIND = "delivery"
BATCH_KEY = "deliveries"
"""The key of these entries."""


class Fact(NamedTuple):
    """A fact as its row has it. Instants are in microseconds since 1970."""

    kind: str
    customer_id: str
    key: str
    event_id: str | None
    status: str | None
    source: str | None
    occurred: int
    data: bytes | None
    """JSON."""
    decision: bytes | None
    """A Decision in Avro's single-object encoding; the columns that it contains are null then."""


def decided(customer_id: str, key: str, occurred: int, decision: bytes) -> Fact:
    """Return the fact of a decision of the law."""
    return Fact("decision", customer_id, key, None, None, None, occurred, None, decision)


def content(place: int, fact: Fact, recorded: int) -> bytes:
    """Return the content of a row, which its link covers."""
    if fact.decision is not None:
        return b'[%d, "decision", %b, %b, null, null, null, %d, %d, null]%b' % (
            place,
            encode_basestring(fact.customer_id).encode(),
            encode_basestring(fact.key).encode(),
            fact.occurred,
            recorded,
            fact.decision,
        )
    return b"[%d, %b, %b, %b, %b, %b, %b, %d, %d, %b]" % (
        place,
        _quoted(fact.kind),
        _quoted(fact.customer_id),
        _quoted(fact.key),
        _quoted(fact.event_id),
        _quoted(fact.status),
        _quoted(fact.source),
        fact.occurred,
        recorded,
        fact.data or b"null",
    )


def commitment_of(salt: bytes, content: bytes) -> bytes:
    """Return what a link covers of a row."""
    return hashlib.sha256(salt + content).digest()


def commitment_of_row(row: Mapping[str, Any]) -> bytes:
    """Return what the link of a row covers, as the row was read: its columns by name, the instants
    as ``occurred`` and ``recorded`` in microseconds, ``data`` as text.
    """
    data = row["data"]
    fact = Fact(
        row["kind"],
        row["customer_id"],
        row["key"],
        row["event_id"],
        row["status"],
        row["source"],
        row["occurred"],
        None if data is None else data.encode(),
        row["decision"],
    )
    return commitment_of(row["salt"], content(row["place"], fact, row["recorded"]))


def next_link(link: bytes, commitment: bytes) -> bytes:
    """Return the link of a row after the one with ``link``."""
    return hashlib.sha256(link + commitment).digest()


class ChainWriter:
    """Appends to one chain."""

    def __init__(self, shard: int, place: int, link: bytes, recorded_at: datetime) -> None:
        self.shard = shard
        self.place = place
        self.link = link
        self._recorded = copy_format.microseconds(recorded_at)

    def rows(self, facts: Sequence[Fact]) -> Iterator[bytes]:
        """Yield the rows of ``facts`` in chunks, and move the head behind them."""
        for start in range(0, len(facts), _CHUNK):
            chunk = facts[start : start + _CHUNK]
            salts = os.urandom(SALT * len(chunk))
            yield b"".join(
                self._row(fact, salts[at : at + SALT])
                for fact, at in zip(chunk, range(0, len(salts), SALT), strict=True)
            )

    def _row(self, fact: Fact, salt: bytes) -> bytes:
        self.place = place = self.place + 1
        recorded = self._recorded
        commitment = commitment_of(salt, content(place, fact, recorded))
        self.link = next_link(self.link, commitment)
        key, customer_id = fact.key.encode(), fact.customer_id.encode()
        kind, decision = fact.kind.encode(), fact.decision
        beginning = (
            _FIXED(
                14,
                8,
                recorded - copy_format.EPOCH,
                8,
                fact.occurred - copy_format.EPOCH,
                8,
                place,
                2,
                self.shard,
            ),
            _size(len(kind)),
            kind,
            _LINK,
            self.link,
            _SALT,
            salt,
            _size(len(key)),
            key,
            _size(len(customer_id)),
            customer_id,
        )
        if decision is not None:
            return b"".join((*beginning, _NO_COLUMNS, _size(len(decision)), decision))
        return b"".join(
            (
                *beginning,
                copy_format.word(fact.event_id),
                copy_format.word(fact.status),
                copy_format.word(fact.source),
                copy_format.text(fact.data),
                copy_format.NULL,
            )
        )


def _quoted(value: str | None) -> bytes:
    return b"null" if value is None else encode_basestring(value).encode()


_FIXED = struct.Struct(">hiqiqiqih").pack
_size = struct.Struct(">i").pack
_LINK = _size(32)
_SALT = _size(SALT)
_NO_COLUMNS = copy_format.NULL * 4


class BatchDigest(NamedTuple):
    """What the history says of a batch."""

    rows: int
    digest: str


def digest_of(commitments: Iterable[bytes]) -> str:
    """Return the digest of a batch, in hex."""
    return hashlib.sha256(b"".join(commitments)).hexdigest()


def digest_fact(batch: int, commitments: Iterable[bytes], rows: int, at: int) -> Fact:
    """Return the entry of a batch, at ``at`` (microseconds since 1970)."""
    data = {"batch": batch, "rows": rows, "digest": digest_of(commitments)}
    source = f"{BATCH_KEY}/{batch}"
    return Fact(KIND, "", BATCH_KEY, None, None, source, at, orjson.dumps(data), None)


def batch_of(row: Mapping[str, Any]) -> tuple[int, BatchDigest] | None:
    """Return the batch that an entry proves, with its number; None: it proves none."""
    if row["kind"] != KIND or row["key"] != BATCH_KEY or row["data"] is None:
        return None
    said = json.loads(row["data"])
    return int(said["batch"]), BatchDigest(int(said["rows"]), str(said["digest"]))
