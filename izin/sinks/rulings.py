"""What a row of the ledger becomes when the law decides, when İYS speaks, and when it is asked
what is owed.

Pure: a row goes in with the instant, a row comes out. ``consent.obligation`` says what is to be
done; here that duty becomes a state of the obligation. ``registered`` is always İYS's statement
with the greatest creation date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_never
from uuid import UUID, uuid5

from izin.consent.attestation import attested
from izin.consent.clocks import BrandClock, terms
from izin.consent.model import ConsentEvent, DateBasis, Source, Status
from izin.consent.obligation import Duty, Registered, Why, rule
from izin.schemas.records import consent_from_avro, event_from_avro
from izin.sinks.ledger.entry import Entry, is_of_citizens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from izin.consent.business_days import Calendar
    from izin.sinks.ledger.brands import Brand

UNKNOWN_BRAND = "unknown-brand"
RESCUED = "rescued"
RESCUE = "rescue"
"""The origin of events that save an opt-out."""
_RESCUES = UUID("8c1f4f1e-0c63-5b6e-9d0e-3a2b7c9d4e02")
_FLYING = frozenset({"in_flight", "awaiting_result"})
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """A row after it was asked what is owed, and the event that rescues its opt-out, if any."""

    entry: Entry
    rescue: ConsentEvent | None = None


def decided(entry: Entry | None, decision: Mapping[str, Any], now: datetime) -> Entry:
    """Return the row once the law has decided ``decision`` (an Avro Decision); what is owed is not
    ruled yet.

    The newest desired by the law's order wins; an older one only moves the latest instants. What
    İYS says of itself in the event is its statement, too.
    """
    consent = consent_from_avro(decision["consent"])
    event = event_from_avro(decision["event"])
    key = consent.key
    if entry is None:
        entry = Entry(
            key=str(key),
            customer_id=consent.customer_id,
            brand_code=key.brand_code,
            channel=str(key.channel),
            recipient_type=str(key.recipient_type),
            recipient=key.recipient,
            state="not_needed",
            updated_at=now,
        )
    entry = entry.but(
        latest_onay_at=_latest(entry.latest_onay_at, consent.latest_onay_at),
        latest_ret_at=_latest(entry.latest_ret_at, consent.latest_ret_at),
    )
    if entry.desired_at is None or consent.order > (
        entry.desired_at,
        entry.desired_status == Status.RET,
        entry.desired_rank or 0,
        entry.desired_event_id or "",
    ):
        known = event if event.event_id == consent.event_id else None
        entry = entry.but(
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
            state="pending",
            duty="none",
            why=None,
            code=None,
            attempts=0,
            next_attempt_at=None,
            lease_owner=None,
            lease_until=None,
        )
    told = event.iys
    if told is not None and event.status in set(Status):
        entry = observed(
            entry,
            Statement(
                value=Registered(event.status),
                creation_date=told.creation_date,
                consent_date=event.consent_date,
                source=event.source,
                transaction_id=told.transaction_id,
                verified_at=told.observed_at or now,
                verified_by=told.path,
            ),
        )
    return entry


def observed(entry: Entry, statement: Statement) -> Entry:
    """Return the row once İYS has stated ``statement``; an older statement changes nothing.

    Details of a statement that was known without them are filled in.
    """
    known_at = entry.registered_at or _NEVER
    detailed = statement.transaction_id is not None
    # What a question has shown carries our clock; what a movement shows, İYS's.
    asked = entry.registered_transaction_id is None and entry.registered_at is not None
    if asked and statement.is_answer:
        known_at = statement.creation_date
    fills_in = asked and detailed and entry.registered == statement.value
    if statement.creation_date < known_at and not fills_in:
        return entry
    tie = statement.creation_date == known_at and entry.registered != statement.value
    if tie and entry.registered == Registered.RET:
        return entry
    # The multiple query shows only what is ONAY: its silence over a known RET is that RET.
    silent = statement.value is Registered.NOT_ONAY and entry.registered == Registered.RET
    if silent or (not detailed and entry.registered == statement.value):
        return entry.but(verified_at=statement.verified_at, verified_by=statement.verified_by)
    return entry.but(
        registered=str(statement.value),
        registered_at=max(known_at, statement.creation_date),
        registered_consent_date=statement.consent_date,
        registered_source=statement.source,
        registered_transaction_id=statement.transaction_id,
        verified_at=statement.verified_at,
        verified_by=statement.verified_by,
    )


def reckoned(entry: Entry, brand: Brand | None, now: datetime, *, calendar: Calendar) -> Entry:
    """Return the row with its clocks as the brand's activation sets them."""
    desired = entry.desired
    if desired is None or not entry.is_ours or brand is None:
        return entry.but(due_at=None, expires_at=None)
    due, expires = terms(
        desired.effective_at, brand.clock, status=desired.status, now=now, calendar=calendar
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
        return Ruled(entry=entry)
    entry = reckoned(entry, brand, now, calendar=calendar)
    if brand is None and entry.is_ours:
        return Ruled(entry=_parked(entry, UNKNOWN_BRAND))
    ruling = rule(
        desired,
        entry.registered_state,
        now=now,
        clock=BrandClock() if brand is None else brand.clock,
        calendar=calendar,
        in_flight=entry.onay_open,
    )
    why = str(ruling.why)
    match ruling.duty:
        case Duty.SEND | Duty.SEND_FIRST:
            return Ruled(entry=_to_send(entry, why, now))
        case Duty.WAIT:
            return Ruled(entry=_owed(entry, "wait", why))
        case Duty.ASK:
            return Ruled(entry=entry if observing else _owed(entry, "ask", why))
        case Duty.RESCUE:
            return rescued(entry, now)
        case Duty.PARK:
            return Ruled(entry=_parked(entry, why))
        case Duty.EXPIRE:
            if entry.state == "refused":
                return Ruled(entry=entry)
            return Ruled(entry=entry.but(state="expired", duty="none", why=why))
        case Duty.NOTHING:
            return Ruled(entry=_settled(entry, why, told=told))
        case _:
            assert_never(ruling.duty)


def rescued(entry: Entry, now: datetime) -> Ruled:
    """Return the row, and a new opt-out of today that follows from the one İYS does not take.

    No date of an existing record is changed (design, section 3): the breach stays on record. The
    new event, once decided, begins a new obligation in this row.
    """
    if entry.duty == "rescue":
        return Ruled(entry=entry)
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
    vouched = entry.attested or entry.why == Why.RECONSENT
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


def landed(entry: Entry, status: str, now: datetime) -> Entry:
    """Return the row once nothing of this status is told and unanswered any more."""
    if status == Status.RET:
        return entry.but(ret_open=False, told_at=now)
    return entry.but(onay_open=False, told_at=now)


def foreign(source: str | None) -> bool:
    """Whether a record at İYS was written by a provider's system and not by İYS for the citizen."""
    return not is_of_citizens(source)


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
