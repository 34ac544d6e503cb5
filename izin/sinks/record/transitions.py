"""What a row of the ledger becomes when it is asked what is owed, and when İYS has answered it.

Pure: a row goes in with the instant, a row comes out. ``consent.obligation`` says what is to be
done; here that duty becomes a state of the obligation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never
from uuid import UUID, uuid5

from izin.consent.enums import STATUSES
from izin.consent.making import maker
from izin.consent.model import ConsentEvent, DateBasis, Source, Status
from izin.consent.obligation import Action, ActionReason, rule
from izin.consent.terms import BrandTerms, due_and_expiry

if TYPE_CHECKING:
    from datetime import datetime

    from izin.consent.business_days import Calendar
    from izin.sinks.ledger.brands import Brand
    from izin.sinks.record.row import Entry

UNKNOWN_BRAND = "unknown-brand"
RESCUED = "rescued"
RESCUE = "rescue"
"""The origin of events that save an opt-out."""
_RESCUES = UUID("8c1f4f1e-0c63-5b6e-9d0e-3a2b7c9d4e02")
_A_SECOND = timedelta(seconds=1)
_FLYING = frozenset({"in_flight", "awaiting_result"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """A row after it was asked what is owed, and the event that rescues its opt-out, if any."""

    entry: Entry
    rescue: ConsentEvent | None = None


_ruled = maker(Ruled)


def reckoned(entry: Entry, brand: Brand | None, now: datetime, *, calendar: Calendar) -> Entry:
    """Return the row with its clocks as the brand's activation sets them."""
    at, status = entry.desired_at, entry.desired_status
    if at is None or status is None or not entry.is_ours or brand is None:
        return entry.but(due_at=None, expires_at=None)
    due, expires = due_and_expiry(
        at, brand.clock, status=STATUSES[status], now=now, calendar=calendar
    )
    return entry.but(due_at=due, expires_at=expires)


def ruled(  # noqa: C901, PLR0911, PLR0913 - one case a duty; each argument is a fact
    entry: Entry,
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
            if entry.state == "refused":
                return _ruled(entry=entry)
            return _ruled(entry=entry.but(state="expired", duty="none", why=why))
        case Action.NOTHING:
            return _ruled(entry=_settled(entry, why, told=told))
        case _:
            assert_never(ruling.action)


def rescued(entry: Entry, now: datetime) -> Ruled:
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
    return Ruled(entry=entry.but(duty="rescue", why=RESCUED), rescue=event)


def saved(entry: Entry, why: str, code: str | None, now: datetime) -> Ruled:
    """Return the row of an opt-out that İYS refuses for what it says, and its rescue.

    An opt-out of today without date, source and retailer of its own leaves İYS little to refuse.
    Where it does, a person must withdraw the consent, for a "no" never ends as refused.
    """
    if entry.desired_origin == RESCUE:
        return Ruled(entry=parked(entry, "opt-out-refused", code))
    return rescued(refused(entry, why, code), now)


def released(entry: Entry) -> Entry:
    """Return a parked row as a person sends it again; who releases a re-consent vouches for it."""
    vouched = entry.attested or entry.why == ActionReason.RECONSENT
    return entry.but(
        state="pending",
        attested=vouched,
        why=None,
        code=None,
        attempts=0,
        next_attempt_at=None,
    )


def refused(entry: Entry, why: str, code: str | None) -> Entry:
    """Return the row that İYS does not take, for what it says."""
    return entry.but(state="refused", duty="none", why=why, code=code)


def parked(entry: Entry, why: str, code: str | None) -> Entry:
    """Return the row that a person must look at."""
    return entry.but(state="parked", duty="none", why=why, code=code)


def expired(entry: Entry, why: str, code: str | None) -> Entry:
    """Return the row whose term has ended."""
    return entry.but(state="expired", duty="none", why=why, code=code)


def waiting(entry: Entry, why: str, code: str | None) -> Entry:
    """Return the row that is told again when what is in flight has settled."""
    return entry.but(state="retryable", duty="wait", why=why, code=code, next_attempt_at=None)


def to_ask(entry: Entry, why: str, code: str | None) -> Entry:
    """Return the row of which İYS must be asked what it holds."""
    return entry.but(state="unknown", duty="ask", why=why, code=code, next_attempt_at=None)


def _is_flying(entry: Entry) -> bool:
    return entry.state in _FLYING or (entry.state == "unknown" and entry.is_open)


def _to_send(entry: Entry, why: str, now: datetime) -> Entry:
    owed = _owed(entry, "send", why)
    at = entry.desired_at
    if owed.duty == "send" and at is not None and at > now:
        # Honest clocks differ, and İYS takes no date ahead of its own (H162).
        return owed.but(next_attempt_at=at)
    return owed


def _owed(entry: Entry, duty: str, why: str) -> Entry:
    match entry.state:
        case "pending" | "retryable":
            return entry.but(duty=duty, why=why)
        case "accepted" | "not_needed":
            return entry.but(state="pending", duty=duty, why=why, next_attempt_at=None)
        case "in_flight" | "awaiting_result" | "unknown":
            state = "unknown" if duty == "ask" else "retryable"
            return entry.but(state=state, duty=duty, why=why, next_attempt_at=None)
        case _:  # refused, expired and parked rows wait for a person or a newer event
            return entry.but(duty="none")


def _parked(entry: Entry, why: str) -> Entry:
    if entry.state in {"refused", "expired", "parked"}:
        return entry
    return entry.but(state="parked", duty="none", why=why)


def _settled(entry: Entry, why: str, *, told: bool) -> Entry:
    accepted = entry.state == "accepted" or (told and _is_flying_state(entry.state))
    state = "accepted" if accepted else "not_needed"
    return entry.but(state=state, duty="none", why=why, next_attempt_at=None)


def _is_flying_state(state: str) -> bool:
    return state in _FLYING or state == "unknown"


def backoff(attempt: int, *, first: timedelta, longest: timedelta) -> timedelta:
    """Return how long to wait after the ``attempt``-th failure, from 1: doubled each time, up to
    ``longest``.
    """
    doublings: int = min(max(attempt, 1) - 1, 20)
    return min(longest, first * float(2**doublings))


def retried(
    entry: Entry, now: datetime, why: str, code: str | None, retry_after: timedelta | None = None
) -> Entry:
    """Return the row to be told again later; an opt-out waits for seconds, not for minutes."""
    urgent = entry.desired_status == Status.RET
    wait = backoff(
        entry.attempts,
        first=timedelta(seconds=1 if urgent else 5),
        longest=timedelta(minutes=1 if urgent else 15),
    )
    return entry.but(
        state="retryable",
        duty="send",
        why=why,
        code=code,
        next_attempt_at=now + max(wait, retry_after or wait),
        lease_owner=None,
        lease_until=None,
    )
