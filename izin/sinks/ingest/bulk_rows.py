"""New keys by the thousand: what the rulings make of one, stamped out for all that share its voice.

Of a key that nobody has spoken of, what is owed follows from what its decision shares with many
others (its voice), and from whether its term has ended. So the rulings are asked once a voice, and
each further row is that row with its own key, event and instants. Whatever else may follow (an
outcome, a rescue, a question) is left to the rulings, row by row; a test holds both ways together.
"""

import struct
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from izin.consent.business_days import Calendar
from izin.consent.lifecycle import State
from izin.consent.model import Status
from izin.consent.terms import due_and_expiry
from izin.schemas.fast.writer import EPOCH
from izin.sinks.ingest.decision_reader import Cut, DecisionReader, Read, is_prompt
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.row_templates import NEW_ROW, MessageTemplate, shared_columns
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.messages import TopicMessages

if TYPE_CHECKING:
    from izin.consent.obligation import Action

_MILLISECOND = timedelta(milliseconds=1)
_size = struct.Struct(">i").pack
_packed = struct.Struct(">iq").pack


class NewRowTemplate(NamedTuple):
    """What new rows of one shape share."""

    columns: bytes
    message: MessageTemplate
    start: bytes
    """How the message's value begins, before the key's fields."""
    end: bytes
    """What stands behind the key's fields in it."""


Made = tuple[bytes, bytes]
"""A row of ``consents`` and one of the outbox, as COPY takes them."""


class BulkRows:
    """Makes the rows of new keys, at one instant."""

    def __init__(
        self,
        reader: DecisionReader,
        topic_messages: TopicMessages,
        brands: Mapping[int, Brand],
        *,
        now: datetime,
        calendar: Calendar,
    ) -> None:
        self._reader = reader
        self._announcer = topic_messages
        self._brands = brands
        self._now = now
        self._now_in_milliseconds = (now - EPOCH) // _MILLISECOND
        self._calendar = calendar
        self._templates: dict[tuple[object, ...], NewRowTemplate | None] = {}
        self._terms: dict[tuple[int, bytes, int], tuple[bytes, bool]] = {}
        self.due_actions: set[tuple[Action, str]] = set()
        """The duties, and of which status, that were made."""

    def make(self, read: Read) -> Made | None:
        """Return the rows of a key that nobody has spoken of; None: the rulings must be asked."""
        cut = read.cut
        brand = self._brands.get(read.brand_code)
        if cut is None or brand is None:
            return None
        status = cut.template_key[2]
        term = self._terms.get((read.brand_code, status, cut.effective))
        if term is None:
            term = self._term(read.brand_code, status, cut.effective, brand)
        due, has_ended = term
        shape = (
            cut.template_key,
            has_ended,
            is_prompt(cut),
            cut.consent_date is None,
            cut.effective > self._now_in_milliseconds,
        )
        try:
            template = self._templates[shape]
        except KeyError:
            template = self._templates[shape] = self._template(read, cut, brand)
        if template is None:
            return None
        key, reference = read.key.encode(), cut.origin_ref
        key = _size(len(key)) + key
        consent = (
            NEW_ROW,
            key,
            _size(len(cut.recipient)),
            cut.recipient,
            _size(len(cut.event_id)),
            cut.event_id,
            copy_format.text(reference),
            _instant(cut.effective),
            _instant(cut.consent_date),
            _instant(cut.received),
            _instant(cut.latest_onay),
            _instant(cut.latest_ret),
            due,
            template.columns,
        )
        value = b"".join((template.start, cut.address, template.end))
        return b"".join(consent), template.message.row(key, value)

    def _term(self, code: int, status: bytes, effective: int, brand: Brand) -> tuple[bytes, bool]:
        """Return the columns of the terms, and whether the last of them has ended."""
        effective_at = EPOCH + effective * _MILLISECOND
        said = Status.RET if status.startswith(_RET) else Status.ONAY
        due, expires = due_and_expiry(
            effective_at, brand.clock, status=said, now=self._now, calendar=self._calendar
        )
        columns = copy_format.moment(due) + copy_format.moment(expires)
        has_ended = expires is not None and self._now > expires
        return self._terms.setdefault((code, status, effective), (columns, has_ended))

    def _template(self, read: Read, cut: Cut, brand: Brand) -> NewRowTemplate | None:
        """Return the template of a shape, computed from ``read``; None where more follows from it
        than an obligation that waits to be submitted.
        """
        now = self._now
        decided = apply.decided(None, self._reader.decode(read.value), now)
        ruled = ruling.rule_row(decided, brand, now, calendar=self._calendar)
        row = ruled.row.replace(updated_at=now)
        permission = self._announcer.permission(None, row, now)
        if permission is None or ruled.rescue is not None or row.state is not State.PENDING:
            return None
        row, message = permission
        columns = shared_columns(row)
        start, found, end = message.value.partition(cut.address)
        if not found or columns is None:
            return None
        self.due_actions.add((row.action, row.desired_status or ""))
        return NewRowTemplate(columns, MessageTemplate(message, at=now), start, end)


def _instant(milliseconds: int | None) -> bytes:
    return (
        copy_format.NULL
        if milliseconds is None
        else _packed(8, milliseconds * 1000 - copy_format.EPOCH)
    )


_RET = b"\6RET"
