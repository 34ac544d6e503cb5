"""New keys by the thousand: what the rulings make of one, stamped out for all that share its voice.

Of a key that nobody has spoken of, what is owed follows from what its decision shares with many
others (its voice), and from whether its term has ended. So the rulings are asked once a voice, and
each further row is that row with its own key, event and instants. Whatever else may follow (an
outcome, a rescue, a question) is left to the rulings, row by row; a test holds both ways together.
"""

from __future__ import annotations

import struct
from dataclasses import fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from izin.consent.clocks import terms
from izin.consent.model import Status
from izin.schemas.fast.writer import EPOCH
from izin.sinks.ingest.decision_reader import is_prompt
from izin.sinks.ledger import outbox
from izin.sinks.ledger.db import copy_format
from izin.sinks.record import apply, transitions
from izin.sinks.record.row import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from izin.consent.business_days import Calendar
    from izin.sinks.ingest.decision_reader import Cut, DecisionReader, Read
    from izin.sinks.ledger.brands import Brand
    from izin.sinks.record.messages import Announcer

OWN = (
    "key",
    "recipient",
    "desired_event_id",
    "desired_origin_ref",
    "desired_at",
    "desired_consent_date",
    "received_at",
    "latest_onay_at",
    "latest_ret_at",
    "due_at",
    "expires_at",
)
"""The columns that differ from row to row, in the order of the COPY."""
SHARED: Mapping[str, Callable[..., bytes]] = {
    "customer_id": copy_format.text,
    "brand_code": copy_format.integer,
    "channel": copy_format.text,
    "recipient_type": copy_format.text,
    "desired_status": copy_format.text,
    "desired_rank": copy_format.small,
    "desired_origin": copy_format.text,
    "desired_source": copy_format.text,
    "notice_version": copy_format.text,
    "registrable": copy_format.boolean,
    "attested": copy_format.boolean,
    "registered": copy_format.text,
    "state": copy_format.text,
    "duty": copy_format.text,
    "why": copy_format.text,
    "attempts": copy_format.integer,
    "onay_open": copy_format.boolean,
    "ret_open": copy_format.boolean,
    "may_send": copy_format.boolean,
    "permission_reason": copy_format.text,
    "permission_since": copy_format.instant,
    "updated_at": copy_format.instant,
}
"""The columns behind them, and how each is written."""
_LEFT = tuple(
    field.name for field in fields(Entry) if field.name not in OWN and field.name not in SHARED
)
"""The columns that are null in a new row that is only owed."""
_COUNT = (len(OWN) + len(SHARED)).to_bytes(2, "big")
_MILLISECOND = timedelta(milliseconds=1)
_size = struct.Struct(">i").pack
_packed = struct.Struct(">iq").pack


class Pattern(NamedTuple):
    """What the rows of one voice share."""

    columns: bytes
    message: tuple[bytes, bytes, bytes]
    """Of the outbox's row: what stands before its key, the message behind the key's fields, and
    what stands behind the message.
    """
    framed: bytes
    """How the message begins, before the key's fields."""


Made = tuple[bytes, bytes]
"""A row of ``consents`` and one of the outbox, as COPY takes them."""


class Stamp:
    """Makes the rows of new keys, at one instant."""

    def __init__(
        self,
        reader: DecisionReader,
        announcer: Announcer,
        brands: Mapping[int, Brand],
        *,
        now: datetime,
        calendar: Calendar,
    ) -> None:
        self._reader = reader
        self._announcer = announcer
        self._brands = brands
        self._now = now
        self._now_in_milliseconds = (now - EPOCH) // _MILLISECOND
        self._calendar = calendar
        self._patterns: dict[tuple[object, ...], Pattern | None] = {}
        self._terms: dict[tuple[int, bytes, int], tuple[bytes, bool]] = {}
        self.owed: set[tuple[str, str]] = set()
        """The duties, and of which status, that were made."""

    def make(self, read: Read) -> Made | None:
        """Return the rows of a key that nobody has spoken of; None: the rulings must be asked."""
        cut = read.cut
        brand = self._brands.get(read.brand_code)
        if cut is None or brand is None:
            return None
        status = cut.voice[2]
        term = self._terms.get((read.brand_code, status, cut.effective))
        if term is None:
            term = self._term(read.brand_code, status, cut.effective, brand)
        due, has_ended = term
        shape = (
            cut.voice,
            has_ended,
            is_prompt(cut),
            cut.consent_date is None,
            cut.effective > self._now_in_milliseconds,
        )
        pattern = self._patterns.get(shape, _UNSEEN)
        if pattern is _UNSEEN:
            pattern = self._patterns[shape] = self._pattern(read, cut, brand)
        if pattern is None:
            return None
        key, reference = read.key.encode(), cut.origin_ref
        key = _size(len(key)) + key
        before, behind, after = pattern.message
        consent = (
            _COUNT,
            key,
            _size(len(cut.recipient)),
            cut.recipient,
            _size(len(cut.event_id)),
            cut.event_id,
            copy_format.NULL if reference is None else _size(len(reference)) + reference,
            _instant(cut.effective),
            _instant(cut.consent_date),
            _instant(cut.received),
            _instant(cut.latest_onay),
            _instant(cut.latest_ret),
            due,
            pattern.columns,
        )
        size = _size(len(pattern.framed) + len(cut.address) + len(behind))
        message = before, key, size, pattern.framed, cut.address, behind, after
        return b"".join(consent), b"".join(message)

    def _term(self, code: int, status: bytes, effective: int, brand: Brand) -> tuple[bytes, bool]:
        """Return the columns of the terms, and whether the last of them has ended."""
        effective_at = EPOCH + effective * _MILLISECOND
        said = Status.RET if status.startswith(_RET) else Status.ONAY
        due, expires = terms(
            effective_at, brand.clock, status=said, now=self._now, calendar=self._calendar
        )
        columns = copy_format.moment(due) + copy_format.moment(expires)
        has_ended = expires is not None and self._now > expires
        return self._terms.setdefault((code, status, effective), (columns, has_ended))

    def _pattern(self, read: Read, cut: Cut, brand: Brand) -> Pattern | None:
        """Return what the rulings make of one decision of a voice, if it is merely owed."""
        now = self._now
        decided = apply.decided(None, self._reader.decode(read.value), now)
        ruled = transitions.ruled(decided, brand, now, calendar=self._calendar)
        entry = ruled.entry.but(updated_at=now)
        told = self._announcer.permission(None, entry, now)
        if told is None or ruled.rescue is not None or entry.state != "pending":
            return None
        entry, message = told
        framed, found, behind = message.value.partition(cut.address)
        if not found or any(entry.__dict__[name] is not None for name in _LEFT):
            return None
        self.owed.add((entry.duty, entry.desired_status or ""))
        columns = b"".join(
            write(_plain(entry.__dict__[name]))
            if entry.__dict__[name] is not None
            else copy_format.NULL
            for name, write in SHARED.items()
        )
        before = outbox.begun(message)
        after = copy_format.text(outbox.marks(message)) + copy_format.moment(now)
        return Pattern(columns, (before, behind, after), framed)


def _plain(value: object) -> object:
    """Return a column's value as its writer takes it."""
    if isinstance(value, str):
        return value.encode()
    return copy_format.microseconds(value) if isinstance(value, datetime) else value


def _instant(milliseconds: int | None) -> bytes:
    return (
        copy_format.NULL
        if milliseconds is None
        else _packed(8, milliseconds * 1000 - copy_format.EPOCH)
    )


_UNSEEN = Pattern(b"", (b"", b"", b""), b"")
_RET = b"\6RET"
