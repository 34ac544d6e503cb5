"""Rule a row: what is due to İYS now, and in which state the obligation is.

Pure: takes a row and an instant, returns a row. ``consent.next_action`` decides the action; this
module turns it into a state of the obligation.
"""

from datetime import datetime, timedelta
from typing import NamedTuple, assert_never
from uuid import UUID, uuid5

from izin.consent import (
    CLOSED,
    OPEN,
    STATUSES,
    SYNTHETIC_BRAND,
    Action,
    ActionReason,
    BrandTerms,
    Calendar,
    ConsentEvent,
    DateBasis,
    Source,
    State,
    Status,
    due_and_expiry,
    rule,
)
from izin.consent.transitions import Event
from izin.ledger.record import apply
from izin.ledger.record.brand import Brand
from izin.ledger.record.consent_row import ConsentRow, is_read_back
from izin.ledger.record.state_change import transition

UNKNOWN_BRAND = "unknown-brand"
OTHER_CUSTOMER = "other-customer"
"""The event of an opt-in names another customer than its brand's."""
WITHDRAWN = "withdrawn"
"""A person has decided that an opt-out that was held back is not registered at İYS."""
SYNTHETIC = "synthetic"
"""An event of nobody, by which the installation watches itself."""
RESCUED = "rescued"
RESCUE = "rescue"
"""The origin of events that rescue an opt-out."""
_RESCUES = UUID("8c1f4f1e-0c63-5b6e-9d0e-3a2b7c9d4e02")
_OBSERVED_WITHIN = timedelta(seconds=5)
_A_SECOND = timedelta(seconds=1)
_IN_FLIGHT = frozenset({State.IN_FLIGHT, State.AWAITING_RESULT})


class RuledRow(NamedTuple):
    """A row after its ruling, and the event that rescues its opt-out, if any."""

    row: ConsentRow
    rescue: ConsentEvent | None = None
    closed: ConsentRow | None = None
    """The row of an opt-in that was closed, where the opt-out before it is due again in ``row``."""


def with_terms(
    row: ConsentRow, brand: Brand | None, now: datetime, *, calendar: Calendar
) -> ConsentRow:
    """Return the row with its terms as the brand's activation sets them."""
    at, status = row.desired_at, row.desired_status
    if at is None or status is None or not row.is_ours or brand is None:
        return row.replace(due_at=None, expires_at=None)
    due, expires = due_and_expiry(
        at, brand.clock, status=STATUSES[status], now=now, calendar=calendar
    )
    return row.replace(due_at=due, expires_at=expires)


def termed(
    row: ConsentRow,
    brand: Brand | None,
    now: datetime,
    *,
    calendar: Calendar,
    answered: bool = False,
) -> ConsentRow:
    """Return a row that is about to be ruled with its terms; where :func:`rule_row` leaves it as it
    is, so does this.
    """
    is_ruled = not _stays(row, answered=answered)
    return with_terms(row, brand, now, calendar=calendar) if is_ruled else row


def rule_row(  # noqa: PLR0913 - each argument is a fact
    row: ConsentRow,
    brand: Brand | None,
    now: datetime,
    *,
    calendar: Calendar,
    answered: bool = False,
    submitted: bool = False,
    observing: bool = False,
) -> RuledRow:
    """Return the row in the state that follows from what is desired and what is registered.

    A submission in flight keeps its state until it is ``answered``; ``submitted`` means that İYS
    has accepted what is desired. While only ``observing``, no query is started at once: the event
    of what was observed is on its way. What a person has withdrawn stays so: only a newer event of
    the key makes anything due again. An opt-in that is closed hides no opt-out that İYS may not
    have.
    """
    ruled = _rule_desired(
        row,
        brand,
        now,
        calendar=calendar,
        answered=answered,
        submitted=submitted,
        observing=observing,
    )
    if ruled.rescue is not None:
        return ruled
    return closed(ruled.row, brand, now, calendar=calendar)


def closed(row: ConsentRow, brand: Brand | None, now: datetime, *, calendar: Calendar) -> RuledRow:
    """Return the row once its obligation is closed: where that is an opt-in, and İYS may hold an
    ONAY that the latest opt-out withdraws, the opt-out is due again, as it was given; where nobody
    knows any more how that was, it is rescued. Any other row stays as it is.
    """
    if brand is None or not apply.is_due_again(row):
        return RuledRow(row=row)
    if row.ret_event_id is None:
        return rescue(row, now)
    again = apply.taken_over(row, **apply.columns_of_earlier(row))
    return rule_row(again, brand, now, calendar=calendar)._replace(closed=row)


def _rule_desired(  # noqa: C901, PLR0911, PLR0913 - one case an action; each argument is a fact
    row: ConsentRow,
    brand: Brand | None,
    now: datetime,
    *,
    calendar: Calendar,
    answered: bool,
    submitted: bool,
    observing: bool,
) -> RuledRow:
    """Return the row as ``consent.next_action`` rules on the desired event alone."""
    desired = row.desired
    if desired is None or _stays(row, answered=answered):
        return RuledRow(row=row)
    row = with_terms(row, brand, now, calendar=calendar)
    if row.brand_code == SYNTHETIC_BRAND:
        return RuledRow(row=_settle(row, SYNTHETIC, submitted=False))
    if brand is None and row.is_ours:
        return RuledRow(row=_park(row, UNKNOWN_BRAND))
    ruling = rule(
        desired,
        row.registered_state,
        now=now,
        terms=BrandTerms() if brand is None else brand.clock,
        calendar=calendar,
        in_flight=row.onay_open,
    )
    reason = str(ruling.reason)
    match ruling.action:
        case Action.SEND | Action.SEND_FIRST:
            return RuledRow(row=_to_send(row, reason, now))
        case Action.WAIT:
            return RuledRow(row=_due(row, Action.WAIT, reason))
        case Action.QUERY:
            return RuledRow(row=_to_query(row, ruling.reason, now, observing=observing))
        case Action.RESCUE:
            return rescue(row, now)
        case Action.PARK:
            return RuledRow(row=_park(row, reason))
        case Action.EXPIRE:
            if row.state is State.REFUSED:
                return RuledRow(row=row)
            return RuledRow(row=transition(row, Event.EXPIRE, action=Action.NOTHING, reason=reason))
        case Action.NOTHING:
            return RuledRow(row=_settle(row, reason, submitted=submitted))
        case _:
            assert_never(ruling.action)


def rescue(row: ConsentRow, now: datetime) -> RuledRow:
    """Return the row, and a new opt-out of today in place of the one that İYS does not accept.

    No date of an existing record is changed (design, section 3): the breach stays on record. The
    new event, once decided, starts a new obligation in this row.
    """
    if row.action is Action.RESCUE:
        return RuledRow(row=row)
    # It is later than all that it follows, whatever the clocks show: in the same second, or by a
    # clock that is behind, the law would call it a duplicate or stale.
    known = (row.desired_at, row.registered_at, row.latest_onay_at)
    now = max(now, *(one + _A_SECOND for one in known if one is not None))
    event = ConsentEvent(
        event_id=str(uuid5(_RESCUES, f"{row.key}|{row.desired_event_id}")),
        customer_id=row.customer_id,
        brand_code=row.brand_code,
        type=row.channel,
        recipient_type=row.recipient_type,
        recipient=row.recipient,
        status=str(Status.RET),
        source=str(Source.HS_KARAR),
        consent_date=now,
        received_at=now,
        date_basis=str(DateBasis.STATED),
        origin=RESCUE,
        origin_ref=row.code,
        cause=row.desired_event_id,
    )
    return RuledRow(row=row.replace(action=Action.RESCUE, reason=RESCUED), rescue=event)


def rescue_refused(row: ConsentRow, reason: str, code: str | None, now: datetime) -> RuledRow:
    """Return the row of an opt-out whose content İYS refuses, and its rescue.

    An opt-out of today without date, source and retailer leaves İYS little to refuse. Where it
    does, it is parked and a person withdraws the consent, for an opt-out never ends as refused.
    """
    if row.desired_origin == RESCUE:
        return RuledRow(row=park(row, "opt-out-refused", code))
    return rescue(refuse(row, reason, code), now)


def requeue(row: ConsentRow) -> ConsentRow:
    """Return a parked row as a person requeues it; who requeues a re-consent attests it."""
    attested = row.attested or row.reason == ActionReason.RECONSENT
    return transition(
        row,
        Event.REQUEUE,
        attested=attested,
        reason=None,
        code=None,
        attempts=0,
        next_attempt_at=None,
    )


def extend(row: ConsentRow, brand: Brand, now: datetime, *, calendar: Calendar) -> ConsentRow:
    """Return a row that expired for its term alone, with the term that it has by this calendar and
    these terms; it is due again, before it is ruled, where that ends later and goes on.
    """
    ended_at = row.expires_at
    row = with_terms(row, brand, now, calendar=calendar)
    is_later = row.expires_at is None or ended_at is None or row.expires_at > max(ended_at, now)
    if row.reason != ActionReason.TERM_ENDED or not is_later:
        return row
    return transition(row, Event.EXTEND, reason=None, code=None, next_attempt_at=None)


def refuse(row: ConsentRow, reason: str, code: str | None) -> ConsentRow:
    """Return the row whose content İYS refuses."""
    return transition(row, Event.REFUSE, action=Action.NOTHING, reason=reason, code=code)


def park(row: ConsentRow, reason: str, code: str | None) -> ConsentRow:
    """Return the row, parked for a person."""
    return transition(row, Event.PARK, action=Action.NOTHING, reason=reason, code=code)


def expire(row: ConsentRow, reason: str, code: str | None) -> ConsentRow:
    """Return the row, expired."""
    return transition(row, Event.EXPIRE, action=Action.NOTHING, reason=reason, code=code)


def withdraw(row: ConsentRow, now: datetime) -> ConsentRow:
    """Return the row of an opt-out that waits, once a person has decided that İYS does not get it:
    it stays desired, and permits nothing. An opt-in over an opt-out is void then.
    """
    return transition(
        row,
        Event.SETTLE if row.desired_status == Status.RET else Event.EXPIRE,
        action=Action.NOTHING,
        reason=WITHDRAWN,
        next_attempt_at=None,
        brake_id=None,
        withdrawn_at=now,
    )


def wait(row: ConsentRow, reason: str, code: str | None) -> ConsentRow:
    """Return the row, due again once what is in flight has settled."""
    return transition(
        row, Event.RETRY, action=Action.WAIT, reason=reason, code=code, next_attempt_at=None
    )


def query(row: ConsentRow, reason: str, code: str | None) -> ConsentRow:
    """Return the row whose status has to be queried at İYS."""
    return transition(
        row, Event.LOSE, action=Action.QUERY, reason=reason, code=code, next_attempt_at=None
    )


def query_again(row: ConsentRow, reason: str, now: datetime) -> ConsentRow:
    """Return the row, whose status is to be queried at İYS whatever its state; where something is
    due already, or nobody may ask, it stays as it is.
    """
    if row.action is not Action.NOTHING or row.is_open or row.withdrawn_at is not None:
        return row
    return row.replace(action=Action.QUERY, reason=reason, next_attempt_at=now)


def _stays(row: ConsentRow, *, answered: bool) -> bool:
    """Whether nothing is ruled on a row: it desires nothing, was withdrawn or rescued, or is in
    flight and not ``answered``.
    """
    is_rescued = row.action is Action.RESCUE and row.state in CLOSED
    is_withdrawn = row.withdrawn_at is not None
    is_awaited = not answered and _is_in_flight(row)
    is_known_from_iys = row.desired_at is None or row.desired_status is None
    return is_known_from_iys or is_withdrawn or is_rescued or is_awaited


def _is_in_flight(row: ConsentRow) -> bool:
    return row.state in _IN_FLIGHT or (row.state is State.UNKNOWN and row.is_open)


def _to_send(row: ConsentRow, reason: str, now: datetime) -> ConsentRow:
    row_due = _due(row, Action.SEND, reason)
    at = row.desired_at
    if row_due.action is Action.SEND and at is not None and at > now:
        # Honest clocks differ, and İYS accepts no date ahead of its own (H162).
        return row_due.replace(next_attempt_at=at)
    return row_due


def _to_query(
    row: ConsentRow, reason: ActionReason, now: datetime, *, observing: bool
) -> ConsentRow:
    if observing:
        # Nothing is submitted by what was desired before the event that is on its way.
        is_sent = row.action is Action.SEND
        later = now + _OBSERVED_WITHIN
        return (
            _due(row, Action.QUERY, str(reason)).replace(next_attempt_at=later) if is_sent else row
        )
    row_due = _due(row, Action.QUERY, str(reason))
    if reason is ActionReason.REGISTERED_LOST:
        # No term counts before İYS was queried; and opt-outs, due at any time, are queried first.
        return row_due.replace(due_at=None, expires_at=None, next_attempt_at=now)
    if reason is ActionReason.ORIGINATED_AT_IYS:
        # What was pulled is observed in a moment, and need not be queried.
        return row_due.replace(next_attempt_at=now + _OBSERVED_WITHIN)
    return row_due


def _due(row: ConsentRow, action: Action, reason: str) -> ConsentRow:
    match row.state:
        case State.PENDING | State.RETRYABLE:
            return row.replace(action=action, reason=reason)
        case State.ACCEPTED | State.NOT_NEEDED:
            return transition(row, Event.REOPEN, action=action, reason=reason, next_attempt_at=None)
        case State.IN_FLIGHT | State.AWAITING_RESULT | State.UNKNOWN:
            event = Event.LOSE if action is Action.QUERY else Event.RETRY
            return transition(row, event, action=action, reason=reason, next_attempt_at=None)
        case State.REFUSED | State.EXPIRED | State.PARKED:
            # A person or a newer event reopens these.
            return row.replace(action=Action.NOTHING)
        case _:
            assert_never(row.state)


def _park(row: ConsentRow, reason: str) -> ConsentRow:
    if row.state in CLOSED:
        return row
    return transition(row, Event.PARK, action=Action.NOTHING, reason=reason)


def _settle(row: ConsentRow, reason: str, *, submitted: bool) -> ConsentRow:
    if is_read_back(row):
        return row
    if row.state is State.ACCEPTED:
        return row.replace(action=Action.NOTHING, reason=reason, next_attempt_at=None)
    event = Event.ACCEPT if submitted and row.state in OPEN else Event.SETTLE
    return transition(row, event, action=Action.NOTHING, reason=reason, next_attempt_at=None)
