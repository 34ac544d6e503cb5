"""Apply a decision of the law, or an observation at İYS, to a row.

Pure: takes a row, returns a row; what is due to İYS then is ruled in ``record.ruling``. Which event
is newer, and what an observation makes of what İYS holds, ``consent.fold`` says.

A newer opt-in takes the row of an opt-out that İYS may not have yet. That is lawful only if the
opt-in reaches İYS: one that expires, is refused or parked permits nothing, and must not hide the
opt-out for which İYS still shows an older ONAY. So the row keeps what the latest opt-out said while
an opt-in is desired, and desires it again when the opt-in is closed. It is submitted as it was
given, with its own source and date; where İYS refuses that, it is rescued like any other. The
opt-in is named (``void_event_id``), so that its repetitions change nothing. What is no longer known
of the opt-out (its event was never seen here) leaves its rescue.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from izin.consent import (
    CLOSED,
    LOST,
    Action,
    Consent,
    ConsentEvent,
    Observation,
    Order,
    Status,
    Violation,
    attested,
    latest,
    outranks,
    outranks_void,
)
from izin.ledger.record.consent_row import ConsentRow, columns_of_registration, is_read_back
from izin.ledger.record.state_change import begin, first_row
from izin.schemas.records import consent_from_avro, event_from_avro

Columns = Mapping[str, Any]

_KEPT: Mapping[str, str] = {
    "ret_event_id": "desired_event_id",
    "ret_rank": "desired_rank",
    "ret_origin": "desired_origin",
    "ret_origin_ref": "desired_origin_ref",
    "ret_source": "desired_source",
    "ret_consent_date": "desired_consent_date",
    "ret_registrable": "registrable",
    "ret_withdrawn_at": "withdrawn_at",
}
"""The columns that keep an opt-out, and those that they had while it was desired."""
UNKNOWN: Columns = dict.fromkeys(_KEPT)
"""The columns where nobody knows what the latest opt-out said."""


def decided(row: ConsentRow | None, decision: Mapping[str, Any], now: datetime) -> ConsentRow:
    """Return the row after ``decision`` (an Avro Decision), before it is ruled.

    The newest event in the law's order is desired; an older one only moves the latest instants.
    What an event says of İYS is no observation, for whoever may write the topic could write it: the
    sink observes İYS itself, in what it pulls, queries and is answered. An ONAY that is claimed
    opens nothing. A RET that is claimed closes at once, and is verified before it settles anything.
    """
    consent = consent_from_avro(decision["consent"])
    event = event_from_avro(decision["event"])
    key = consent.key
    if row is None:
        row = first_row(key, consent.customer_id, now)
    is_newer = is_outranked(row, consent.order)
    row = _with_latest(row, consent, said_of_opt_out(event, decision))
    if is_newer:
        row = _desiring(row, consent, event)
    if event.iys is not None and event.status == Status.RET:
        row = observed(row, Observation.of(event, event.iys, verified_at=None))
    return row


def restored(row: ConsentRow | None, consent: Consent, now: datetime) -> ConsentRow:
    """Return the row after ``consent``, as the state topic has it, before it is ruled.

    A newer row stays as it is, but for the latest instants. Where the consent is news, so is
    whatever else happened since: what is registered is unknown until İYS is queried.
    """
    row = row or first_row(consent.key, consent.customer_id, now)
    is_newer = is_outranked(row, consent.order)
    row = _with_latest(row, consent, UNKNOWN)
    if not is_newer:
        return row
    if row.is_of(consent.event_id, str(consent.status)):
        return _desiring(row, consent, None)
    return unregistered(_desiring(row, consent, None))


def unregistered(row: ConsentRow) -> ConsentRow:
    """Return the row of a ledger that no longer knows what is registered: İYS is queried first."""
    return row.replace(**columns_of_registration(LOST))


def said_of_opt_out(event: ConsentEvent, decision: Mapping[str, Any]) -> Columns:
    """Return what an opt-out said, by the ``decision`` on it, that may be the latest one behind a
    newer opt-in.
    """
    if event.status != Status.RET:
        return UNKNOWN
    found = (Violation(**one) for one in decision["violations"])
    return stated(event, registrable=all(violation.is_note for violation in found))


def _with_latest(row: ConsentRow, consent: Consent, opt_out: Columns) -> ConsentRow:
    """Return the row with the latest instants moved; where the opt-out behind an opt-in is another
    then, that is the one to keep, and desired at once where the opt-in is void.
    """
    ret_at = latest(row.latest_ret_at, consent.latest_ret_at)
    is_other = ret_at != row.latest_ret_at and consent.status is Status.ONAY
    row = row.replace(
        latest_onay_at=latest(row.latest_onay_at, consent.latest_onay_at), latest_ret_at=ret_at
    )
    if not is_other:
        return row
    row = row.replace(**opt_out)
    if row.void_event_id is None or row.ret_event_id is None:
        return row
    return taken_over(row, **columns_of_earlier(row))


def _desiring(row: ConsentRow, consent: Consent, event: ConsentEvent | None) -> ConsentRow:
    """Return the row once ``consent``, decided with ``event`` if that is known, is desired."""
    if row.is_of(consent.event_id, str(consent.status)):
        # The same event with a later date (a form sent twice, which has none): what was submitted
        # of it stays submitted.
        return row.replace(
            desired_at=consent.effective_at, desired_consent_date=consent.consent_date
        )
    known = event if event is not None and event.event_id == consent.event_id else None
    return taken_over(
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
    )


def taken_over(row: ConsentRow, **desired: Any) -> ConsentRow:  # noqa: ANN401  # a column's value each
    """Return the row once another event is ``desired`` (its columns): a new obligation begins."""
    status = desired["desired_status"]
    is_kept = status == Status.RET and is_read_back(row)
    columns = {
        "brake_id": None,
        "withdrawn_at": None,
        "void_event_id": None,
        **under(row, status),
    }
    return begin(
        row,
        **columns | desired,
        action=row.action if is_kept else Action.NOTHING,
        reason=row.reason if is_kept else None,
        code=None,
        attempts=0,
        next_attempt_at=row.next_attempt_at if is_kept else None,
        lease_owner=None,
        lease_until=None,
    )


def is_outranked(row: ConsentRow, order: Order) -> bool:
    """Whether an event of this order outranks the desired one, or the newer one that is void."""
    if row.void_event_id is not None:
        return outranks_void(order, row.void_event_id, row.latest_onay_at, row.latest_ret_at)
    return outranks(order, row.desired_order)


def observed(
    row: ConsentRow,
    observation: Observation,
    **others: Any,  # noqa: ANN401  # a column's value each
) -> ConsentRow:
    """Return the row after ``observation``, of which an older one changes nothing; with other
    columns changed too.
    """
    before = row.registration
    after = before.after(observation)
    columns = others if after is before else {**columns_of_registration(after), **others}
    return row.replace(**columns) if columns else row


def answered_row(row: ConsentRow, status: str, now: datetime) -> ConsentRow:
    """Return the row once no submission of this status is unanswered any more."""
    return row.replace(**answered(status, now))


def answered(status: str, now: datetime) -> Mapping[str, Any]:
    """Return the columns that an answer to a submission of this status changes."""
    return {**_closed(status), "last_exchange_at": now}


def uncalled_row(row: ConsentRow, status: str) -> ConsentRow:
    """Return the row once a submission of this status was given up before any call."""
    return row.replace(**_closed(status))


def _closed(status: str) -> Mapping[str, Any]:
    return {"ret_open" if status == Status.RET else "onay_open": False}


def under(row: ConsentRow, status: str) -> Columns:
    """Return the columns that keep the opt-out of ``row``, which an event of this ``status`` takes
    over.
    """
    if status != Status.ONAY or row.desired_status != Status.RET:
        return {}
    if row.desired_at != row.latest_ret_at:
        return UNKNOWN
    return {name: row.__dict__[desired] for name, desired in _KEPT.items()}


def stated(event: ConsentEvent, *, registrable: bool) -> Columns:
    """Return the columns that keep ``event``, an opt-out that came behind a newer opt-in."""
    return {
        "ret_event_id": event.event_id,
        "ret_rank": int(event.origin_rank),
        "ret_origin": event.origin,
        "ret_origin_ref": event.origin_ref,
        "ret_source": event.source,
        "ret_consent_date": event.consent_date,
        "ret_registrable": registrable,
        "ret_withdrawn_at": None,
    }


def is_hidden(row: ConsentRow) -> bool:
    """Whether an opt-in is desired while İYS may hold an ONAY that the latest opt-out withdraws;
    never where a person has withdrawn the opt-out.
    """
    return (
        row.desired_status == Status.ONAY
        and row.ret_withdrawn_at is None
        and row.registered_state.may_be_older_onay(row.latest_ret_at)
    )


def is_due_again(row: ConsentRow) -> bool:
    """Whether the opt-in is closed and hides an opt-out that İYS may not have; while an opt-out is
    on its way, its answer comes first.
    """
    return row.state in CLOSED and not row.ret_open and is_hidden(row)


def columns_of_earlier(row: ConsentRow) -> Columns:
    """Return the columns that desire the opt-out that ``row`` keeps, and nothing of the opt-in."""
    kept = {desired: row.__dict__[name] for name, desired in _KEPT.items()}
    return {
        **kept,
        "desired_status": str(Status.RET),
        "desired_at": row.latest_ret_at,
        "received_at": None,
        "notice_version": None,
        "attested": False,
        "retailer_code": None,
        "retailer_access": None,
        "void_event_id": row.void_event_id or row.desired_event_id,
    }
