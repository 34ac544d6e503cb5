"""Rows of the outbox as COPY takes them: of one message, or of many that are like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from izin.sinks.ledger.db import copy_format

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from izin.sinks.record.messages import Message

_COLUMNS = (6).to_bytes(2, "big")
_JSONB = b"\1"


def begun(message: Message) -> bytes:
    """Return how the row of ``message`` begins, before its key."""
    return _COLUMNS + copy_format.word(message.customer_id) + copy_format.word(message.topic)


def marks(message: Message) -> bytes:
    """Return the headers of ``message`` as a column holds them, without their size."""
    return _JSONB + orjson.dumps(dict(message.headers))


def row_of(message: Message, at: bytes) -> bytes:
    """Return the row of ``message``, put into the outbox at an instant (a column)."""
    key, value = copy_format.word(message.key), copy_format.text(message.value)
    return b"".join((begun(message), key, value, copy_format.text(marks(message)), at))


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
        self._ended = copy_format.moment(at)

    def row(self, key: bytes, own: Mapping[str, Any], identity: str = "") -> bytes:
        """Return the row of a message under ``key`` (a column) with its ``own`` fields."""
        told = b"".join((self._marks, identity.encode() or self._of, self._behind))
        return b"".join(
            (
                self._begun,
                key,
                copy_format.text(self._encode(own)),
                copy_format.text(told),
                self._ended,
            )
        )
