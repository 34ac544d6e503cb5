"""Apply a decision of the law, or an observation at İYS, to a row.

Pure: takes a row, returns a row; what is due to İYS then is ruled in ``record.ruling``.
``registered`` is the observation with the greatest creation date, but for what a query of the key
alone shows after one among many.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from izin.consent.admission import SKEW
from izin.consent.attestation import attested
from izin.consent.model import Consent, ConsentEvent, IysOrigin, OriginRank, Status
from izin.consent.next_action import Action, Registered
from izin.consent.violations import Violation
from izin.schemas.records import consent_from_avro, event_from_avro
from izin.sinks.record import earlier_opt_out
from izin.sinks.record.consent_row import BOOTSTRAP, ConsentRow, is_read_back
from izin.sinks.record.state_change import begin, first_row

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What İYS shows for a key; an absence has the instant of the query as ``creation_date``."""

    value: Registered
    creation_date: datetime
    consent_date: datetime | None = None
    source: str | None = None
    transaction_id: str | None = None
    verified_at: datetime | None
    """When we observed it; None: an event claims it, and we did not."""
    is_answer: bool = False
    """İYS's result for our own submission: newer than any earlier query, whatever the clocks show.
    """
    verified_by: str
    """The path by which it came: add, batch, status, statuses, pull, push or daily."""

    @classmethod
    def of(
        cls, event: ConsentEvent, at_iys: IysOrigin, *, verified_at: datetime | None
    ) -> "Observation":
        """Return what ``event``, which has ``at_iys``, shows; its status is ONAY or RET."""
        return cls(
            value=Registered(event.status),
            creation_date=at_iys.creation_date,
            consent_date=event.consent_date,
            source=event.source,
            transaction_id=at_iys.transaction_id,
            verified_at=verified_at,
            verified_by=at_iys.path,
        )


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
    row = _with_latest(row, consent, earlier_opt_out.UNKNOWN)
    if not is_newer:
        return row
    if row.is_of(consent.event_id, str(consent.status)):
        return _desiring(row, consent, None)
    return unregistered(_desiring(row, consent, None))


def unregistered(row: ConsentRow) -> ConsentRow:
    """Return the row of a ledger that no longer knows what is registered: İYS is queried first."""
    return row.replace(
        registered=str(Registered.UNKNOWN),
        registered_at=None,
        registered_consent_date=None,
        registered_source=None,
        registered_transaction_id=None,
        verified_at=None,
        verified_by=BOOTSTRAP,
    )


def said_of_opt_out(event: ConsentEvent, decision: Mapping[str, Any]) -> earlier_opt_out.Columns:
    """Return what an opt-out said, by the ``decision`` on it, that may be the latest one behind a
    newer opt-in.
    """
    if event.status != Status.RET:
        return earlier_opt_out.UNKNOWN
    found = (Violation(**one) for one in decision["violations"])
    return earlier_opt_out.stated(event, registrable=all(one.is_note for one in found))


def _with_latest(row: ConsentRow, consent: Consent, opt_out: earlier_opt_out.Columns) -> ConsentRow:
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
    return taken_over(row, **earlier_opt_out.columns_of_earlier(row))


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
        **earlier_opt_out.under(row, status),
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


def is_outranked(row: ConsentRow, order: tuple[datetime, bool, int, str]) -> bool:
    """Whether an event of this order (``Consent.order``) outranks the desired one, or the newer one
    that is void.
    """
    if row.void_event_id is not None:
        onay_at, ret_at = row.latest_onay_at or _NEVER, row.latest_ret_at or _NEVER
        latest_at, event_id = max(onay_at, ret_at), row.void_event_id
        if order[-1] == event_id:  # whatever its rank, only a later date makes it another
            return order[0] > latest_at
        return order > (latest_at, ret_at >= onay_at, OriginRank.OURS, event_id)
    return row.desired_at is None or order > (
        row.desired_at,
        row.desired_status == Status.RET,
        row.desired_rank or 0,
        row.desired_event_id or "",
    )


def observed(row: ConsentRow, observation: Observation) -> ConsentRow:
    """Return the row after ``observation``; an older one changes nothing.

    Details of an observation that was known without them are filled in, and so is the RET of which
    a query has shown only that it is no ONAY. An ONAY that İYS dates in the future counts from when
    it was observed: else it would outrank every later RET.
    """
    doubted = _doubted_absence(row, observation)
    if doubted is Registered.NOT_ONAY:
        return row.replace(registered=str(Registered.UNKNOWN), registered_at=None)
    seen_at, known_at = observation.verified_at, (None if doubted else row.registered_at) or _NEVER
    if seen_at is None:
        if observation.creation_date <= known_at:
            return row
    elif observation.value is Registered.ONAY and observation.creation_date - seen_at > SKEW:
        observation = replace(observation, creation_date=seen_at)
    detailed = observation.transaction_id is not None
    # The result of a query has the time of our clock, a movement that of İYS's clock.
    queried = row.registered_transaction_id is None and row.registered_at is not None
    # A query of the key alone shows what stands, however old its date.
    stands = observation.verified_by == "status" and seen_at is not None and seen_at >= known_at
    if queried and (observation.is_answer or stands):
        known_at = observation.creation_date
    # An absence among many is a RET or no record: a RET of before is what was absent.
    is_absent_ret = (row.registered, observation.value) == (Registered.NOT_ONAY, Registered.RET)
    fills_in = queried and detailed and (is_absent_ret or row.registered == observation.value)
    if observation.creation_date < known_at and not fills_in:
        return row
    tie = observation.creation_date == known_at and row.registered != observation.value
    if tie and row.registered == Registered.RET:
        return row
    # The multiple query lists only ONAY: a known RET is absent there, and still registered.
    is_known_ret = observation.value is Registered.NOT_ONAY and row.registered == Registered.RET
    if is_known_ret or (not detailed and row.registered == observation.value):
        return row.replace(verified_at=observation.verified_at, verified_by=observation.verified_by)
    # The instant of a query is later than the record that it showed: kept, it would make an opt-in
    # of a citizen newer than an opt-out of ours between both. Of an opt-out it keeps older opt-ins
    # away.
    is_dated = fills_in and observation.value is Registered.ONAY
    at = observation.creation_date if is_dated else max(known_at, observation.creation_date)
    return row.replace(
        registered=str(observation.value),
        registered_at=at,
        registered_consent_date=observation.consent_date,
        registered_source=observation.source,
        registered_transaction_id=observation.transaction_id,
        verified_at=observation.verified_at,
        verified_by=observation.verified_by,
    )


def _doubted_absence(row: ConsentRow, observation: Observation) -> Registered | None:
    """Return the absence that may be older than ``observation``, an ONAY, although it seems newer:
    it has the time of our clock, which may be ahead of İYS's. What answers a call of ours is newer.

    No record ends, so where İYS had none, any came later. One that is no ONAY among many may have
    been one before.
    """
    absence, at = row.registered_state.value, row.registered_at
    is_movement = (
        observation.verified_at is not None
        and observation.transaction_id is not None
        and not observation.is_answer
        and observation.verified_by != "status"
    )
    if at is None or not is_movement or observation.value is not Registered.ONAY:
        return None
    is_close = timedelta(0) < at - observation.creation_date <= SKEW
    if absence is Registered.NONE or (absence is Registered.NOT_ONAY and is_close):
        return absence
    return None


def answered_row(row: ConsentRow, status: str, now: datetime) -> ConsentRow:
    """Return the row once no submission of this status is unanswered any more."""
    return uncalled_row(row, status).replace(last_exchange_at=now)


def uncalled_row(row: ConsentRow, status: str) -> ConsentRow:
    """Return the row once a submission of this status was given up before any call."""
    return row.replace(ret_open=False) if status == Status.RET else row.replace(onay_open=False)


def latest(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two instants, either of which may be unknown."""
    if one is None or other is None:
        return one or other
    return max(one, other)
