"""Build the rows of many missing keys from templates, as ``sinks.ingest.bulk_rows`` does for new
ones: one is computed by the general path (``mend.lost_row``, ``record.ruling``), and every other
that shares its decided columns is the same with its own key, event and instants.

A row from which more follows than an obligation that waits is left to the general path.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from izin.consent.business_days import Calendar
from izin.consent.model import Status
from izin.consent.next_action import Action
from izin.consent.transitions import State
from izin.schemas.fast.writer import long_bytes
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.row_templates import MessageTemplate, columns_of
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.column_lists import OWN_OF_NEW, SHADOW, SHARED_BY_RESTORED, TYPES
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import TopicMessages

_ROW = (len(OWN_OF_NEW) + len(SHARED_BY_RESTORED)).to_bytes(2, "big")
_SAME = tuple(name for name in SHADOW if name not in OWN_OF_NEW)
"""The decided columns that the rows of one template share."""
_NO_TERMS = copy_format.NULL * 2


class _LostRowTemplate(NamedTuple):
    columns: bytes
    has_terms: bool
    message: MessageTemplate
    start: bytes
    """The message's value before the recipient."""
    end: bytes


class LostRowBuilder:
    """Builds the rows of missing keys, at one instant."""

    def __init__(
        self,
        topic_messages: TopicMessages,
        brands: Mapping[int, Brand],
        *,
        now: datetime,
        calendar: Calendar,
    ) -> None:
        self._topic_messages = topic_messages
        self._brands = brands
        self._now = now
        self._calendar = calendar
        self._templates: dict[tuple[object, ...], _LostRowTemplate | None] = {}
        self.due_actions: set[tuple[Action, str]] = set()
        """The actions that the rows built so far are due, each with the desired status."""

    def build(self, shadow: Mapping[str, Any], row: ConsentRow) -> tuple[bytes, bytes] | None:
        """Return the rows of ``consents`` and of the outbox for ``shadow``, of which ``row`` is to
        be ruled; None where the general path must write it.
        """
        is_opt_in = shadow["desired_status"] == Status.ONAY
        if (
            shadow["parked"] is not None
            or shadow["retailer_access"] is not None
            or row.is_open
            or row.state is not State.PENDING
            or (is_opt_in and shadow["latest_ret_at"] is not None)
            or (shadow["desired_at"] or self._now) > self._now
        ):
            return None
        same = tuple(shadow[name] for name in _SAME)
        template_key = (*same, shadow["desired_consent_date"] is None)
        try:
            template = self._templates[template_key]
        except KeyError:
            template = self._templates[template_key] = self._template(row)
        if template is None:
            return None
        return self._from(template, shadow)

    def _from(self, template: _LostRowTemplate, shadow: Mapping[str, Any]) -> tuple[bytes, bytes]:
        word, moment = copy_format.word, copy_format.moment
        recipient = shadow["recipient"].encode()
        key = word(shadow["key"])
        terms = moment(shadow["due_at"]) + moment(shadow["expires_at"])
        consent = (
            _ROW,
            key,
            copy_format.text(recipient),
            word(shadow["desired_event_id"]),
            word(shadow["desired_origin_ref"]),
            moment(shadow["desired_at"]),
            moment(shadow["desired_consent_date"]),
            moment(shadow["received_at"]),
            moment(shadow["latest_onay_at"]),
            moment(shadow["latest_ret_at"]),
            terms if template.has_terms else _NO_TERMS,
            template.columns,
        )
        value = b"".join((template.start, long_bytes(len(recipient)), recipient, template.end))
        return b"".join(consent), template.message.row(key, value)

    def _template(self, row: ConsentRow) -> _LostRowTemplate | None:
        """Return the template computed from ``row``; None where more follows from it."""
        brand = self._brands.get(row.brand_code)
        ruled = ruling.rule_row(row, brand, self._now, calendar=self._calendar)
        permission = self._topic_messages.permission(
            None, ruled.row.replace(updated_at=self._now), self._now
        )
        if permission is None or ruled.rescue is not None:
            return None
        after, message = permission
        written = {*OWN_OF_NEW, *SHARED_BY_RESTORED}
        left_out = any(after.__dict__[name] is not None for name in TYPES if name not in written)
        recipient = after.recipient.encode()
        parts = (message.value or b"").partition(long_bytes(len(recipient)) + recipient)
        start, found, end = parts
        if after.state is not State.PENDING or brand is None or left_out or not found:
            return None
        self.due_actions.add((after.action, after.desired_status or ""))
        return _LostRowTemplate(
            columns=columns_of(after, SHARED_BY_RESTORED),
            has_terms=after.due_at is not None,
            message=MessageTemplate(message, at=self._now),
            start=start,
            end=end,
        )
