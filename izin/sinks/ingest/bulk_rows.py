"""Build the rows of new keys in bulk: one computed example is the template of all that are like it.

What is due for a new key follows from the fields that its decision shares with many others (the
template key) and from its term. So the general path (``record.apply``, ``record.ruling``) runs once
a template, and every further row is the template with its own key, event and instants. A decision
from which more follows (an outcome, a rescue, a status query), or that names another customer than
its brand's, is left to the general path;
``tests/integration/sinks/ingest/test_bulk_rows.py`` holds both paths equal.
"""

import struct
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from izin.consent.business_days import Calendar
from izin.consent.due_dates import TURKEY, due_and_expiry
from izin.consent.model import Status
from izin.consent.next_action import Action
from izin.consent.transitions import State
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import EPOCH
from izin.sinks.ingest.decision_reader import (
    RET,
    DecisionReader,
    IncomingDecision,
    SimpleFields,
    is_prompt,
)
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.row_templates import NEW_ROW, MessageTemplate, shared_columns
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.messages import TopicMessages

_MILLISECOND = timedelta(milliseconds=1)
_MICROSECONDS: Final = 1000
_A_DAY: Final[int] = timedelta(days=1) // timedelta.resolution
_TURKEY_AHEAD: Final[int] = (TURKEY.utcoffset(None) or timedelta()) // timedelta.resolution
_size = struct.Struct(">i").pack
_packed = struct.Struct(">iq").pack


class NewRowTemplate(NamedTuple):
    """What new rows of one template share."""

    columns: bytes
    message: MessageTemplate
    start: bytes
    """The message's value before the fields of the key."""
    end: bytes
    """The message's value after the fields of the key."""


NewRows = tuple[bytes, bytes]
"""A row of ``consents`` and one of the outbox, in the format of COPY."""


class _Day(NamedTuple):
    """The terms of the events of one day in Turkey, of a brand that is active. Instants are
    microseconds since 1970.
    """

    begins: int
    first_due: int
    last_due: int
    expires: bytes
    """Its column."""
    has_ended: bool


class TermColumns:
    """The terms of rows in COPY format, at one instant.

    Terms are of whole days: what is due follows from the first and the last event of a day.
    """

    def __init__(self, *, now: datetime, calendar: Calendar) -> None:
        self._now = now
        self._calendar = calendar
        self._days: dict[tuple[int, Status, int], _Day] = {}
        self._known: dict[tuple[int, Status, int], tuple[bytes, bool]] = {}

    def of(self, brand: Brand, fields: SimpleFields) -> tuple[bytes, bool]:
        """Return the columns of the terms of a brand's event, and whether the last has ended."""
        status = Status.RET if fields.template_key[2].startswith(RET) else Status.ONAY
        return self.at(brand, status, fields.effective * _MICROSECONDS)

    def at(self, brand: Brand, status: Status, effective: int) -> tuple[bytes, bool]:
        """Return the same for an event of this effective instant, in microseconds since 1970."""
        if brand.activated_at is None or brand.activated_at > self._now:
            return self._before_activation(brand, status, effective)
        number = (effective + _TURKEY_AHEAD) // _A_DAY
        day = self._days.get((brand.brand_code, status, number))
        if day is None:
            day = put(
                self._days, (brand.brand_code, status, number), self._day(brand, status, number)
            )
        due = day.first_due
        if due != day.last_due:
            due = min(due + effective - day.begins, day.last_due)
        return copy_format.instant(due) + day.expires, day.has_ended

    def _day(self, brand: Brand, status: Status, number: int) -> _Day:
        begins = number * _A_DAY - _TURKEY_AHEAD
        first, expires = self._terms(brand, status, begins)
        last, _ = self._terms(brand, status, begins + _A_DAY - 1)
        if first is None or last is None:
            raise ValueError("an active brand has terms")
        return _Day(
            begins,
            copy_format.microseconds(first),
            copy_format.microseconds(last),
            copy_format.moment(expires),
            expires is not None and self._now > expires,
        )

    def _before_activation(
        self, brand: Brand, status: Status, effective: int
    ) -> tuple[bytes, bool]:
        """Return the terms of a brand that is being loaded: its deadline counts too."""
        known = self._known.get((brand.brand_code, status, effective))
        if known is not None:
            return known
        due, expires = self._terms(brand, status, effective)
        columns = copy_format.moment(due) + copy_format.moment(expires)
        has_ended = expires is not None and self._now > expires
        return put(self._known, (brand.brand_code, status, effective), (columns, has_ended))

    def _terms(
        self, brand: Brand, status: Status, effective: int
    ) -> tuple[datetime | None, datetime | None]:
        return due_and_expiry(
            EPOCH + effective * timedelta.resolution,
            brand.clock,
            status=status,
            now=self._now,
            calendar=self._calendar,
        )


def own_columns(key: bytes, fields: SimpleFields, terms: bytes) -> bytes:
    """Return the columns in which new rows of one template differ (``OWN_OF_NEW``), in COPY format;
    ``key`` is a column, and so are the ``terms``.
    """
    return b"".join(
        (
            key,
            _size(len(fields.recipient)),
            fields.recipient,
            _size(len(fields.event_id)),
            fields.event_id,
            copy_format.text(fields.origin_ref),
            _instant(fields.effective),
            _instant(fields.consent_date),
            _instant(fields.received),
            _instant(fields.latest_onay),
            _instant(fields.latest_ret),
            terms,
        )
    )


class NewRowBuilder:
    """Builds the rows of new keys, at one instant."""

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
        self._topic_messages = topic_messages
        self._brands = brands
        self._now = now
        self._now_in_milliseconds = (now - EPOCH) // _MILLISECOND
        self._calendar = calendar
        self._templates: dict[tuple[object, ...], NewRowTemplate | None] = {}
        self._terms = TermColumns(now=now, calendar=calendar)
        self.due_actions: set[tuple[Action, str]] = set()
        """The actions that the rows built so far are due, each with the desired status."""

    def build(self, decision: IncomingDecision) -> NewRows | None:
        """Return the rows of a new key; None where the general path must build them."""
        fields = decision.fields
        brand = self._brands.get(decision.brand_code)
        if fields is None or brand is None:
            return None
        due, has_ended = self._terms.of(brand, fields)
        template_key = (
            fields.template_key,
            has_ended,
            is_prompt(fields),
            fields.consent_date is None,
            fields.effective > self._now_in_milliseconds,
        )
        try:
            template = self._templates[template_key]
        except KeyError:
            template = self._templates[template_key] = self._template(decision, fields, brand)
        if template is None:
            return None
        key = copy_format.word(decision.key)
        consent = b"".join((NEW_ROW, own_columns(key, fields, due), template.columns))
        value = b"".join((template.start, fields.address, template.end))
        return consent, template.message.row(key, value)

    def _template(
        self, decision: IncomingDecision, fields: SimpleFields, brand: Brand
    ) -> NewRowTemplate | None:
        """Return the template computed from ``decision``; None where more follows from it than an
        obligation that waits to be submitted.
        """
        now = self._now
        decided = apply.decided(None, self._reader.decode(decision.value), now)
        if decided.customer_id != brand.customer_id:
            return None
        ruled = ruling.rule_row(decided, brand, now, calendar=self._calendar)
        row = ruled.row.replace(updated_at=now)
        permission = self._topic_messages.permission(None, row, now)
        if permission is None or ruled.rescue is not None or row.state is not State.PENDING:
            return None
        row, message = permission
        columns = shared_columns(row)
        start, found, end = (message.value or b"").partition(fields.address)
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


def split(
    decisions: Sequence[IncomingDecision], rows: Container[str]
) -> tuple[list[IncomingDecision], list[IncomingDecision], list[IncomingDecision]]:
    """Return the decisions on keys that occur once and have no row, on those that occur once and
    have one, and all others.
    """
    occurrences = Counter(one.key for one in decisions)
    new_keys: list[IncomingDecision] = []
    known_keys: list[IncomingDecision] = []
    others: list[IncomingDecision] = []
    for one in decisions:
        if occurrences[one.key] > 1:
            others.append(one)
        elif one.key in rows:
            known_keys.append(one)
        else:
            new_keys.append(one)
    return new_keys, known_keys, others
