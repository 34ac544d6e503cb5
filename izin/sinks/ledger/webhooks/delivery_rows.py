"""Rows of acknowledgements, each with a salted commitment.

``commitment = sha256(salt || content)``, where content is the row as a JSON array; that of a first
delivery has no resend in it. The digest of a batch of commitments is a movement of the history,
which is chained (``history.batches``); so a row that was changed, added or removed is found. An
erased row keeps its commitment.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.history.hash_chain import SALT, commitment_of

_COLUMNS = (17).to_bytes(2, "big")


class DeliveryReceipt(NamedTuple):
    """A record that a subscriber has taken."""

    subscriber_id: int
    customer_id: str
    type: str
    topic: str
    partition: int
    offset: int
    webhook_id: str
    key: str
    attempts: int
    status: int
    """Of its reply."""
    delivered: int
    """When, in microseconds since 1970."""
    resend_id: int | None = None
    """Of a repetition, the resend that brought it; None: it is a first delivery."""


class SealedRow(NamedTuple):
    """An acknowledgement with its place in a batch, its salt and its commitment."""

    place: int
    one: DeliveryReceipt
    salt: bytes
    commitment: bytes


def sealed(batch: int, acknowledgements: Sequence[DeliveryReceipt]) -> list[SealedRow]:
    """Return the rows of a batch."""
    salts = os.urandom(SALT * len(acknowledgements))
    rows = []
    for place, one in enumerate(acknowledgements):
        salt = salts[place * SALT : (place + 1) * SALT]
        rows.append(SealedRow(place, one, salt, commitment_of(salt, _content(batch, place, one))))
    return rows


def copied(batch: int, rows: Sequence[SealedRow], recorded_at: datetime) -> bytes:
    """Return the rows in the format of COPY."""
    number, recorded = copy_format.long(batch), copy_format.moment(recorded_at)
    return b"".join(
        b"".join(
            (
                _COLUMNS,
                number,
                copy_format.integer(place),
                copy_format.long(one.subscriber_id),
                copy_format.word(one.customer_id),
                copy_format.word(one.type),
                copy_format.word(one.topic),
                copy_format.integer(one.partition),
                copy_format.long(one.offset),
                copy_format.integer(one.attempts),
                copy_format.small(one.status),
                copy_format.instant(one.delivered),
                recorded,
                copy_format.text(commitment),
                copy_format.text(salt),
                copy_format.word(one.webhook_id),
                copy_format.word(one.key),
                copy_format.NULL if one.resend_id is None else copy_format.long(one.resend_id),
            )
        )
        for place, one, salt, commitment in rows
    )


def commitment_of_delivery(row: Mapping[str, Any]) -> bytes:
    """Return the commitment of a row that was read and is not erased, from what it says."""
    return commitment_of(row["salt"], content_of_delivery(row))


def content_of_delivery(row: Mapping[str, Any]) -> bytes:
    """Return what the commitment of a row covers beside its salt, a JSON array."""
    one = DeliveryReceipt(**{name: row[name] for name in DeliveryReceipt._fields})
    return _content(row["batch"], row["place"], one)


def _content(batch: int, place: int, one: DeliveryReceipt) -> bytes:
    fields = one if one.resend_id is not None else one[:-1]
    return orjson.dumps([batch, place, *fields])
