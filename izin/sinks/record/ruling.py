"""What a row of the ledger becomes when it is asked what is owed, and when İYS has answered it.

Pure: a row goes in with the instant, a row comes out. ``consent.obligation`` says what is to be
done; here that duty becomes a state of the obligation.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID, uuid5

from izin.consent.business_days import Calendar
from izin.consent.enums import STATUSES
from izin.consent.lifecycle import CLOSED, OPEN, Event, State
from izin.consent.making import maker
from izin.consent.model import ConsentEvent, DateBasis, Source, Status
from izin.consent.obligation import Action, ActionReason, rule
from izin.consent.terms import BrandTerms, due_and_expiry
from izin.runtime.backoff import Backoff
from izin.sinks.record.brand import Brand
from izin.sinks.record.row import ConsentRow
from izin.sinks.record.transitions import transition

UNKNOWN_BRAND = "unknown-brand"
RESCUED = "rescued"
RESCUE = "rescue"
"""The origin of events that save an opt-out."""
_RESCUES = UUID("8c1f4f1e-0c63-5b6e-9d0e-3a2b7c9d4e02")
_A_SECOND = timedelta(seconds=1)
_IN_FLIGHT = frozenset({State.IN_FLIGHT, State.AWAITING_RESULT})
_BACKOFF = Backoff(timedelta(seconds=5), timedelta(minutes=15))
_URGENT_BACKOFF = Backoff(timedelta(seconds=1), timedelta(minutes=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """A row after it was asked what is owed, and the event that rescues its opt-out, if any."""

    entry: ConsentRow
    rescue: ConsentEvent | None = None


_ruled = maker(Ruled)


def reckoned(
    entry: ConsentRow, brand: Brand | None, now: datetime, *, calendar: Calendar
) -> ConsentRow:
    """Return the row with its clocks as the brand's activation sets them."""
    at, status = entry.desired_at, entry.desired_status
    if at is None or status is None or not entry.is_ours or brand is None:
        return entry.replace(due_at=None, expires_at=None)
    due, expires = due_and_expiry(
        at, brand.clock, status=STATUSES[status], now=now, calendar=calendar
    )
    return entry.replace(due_at=due, expires_at=expires)


def ruled(  # noqa: C901, PLR0911, PLR0913 - one case a duty; each argument is a fact
    entry: ConsentRow,
    brand: Brand | None,
    now: datetime,
    *,
    calendar: Calendar,
    answered: bool = False,
    told: bool = False,
    observing: bool = False,
) -> Ruled:
    """Return the row in the state that follows from what is desired and what is registered.

    What is told and not yet answered keeps its state until it is ``answered``; ``told`` says that
    İYS took the desired statement. While only ``observing``, nobody is asked: the event of what
    was observed is on its way.
    """
    desired = entry.desired
    if desired is None or (not answered and _is_flying(entry)):
        return _ruled(entry=entry)
    entry = reckoned(entry, brand, now, calendar=calendar)
    if brand is None and entry.is_ours:
        return _ruled(entry=_parked(entry, UNKNOWN_BRAND))
    ruling = rule(
        desired,
        entry.registered_state,
        now=now,
        terms=BrandTerms() if brand is None else brand.clock,
        calendar=calendar,
        in_flight=entry.onay_open,
    )
    why = str(ruling.reason)
    match ruling.action:
        case Action.SEND | Action.SEND_FIRST:
            return _ruled(entry=_to_send(entry, why, now))
        case Action.WAIT:
            return _ruled(entry=_owed(entry, "wait", why))
        case Action.ASK:
            if observing and entry.duty == "send":
                return _ruled(entry=_owed(entry, "wait", why))
            return _ruled(entry=entry if observing else _owed(entry, "ask", why))
        case Action.RESCUE:
            return rescued(entry, now)
        case Action.PARK:
            return _ruled(entry=_parked(entry, why))
        case Action.EXPIRE:
            if entry.state is State.REFUSED:
                return _ruled(entry=entry)
            return _ruled(entry=transition(entry, Event.EXPIRE, duty="none", why=why))
        case Action.NOTHING:
            return _ruled(entry=_settled(entry, why, told=told))
        case _:
            assert_never(ruling.action)


def rescued(entry: ConsentRow, now: datetime) -> Ruled:
    """Return the row, and a new opt-out of today that follows from the one İYS does not take.

    No date of an existing record is changed (design, section 3): the breach stays on record. The
    new event, once decided, begins a new obligation in this row.
    """
    if entry.duty == "rescue":
        return Ruled(entry=entry)
    # It stands behind all that it answers to, whatever the clocks say: in the same second, or by a
    # clock that is behind, the law would take it for a repetition, or for older.
    known = (entry.desired_at, entry.registered_at)
    now = max(now, *(one + _A_SECOND for one in known if one is not None))
    event = ConsentEvent(
        event_id=str(uuid5(_RESCUES, f"{entry.key}|{entry.desired_event_id}")),
        customer_id=entry.customer_id,
        brand_code=entry.brand_code,
        type=entry.channel,
        recipient_type=entry.recipient_type,
        recipient=entry.recipient,
        status=str(Status.RET),
        source=str(Source.HS_KARAR),
        consent_date=now,
        received_at=now,
        date_basis=str(DateBasis.STATED),
        origin=RESCUE,
        origin_ref=entry.code,
        cause=entry.desired_event_id,
    )
    return Ruled(entry=entry.replace(duty="rescue", why=RESCUED), rescue=event)


def saved(entry: ConsentRow, why: str, code: str | None, now: datetime) -> Ruled:
    """Return the row of an opt-out that İYS refuses for what it says, and its rescue.

    An opt-out of today without date, source and retailer of its own leaves İYS little to refuse.
    Where it does, a person must withdraw the consent, for a "no" never ends as refused.
    """
    if entry.desired_origin == RESCUE:
        return Ruled(entry=parked(entry, "opt-out-refused", code))
    return rescued(refused(entry, why, code), now)


def released(entry: ConsentRow) -> ConsentRow:
    """Return a parked row as a person sends it again; who releases a re-consent vouches for it."""
    vouched = entry.attested or entry.why == ActionReason.RECONSENT
    return transition(
        entry,
        Event.REQUEUE,
        attested=vouched,
        why=None,
        code=None,
        attempts=0,
        next_attempt_at=None,
    )


def refused(entry: ConsentRow, why: str, code: str | None) -> ConsentRow:
    """Return the row that İYS does not take, for what it says."""
    return transition(entry, Event.REFUSE, duty="none", why=why, code=code)


def parked(entry: ConsentRow, why: str, code: str | None) -> ConsentRow:
    """Return the row that a person must look at."""
    return transition(entry, Event.PARK, duty="none", why=why, code=code)


def expired(entry: ConsentRow, why: str, code: str | None) -> ConsentRow:
    """Return the row whose term has ended."""
    return transition(entry, Event.EXPIRE, duty="none", why=why, code=code)


def waiting(entry: ConsentRow, why: str, code: str | None) -> ConsentRow:
    """Return the row that is told again when what is in flight has settled."""
    return transition(entry, Event.RETRY, duty="wait", why=why, code=code, next_attempt_at=None)


def to_ask(entry: ConsentRow, why: str, code: str | None) -> ConsentRow:
    """Return the row of which İYS must be asked what it holds."""
    return transition(entry, Event.LOSE, duty="ask", why=why, code=code, next_attempt_at=None)


def _is_flying(entry: ConsentRow) -> bool:
    return entry.state in _IN_FLIGHT or (entry.state is State.UNKNOWN and entry.is_open)


def _to_send(entry: ConsentRow, why: str, now: datetime) -> ConsentRow:
    owed = _owed(entry, "send", why)
    at = entry.desired_at
    if owed.duty == "send" and at is not None and at > now:
        # Honest clocks differ, and İYS takes no date ahead of its own (H162).
        return owed.replace(next_attempt_at=at)
    return owed


def _owed(entry: ConsentRow, duty: str, why: str) -> ConsentRow:
    match entry.state:
        case State.PENDING | State.RETRYABLE:
            return entry.replace(duty=duty, why=why)
        case State.ACCEPTED | State.NOT_NEEDED:
            return transition(entry, Event.REOPEN, duty=duty, why=why, next_attempt_at=None)
        case State.IN_FLIGHT | State.AWAITING_RESULT | State.UNKNOWN:
            event = Event.LOSE if duty == "ask" else Event.RETRY
            return transition(entry, event, duty=duty, why=why, next_attempt_at=None)
        case State.REFUSED | State.EXPIRED | State.PARKED:
            # They wait for a person or a newer event.
            return entry.replace(duty="none")
        case _:
            assert_never(entry.state)


def _parked(entry: ConsentRow, why: str) -> ConsentRow:
    if entry.state in CLOSED:
        return entry
    return transition(entry, Event.PARK, duty="none", why=why)


def _settled(entry: ConsentRow, why: str, *, told: bool) -> ConsentRow:
    if entry.state is State.ACCEPTED:
        return entry.replace(duty="none", why=why, next_attempt_at=None)
    event = Event.ACCEPT if told and entry.state in OPEN else Event.SETTLE
    return transition(entry, event, duty="none", why=why, next_attempt_at=None)


def retried(
    entry: ConsentRow,
    now: datetime,
    why: str,
    code: str | None,
    retry_after: timedelta | None = None,
) -> ConsentRow:
    """Return the row to be told again later; an opt-out waits for seconds, not for minutes."""
    backoff = _URGENT_BACKOFF if entry.desired_status == Status.RET else _BACKOFF
    return transition(
        entry,
        Event.RETRY,
        duty="send",
        why=why,
        code=code,
        next_attempt_at=now + backoff.after(entry.attempts, at_least=retry_after),
        lease_owner=None,
        lease_until=None,
    )
