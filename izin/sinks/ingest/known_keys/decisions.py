"""Newer decisions on known keys, ruled by templates.

A simple decision that is newer than what its key desires begins a new obligation. What is due then
follows from the fields that it shares with others, from the row's shape, and from whether what İYS
holds is newer than the decision and than the latest opt-out. All other decisions (older ones, those
that repeat an event, those that name another customer) take the general path.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, LiteralString, NamedTuple

from izin.consent.business_days import Calendar
from izin.consent.fold import is_of_citizens
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.sinks.ingest.bulk_rows import TermColumns
from izin.sinks.ingest.decision_reader import IncomingDecision, SimpleFields, is_prompt
from izin.sinks.ingest.known_keys.templates import Change, KnownRow, order_of_opt_out
from izin.sinks.ingest.simple_decisions import DecisionApplier
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.column_lists import OWN_OF_NEWER, RULED, SHARED_BY_NEWER
from izin.sinks.record.consent_row import READ_BACK, ConsentRow
from izin.sinks.record.ruling import RuledRow

_SQL = statements("consents")
_MICROSECONDS: Final = 1000


class NewerDecision(NamedTuple):
    """A decision that begins a new obligation of a known key."""

    decision: IncomingDecision
    fields: SimpleFields
    terms: bytes
    """Its columns."""


class NewerDecisions:
    """The kind of change that newer decisions are, at one instant."""

    own = OWN_OF_NEWER
    shared = (*SHARED_BY_NEWER, *RULED)
    statements: tuple[LiteralString, LiteralString, LiteralString] = (
        _SQL["stage-newer"],
        _SQL["copy-newer"],
        _SQL["save-newer"],
    )

    def __init__(
        self,
        applier: DecisionApplier,
        brands: Mapping[int, Brand],
        *,
        now: datetime,
        calendar: Calendar,
    ) -> None:
        self._applier = applier
        self._brands = brands
        self._now = now
        self._now_in_milliseconds = (now - EPOCH) // MILLISECOND
        self._calendar = calendar
        self._terms = TermColumns(now=now, calendar=calendar)

    def likened(
        self, decision: IncomingDecision, row: KnownRow
    ) -> tuple[tuple[object, ...], NewerDecision] | None:
        """Return the template key of a decision on ``row``, and the decision; None where the
        general path must apply it.
        """
        fields = decision.fields
        brand = self._brands.get(decision.brand_code)
        if fields is None or brand is None or row.is_unusual or row.reason == READ_BACK:
            return None
        if not decision.customer_id == brand.customer_id == row.customer_id:
            return None
        effective = _instant(fields.effective)
        is_newer = row.desired_at is None or row.desired_at < effective
        if not is_newer or fields.effective > self._now_in_milliseconds:
            return None
        if row.event_id is not None and row.event_id.encode() == fields.event_id:
            return None
        terms, has_ended = self._terms.of(brand, fields)
        registered_at = row.registered_at
        stated_at = registered_at if is_of_citizens(row.registered_source) else row.consent_date
        template_key = (
            fields.template_key,
            row.shape,
            has_ended,
            is_prompt(fields),
            fields.consent_date is None,
            row.since is None,
            order_of_opt_out(stated_at, _later(row.latest_ret, fields.latest_ret)),
            stated_at is not None and stated_at >= effective,
            registered_at is not None and registered_at > effective,
        )
        return template_key, NewerDecision(decision, fields, terms)

    def change(self, row: KnownRow, member: NewerDecision) -> Change:
        """Return what is the row's own in what the decision makes of it."""
        fields = member.fields
        columns = b"".join(
            (
                copy_format.text(fields.event_id),
                copy_format.text(fields.origin_ref),
                copy_format.stored_instant(_instant(fields.effective)),
                _optional(fields.consent_date),
                copy_format.stored_instant(_instant(fields.received)),
                copy_format.stored_instant(_later(row.latest_onay, fields.latest_onay)),
                copy_format.stored_instant(_later(row.latest_ret, fields.latest_ret)),
                member.terms,
            )
        )
        origin_ref = fields.origin_ref
        return Change(
            row,
            columns,
            fields.event_id.decode(),
            None if origin_ref is None else origin_ref.decode(),
            0,
            row.registered_at,
            row.consent_date,
        )

    def ruled(self, before: ConsentRow, member: NewerDecision) -> RuledRow:
        """Return what the decision makes of a row, by the general path."""
        decision = member.decision
        after = self._applier.apply(before, decision, self._now)
        brand = self._brands[decision.brand_code]
        return ruling.rule_row(after, brand, self._now, calendar=self._calendar)


def _instant(milliseconds: int) -> int:
    """Return an instant of a decision in microseconds since 2000."""
    return milliseconds * _MICROSECONDS - copy_format.EPOCH


def _later(known: int | None, milliseconds: int | None) -> int | None:
    """Return the later of a row's instant and a decision's."""
    if milliseconds is None:
        return known
    instant = _instant(milliseconds)
    return instant if known is None or instant > known else known


def _optional(milliseconds: int | None) -> bytes:
    return (
        copy_format.NULL
        if milliseconds is None
        else copy_format.stored_instant(_instant(milliseconds))
    )
