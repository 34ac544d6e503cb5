"""Templates: many rows made from one that was computed in full.

Ingest, settling and observing compute one example by the general path (``record.ruling``,
``record.item_result``, ``record.messages``) and write all rows that differ from it only in columns
and fields of their own. What may differ is listed in ``record.column_lists`` and here; tests
compare templates with the general path.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import orjson

from izin.schemas.fast.writer import long_bytes
from izin.sinks.ledger import outbox
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.history.hash_chain import Fact
from izin.sinks.record.column_lists import NULL_IN_NEW, OWN_OF_NEW, SHARED_BY_NEW, TYPES
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import Message, TopicMessages
from izin.sinks.record.outcome import Outcome, outcome_id

OWN_OF_PERMISSION = ("recipient", "registered_at", "consent_date", "since")
"""The fields in which permissions of one template may differ, in the order of the contract."""
OWN_OF_OUTCOME = (
    "recipient",
    "outcome_id",
    "event_id",
    "transaction_id",
    "creation_date",
    "attempt",
    "origin",
    "origin_ref",
)
"""The fields in which outcomes of one template may differ."""

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


class PermissionTemplate:
    """Permissions made from ``message``, published at one instant."""

    def __init__(self, topic_messages: TopicMessages, message: Message, *, at: datetime) -> None:
        self._message = MessageTemplate(message, at=at)
        runs = topic_messages.runs(message, OWN_OF_PERMISSION)
        self._start, self._answer, self._middle, self._since, self._end = runs

    def row(
        self,
        key: bytes,
        recipient: bytes,
        registered_at: int | None,
        consent_date: int | None,
        since: int,
    ) -> bytes:
        """Return the row of the permission of a key (a column) and its recipient; the instants are
        milliseconds since 1970.
        """
        value = b"".join(
            (
                self._start,
                long_bytes(len(recipient)),
                recipient,
                self._answer,
                _optional(registered_at),
                self._middle,
                _optional(consent_date),
                self._since,
                long_bytes(since),
                self._end,
            )
        )
        return self._message.row(key, value)


class OutcomeTemplate:
    """Outcomes made from ``reached``, at one instant."""

    def __init__(self, topic_messages: TopicMessages, reached: Outcome, *, at: datetime) -> None:
        message = topic_messages.outcome(reached)
        self._reached = reached
        self._message = MessageTemplate(message, at=at, identity=reached.outcome_id)
        self._value = topic_messages.template(message, OWN_OF_OUTCOME)
        self._at = copy_format.microseconds(at)

    def made(  # noqa: PLR0913, PLR0917  # the fields of its own
        self,
        key: str,
        event_id: str,
        attempt: int,
        origin: str,
        origin_ref: str | None,
        transaction_id: str | None,
        creation_date: datetime | None,
    ) -> tuple[bytes, Fact]:
        """Return the row of the outcome of a key's event, and its fact for the history."""
        reached = self._reached
        identity = outcome_id(key, event_id, reached.outcome, attempt, reached.code)
        own = {
            "recipient": key.split("/", 3)[3],
            "outcome_id": identity,
            "event_id": event_id,
            "transaction_id": transaction_id,
            "creation_date": creation_date,
            "attempt": attempt,
            "origin": origin,
            "origin_ref": origin_ref,
        }
        fact = Fact(
            "outcome",
            reached.customer_id,
            key,
            event_id,
            reached.status,
            f"outcome/{identity}",
            self._at,
            orjson.dumps(reached.content(attempt)),
            None,
        )
        return self._message.row(copy_format.word(key), self._value(own), identity), fact


def _optional(milliseconds: int | None) -> bytes:
    """Return a field that is an instant or null."""
    return b"\0" if milliseconds is None else b"\2" + long_bytes(milliseconds)
