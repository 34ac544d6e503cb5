"""Rows of the outbox in the format of COPY."""

import orjson

from izin.ledger.db import copy_format
from izin.ledger.record import Message

_COLUMNS = (6).to_bytes(2, "big")
_JSONB = b"\1"


def start(message: Message) -> bytes:
    """Return the columns of ``message`` before its key."""
    return _COLUMNS + copy_format.word(message.customer_id) + copy_format.word(message.topic)


def headers(message: Message) -> bytes:
    """Return the headers of ``message`` as the column stores them, without their size."""
    return _JSONB + orjson.dumps(dict(message.headers))


def row_of(message: Message, at: bytes) -> bytes:
    """Return the row of ``message``, added to the outbox ``at`` an instant (a column)."""
    key, value = copy_format.word(message.key), copy_format.text(message.value)
    return b"".join((start(message), key, value, copy_format.text(headers(message)), at))
