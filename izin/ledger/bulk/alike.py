"""Rows that change alike: the general path rules one of them, and the others become as that one.

What is due of a row, what may be sent, and what is published of both follow from the columns that
many rows share and from the order of a few instants: together the *shape* of a change. So one
change of each shape is ruled in full, and what that has done to its row is done to all rows alike.
Which columns are a row's own is declared beside them (``record.consent_row``): their values are in
no shape, but whether they have one, and whether it changes, is.

No I/O, so it is compiled where there is a compiler.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

import orjson

from izin.consent import Action
from izin.ledger import outbox, retailers
from izin.ledger.db import copy_format
from izin.ledger.history import Fact
from izin.ledger.record import (
    COMPARED,
    OWN,
    SHARED,
    TERMS,
    TYPES,
    ConsentRow,
    Message,
    Outcome,
    RuledRow,
    TopicMessages,
    outcome_id,
)
from izin.ledger.unit_of_work import is_breach
from izin.schemas.fast.writer import long_bytes, milliseconds

OWN_OF_PERMISSION = ("recipient", "registered_at", "consent_date", "since")
"""The fields in which permissions of rows alike may differ, in the order of the contract."""
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
"""The same of outcomes."""
_SUPERSEDED = "superseded"
_ACCEPTED = "accepted"
_shared_of = itemgetter(*SHARED)
_own_of = itemgetter(*OWN)
_compared_of = itemgetter(*COMPARED)
_compared_before = itemgetter(*(name for name in COMPARED if name not in TERMS))

_WRITERS: Mapping[str, Callable[..., bytes]] = {
    "integer[]": copy_format.integers,
    "text": copy_format.word,
    "integer": copy_format.integer,
    "smallint": copy_format.small,
    "boolean": copy_format.boolean,
    "timestamp with time zone": copy_format.moment,
}


def columns_of(row: ConsentRow, names: Iterable[str]) -> bytes:
    """Return the columns ``names`` of ``row``, in COPY format."""
    values = row.__dict__
    return b"".join(
        [
            copy_format.NULL if values[name] is None else _WRITERS[TYPES[name]](values[name])
            for name in names
        ]
    )


def shape_of(before: ConsentRow | None, after: ConsentRow, now: datetime) -> Hashable:
    """Return what a change from ``before`` (None: a new key) to ``after``, which is not ruled and
    has its terms, shares with all that are ruled alike ``now``.
    """
    values = after.__dict__
    instants = [now, *_compared_of(values)]
    own = _own_of(values)
    shared: tuple[object, ...] = (_shared_of(values), tuple([one is None for one in own]))
    if before is not None:
        old = before.__dict__
        instants += _compared_before(old)
        # Most are the same object: that is found sooner than that two are equal.
        changed = [
            new is not one and new != one for new, one in zip(own, _own_of(old), strict=True)
        ]
        shared += (_shared_of(old), tuple(changed))
    # Equal instants have one place. Not by a set: to hash an instant takes longer than to find it.
    known = sorted([instant for instant in instants if instant is not None])
    places = [None if one is None else known.index(one) for one in instants]
    return shared, tuple(places)


class Alike(NamedTuple):
    """What becomes of all rows of one shape."""

    written: Sequence[tuple[bytes, int, Callable[..., bytes]]]
    """The columns in which they differ: what is before each in COPY format, its place among a row's
    own, and how it is written."""
    end: bytes
    """What is behind the last of them."""
    permission: "PermissionTemplate | None"
    superseded: "OutcomeTemplate | None"
    """The outcome of the event that was desired before."""
    reached: "OutcomeTemplate | None"
    """The outcome of the event that is desired."""
    due: tuple[Action, str]
    is_permitted: bool
    """Whether a permission is published that is given: it names the retailers of its key."""
    ends_access: bool
    """Whether İYS no longer holds the consent, and no retailer has access."""
    is_change: bool
    """Whether anything of the row changes."""

    def columns_of(self, after: ConsentRow) -> bytes:
        """Return the columns of the row that the ruling makes of ``after``, its own first."""
        own, pieces = _own_of(after.__dict__), list[bytes]()
        for before, place, write in self.written:
            pieces += (before, write(own[place]))
        pieces.append(self.end)
        return b"".join(pieces)

    def published(
        self, before: ConsentRow | None, after: ConsentRow, facts: list[Fact]
    ) -> list[bytes]:
        """Return the rows of the outbox that follow from a change to what the ruling makes of
        ``after``; add the facts of its outcomes.
        """
        messages = [] if self.permission is None else [self.permission.of(after)]
        if self.superseded is not None and before is not None:
            messages.append(self.superseded.of(before, facts))
        if self.reached is not None:
            messages.append(self.reached.of(after, facts))
        return messages


def alike(
    topic_messages: TopicMessages,
    before: ConsentRow | None,
    after: ConsentRow,
    ruled: RuledRow,
    now: datetime,
) -> Alike | None:
    """Return what becomes of all changes like the one from ``before`` to ``after``, which was
    ``ruled`` by the general path; None where more follows from it than a row, its permission and
    outcomes, where the ruling gave the row a value of its own, or where this one itself would be
    published in other words.
    """
    is_change = ruled.row != before
    row = ruled.row.replace(updated_at=now)
    permission = topic_messages.permission(before, row, now) if is_change else None
    row = row if permission is None else permission[0]
    step = retailers.step(before, row)
    values, given = row.__dict__, after.__dict__
    columns = {name: values[name] for name in TYPES if values[name] != given[name]}
    if (
        ruled.rescue is not None
        or ruled.closed is not None
        or row.action is Action.RESCUE
        or is_breach(before, row, now)
        or step not in {None, retailers.Step.ENDED}
        or not all(_is_of_all(columns[name], after, now) for name in columns.keys() & set(OWN))
    ):
        return None
    outcomes = {outcome.outcome: outcome for outcome in topic_messages.outcomes(before, row, now)}
    found = list(outcomes.values())
    superseded = outcomes.pop(_SUPERSEDED, None)
    (reached,) = outcomes.values() or (None,)
    message = None if permission is None else permission[1]
    written, end = _written(after, row, columns)
    made = Alike(
        written=written,
        end=end,
        permission=None
        if message is None
        else PermissionTemplate(topic_messages, message, columns.get("permission_since"), now),
        superseded=None if superseded is None else OutcomeTemplate(topic_messages, superseded),
        reached=None if reached is None else OutcomeTemplate(topic_messages, reached),
        due=(row.action, row.desired_status or ""),
        is_permitted=message is not None and row.may_send,
        ends_access=step is retailers.Step.ENDED,
        is_change=is_change,
    )
    at = copy_format.moment(now)
    expected = [] if message is None else [message]
    expected += [topic_messages.outcome(one) for one in found]
    is_same = made.published(before, after, []) == [outbox.row_of(one, at) for one in expected]
    return made if is_same and made.columns_of(after) == columns_of(row, (*OWN, *SHARED)) else None


def _written(
    after: ConsentRow, row: ConsentRow, ruled: Collection[str]
) -> tuple[Sequence[tuple[bytes, int, Callable[..., bytes]]], bytes]:
    """Return the fields of :class:`Alike`: what is empty in ``after`` is so in all, and what was
    ``ruled`` is as in ``row``.
    """
    written, before = list[tuple[bytes, int, Callable[..., bytes]]](), b""
    for place, name in enumerate(OWN):
        if name in ruled or after.__dict__[name] is None:
            before += columns_of(row, [name])
        else:
            written.append((before, place, _WRITERS[TYPES[name]]))
            before = b""
    return written, before + columns_of(row, SHARED)


def _is_of_all(value: object, after: ConsentRow, now: datetime) -> bool:
    """Whether a value that the ruling gave a column of the row's own is the same for all: none, or
    an instant that follows from ``now`` alone.
    """
    if value is None or value == now:
        return True
    return isinstance(value, datetime) and value > now and value not in _own_of(after.__dict__)


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

    def row(self, key: str, value: bytes, identity: str = "") -> bytes:
        """Return the row of a message with ``value`` under ``key``."""
        end = self._end
        if identity:
            headers = b"".join((self._before, identity.encode(), self._after))
            end = copy_format.text(headers) + self._at
        return b"".join((self._start, copy_format.word(key), copy_format.text(value), end))


class PermissionTemplate:
    """Permissions made from ``message``, published at one instant."""

    def __init__(
        self, topic_messages: TopicMessages, message: Message, since: datetime | None, at: datetime
    ) -> None:
        """``since``: from when all of them hold; None: each from the instant that its row has."""
        self._since_all = since
        self._message = MessageTemplate(message, at=at)
        runs = topic_messages.runs(message, OWN_OF_PERMISSION)
        self._start, self._answer, self._middle, self._since, self._end = runs

    def of(self, row: ConsentRow) -> bytes:
        """Return the row of the permission of ``row``."""
        recipient = row.recipient.encode()
        value = b"".join(
            (
                self._start,
                long_bytes(len(recipient)),
                recipient,
                self._answer,
                _optional(row.registered_at),
                self._middle,
                _optional(row.registered_consent_date),
                self._since,
                long_bytes(milliseconds(self._since_all or row.permission_since) or 0),
                self._end,
            )
        )
        return self._message.row(row.key, value)


class OutcomeTemplate:
    """Outcomes made from ``reached``."""

    def __init__(self, topic_messages: TopicMessages, reached: Outcome) -> None:
        message = topic_messages.outcome(reached)
        self._reached = reached
        self._message = MessageTemplate(
            message, at=reached.occurred_at, identity=reached.outcome_id
        )
        self._value = topic_messages.template(message, OWN_OF_OUTCOME)
        self._at = copy_format.microseconds(reached.occurred_at)

    def of(self, row: ConsentRow, facts: list[Fact]) -> bytes:
        """Return the row of the outcome of the event that ``row`` desires, and add its fact."""
        reached, event_id = self._reached, row.desired_event_id or ""
        is_accepted = reached.outcome == _ACCEPTED
        identity = outcome_id(row.key, event_id, reached.outcome, row.attempts, reached.code)
        own = {
            "recipient": row.recipient,
            "outcome_id": identity,
            "event_id": event_id,
            "transaction_id": row.registered_transaction_id if is_accepted else None,
            "creation_date": row.registered_at if is_accepted else None,
            "attempt": row.attempts,
            "origin": row.desired_origin or "",
            "origin_ref": row.desired_origin_ref,
        }
        facts.append(
            Fact(
                "outcome",
                reached.customer_id,
                row.key,
                event_id,
                reached.status,
                f"outcome/{identity}",
                self._at,
                orjson.dumps(reached.content(row.attempts)),
                None,
            )
        )
        return self._message.row(row.key, self._value(own), identity)


def _optional(instant: datetime | None) -> bytes:
    """Return a field that is an instant or null."""
    at = milliseconds(instant)
    return b"\0" if at is None else b"\2" + long_bytes(at)
