"""Rows of the outbox as COPY takes them: of one message, or of many that are like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from izin.sinks.ledger import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from izin.sinks.announce import Message

_COLUMNS = (6).to_bytes(2, "big")
_JSONB = b"\1"


def begun(message: Message) -> bytes:
    """Return how the row of ``message`` begins, before its key."""
    return _COLUMNS + rows.word(message.customer_id) + rows.word(message.topic)


def marks(message: Message) -> bytes:
    """Return the headers of ``message`` as a column holds them, without their size."""
    return _JSONB + orjson.dumps(dict(message.headers))


def row_of(message: Message, at: bytes) -> bytes:
    """Return the row of ``message``, put into the outbox at an instant (a column)."""
    key, value = rows.word(message.key), rows.text(message.value)
    return b"".join((begun(message), key, value, rows.text(marks(message)), at))


class Pattern:
    """Makes rows like that of ``message``, put into the outbox at one instant.

    ``encode`` makes a message's value of its own fields. ``identity`` is what the headers of
    ``message`` are told apart by, where they are.
    """

    def __init__(
        self,
        message: Message,
        encode: Callable[[Mapping[str, Any]], bytes],
        *,
        at: datetime,
        identity: str = "",
    ) -> None:
        self._encode = encode
        self._begun = begun(message)
        shared = marks(message)
        self._marks, self._of, self._behind = shared.partition(identity.encode() or shared)
        self._ended = rows.moment(at)

    def row(self, key: bytes, own: Mapping[str, Any], identity: str = "") -> bytes:
        """Return the row of a message under ``key`` (a column) with its ``own`` fields."""
        told = b"".join((self._marks, identity.encode() or self._of, self._behind))
        return b"".join(
            (self._begun, key, rows.text(self._encode(own)), rows.text(told), self._ended)
        )
