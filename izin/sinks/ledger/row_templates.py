"""Templates: many rows made from one that was computed in full.

Ingest and settling compute one example by the general path (``record.ruling``,
``record.item_result``, ``record.messages``) and write all rows that differ from it only in columns
and fields of their own. What may differ is listed in ``record.column_lists`` and
``outbound.bulk_success_rows``; tests compare templates with the general path.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from izin.sinks.ledger import outbox
from izin.sinks.ledger.db import copy_format
from izin.sinks.record.column_lists import NULL_IN_NEW, OWN_OF_NEW, SHARED_BY_NEW, TYPES
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import Message

NEW_ROW: bytes = (len(OWN_OF_NEW) + len(SHARED_BY_NEW)).to_bytes(2, "big")
"""The start of a new row of ``consents``, before its own columns."""

_WRITERS: Mapping[str, Callable[..., bytes]] = {
    "integer[]": copy_format.integers,
    "text": copy_format.word,
    "integer": copy_format.integer,
    "smallint": copy_format.small,
    "boolean": copy_format.boolean,
    "timestamp with time zone": copy_format.moment,
}


def shared_columns(row: ConsentRow) -> bytes | None:
    """Return the columns that new rows like ``row`` share, in COPY format; None where it has a
    value in a column that new rows leave out.
    """
    if any(row.__dict__[name] is not None for name in NULL_IN_NEW):
        return None
    return columns_of(row, SHARED_BY_NEW)


def columns_of(row: ConsentRow, names: Iterable[str]) -> bytes:
    """Return the columns ``names`` of ``row``, in COPY format."""
    values = row.__dict__
    return b"".join(
        copy_format.NULL if values[name] is None else _WRITERS[TYPES[name]](values[name])
        for name in names
    )


class MessageTemplate:
    """Rows of the outbox made from ``message``, added at one instant.

    They differ in key, value and ``identity``, the event id in the headers of ``message``.
    """

    def __init__(self, message: Message, *, at: datetime, identity: str = "") -> None:
        headers = outbox.headers(message)
        self._start = outbox.start(message)
        self._before, self._identity, self._after = headers.partition(identity.encode() or headers)
        self._at = copy_format.moment(at)
        self._end = copy_format.text(headers) + self._at

    def row(self, key: bytes, value: bytes, identity: str = "") -> bytes:
        """Return the row of a message with ``value`` under ``key`` (a column)."""
        end = self._end
        if identity:
            headers = b"".join((self._before, identity.encode(), self._after))
            end = copy_format.text(headers) + self._at
        return b"".join((self._start, key, copy_format.text(value), end))
