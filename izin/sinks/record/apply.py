"""What a row learns: what the law has decided of its key, and what İYS has stated of it.

Pure: a row goes in with what was heard, a row comes out; what it then owes is ruled elsewhere.
``registered`` is always İYS's statement with the greatest creation date.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from izin.consent.attestation import attested
from izin.consent.model import Consent, ConsentEvent, Status
from izin.consent.obligation import Action, Registered
from izin.schemas.records import consent_from_avro, event_from_avro
from izin.sinks.record.row import ConsentRow
from izin.sinks.record.transitions import begin, first_row

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What İYS has stated of a key. ``creation_date`` of an absence is the instant of asking."""

    value: Registered
    creation_date: datetime
    consent_date: datetime | None = None
    source: str | None = None
    transaction_id: str | None = None
    verified_at: datetime
    is_answer: bool = False
    """İYS's answer to what we have just told it: newer than any earlier question, whatever the
    clocks say.
    """
    verified_by: str
    """Which way it came: add, batch, status, statuses, pull, push, daily."""


def decided(row: ConsentRow | None, decision: Mapping[str, Any], now: datetime) -> ConsentRow:
    """Return the row once the law has decided ``decision`` (an Avro Decision); what is owed is not
    ruled yet.

    The newest desired by the law's order wins; an older one only moves the latest instants. What
    İYS says of itself in the event is its statement, too.
    """
    consent = consent_from_avro(decision["consent"])
    event = event_from_avro(decision["event"])
    key = consent.key
    if row is None:
        row = first_row(key, consent.customer_id, now)
    row = row.replace(
        latest_onay_at=latest(row.latest_onay_at, consent.latest_onay_at),
        latest_ret_at=latest(row.latest_ret_at, consent.latest_ret_at),
    )
    if is_outranked(row, consent.order):
        row = _desiring(row, consent, event)
    told = event.iys
    if told is not None and event.status in set(Status):
        row = observed(
            row,
            Observation(
                value=Registered(event.status),
                creation_date=told.creation_date,
                consent_date=event.consent_date,
                source=event.source,
                transaction_id=told.transaction_id,
                verified_at=told.observed_at or now,
                verified_by=told.path,
            ),
        )
    return row


def _desiring(row: ConsentRow, consent: Consent, event: ConsentEvent) -> ConsentRow:
    """Return the row once ``consent`` is what is desired, decided upon with ``event``."""
    if row.is_of(consent.event_id, str(consent.status)):
        # The same statement, said again with a later date (a form sent twice, which gives none):
        # what was told of it stays told.
        return row.replace(
            desired_at=consent.effective_at, desired_consent_date=consent.consent_date
        )
    known = event if event.event_id == consent.event_id else None
    return begin(
        row,
        customer_id=consent.customer_id,
        desired_status=str(consent.status),
        desired_at=consent.effective_at,
        desired_rank=int(consent.origin_rank),
        desired_event_id=consent.event_id,
        desired_origin=consent.origin,
        desired_origin_ref=None if known is None else known.origin_ref,
        desired_source=consent.source,
        desired_consent_date=consent.consent_date,
        received_at=None if known is None else known.received_at,
        notice_version=None if known is None else known.notice_version,
        registrable=consent.registrable,
        attested=known is not None and attested(known),
        retailer_code=None if known is None else known.retailer_code,
        retailer_access=None if known is None else known.retailer_access,
        action=Action.NOTHING,
        reason=None,
        code=None,
        attempts=0,
        next_attempt_at=None,
        lease_owner=None,
        lease_until=None,
    )


def is_outranked(row: ConsentRow, order: tuple[datetime, bool, int, str]) -> bool:
    """Whether a statement of this rank (``Consent.order``) stands before what is desired."""
    return row.desired_at is None or order > (
        row.desired_at,
        row.desired_status == Status.RET,
        row.desired_rank or 0,
        row.desired_event_id or "",
    )


def observed(row: ConsentRow, statement: Observation) -> ConsentRow:
    """Return the row once İYS has stated ``statement``; an older statement changes nothing.

    Details of a statement that was known without them are filled in.
    """
    known_at = row.registered_at or _NEVER
    detailed = statement.transaction_id is not None
    # What a question has shown carries our clock; what a movement shows, İYS's.
    asked = row.registered_transaction_id is None and row.registered_at is not None
    if asked and statement.is_answer:
        known_at = statement.creation_date
    fills_in = asked and detailed and row.registered == statement.value
    if statement.creation_date < known_at and not fills_in:
        return row
    tie = statement.creation_date == known_at and row.registered != statement.value
    if tie and row.registered == Registered.RET:
        return row
    # The multiple query shows only what is ONAY: its silence over a known RET is that RET.
    silent = statement.value is Registered.NOT_ONAY and row.registered == Registered.RET
    if silent or (not detailed and row.registered == statement.value):
        return row.replace(verified_at=statement.verified_at, verified_by=statement.verified_by)
    return row.replace(
        registered=str(statement.value),
        registered_at=max(known_at, statement.creation_date),
        registered_consent_date=statement.consent_date,
        registered_source=statement.source,
        registered_transaction_id=statement.transaction_id,
        verified_at=statement.verified_at,
        verified_by=statement.verified_by,
    )


def answered_row(row: ConsentRow, status: str, now: datetime) -> ConsentRow:
    """Return the row once nothing of this status is told and unanswered any more."""
    if status == Status.RET:
        return row.replace(ret_open=False, last_exchange_at=now)
    return row.replace(onay_open=False, last_exchange_at=now)


def latest(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two instants, either of which may be unknown."""
    if one is None or other is None:
        return one or other
    return max(one, other)
