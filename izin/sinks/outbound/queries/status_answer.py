"""Apply İYS's answer to a status query to the row of its record.

A recipient absent from the multiple query is NOT_ONAY, without a single status NONE. What İYS has
refused and would refuse again is not submitted again. What no answer settles is queried again, and
parked after six queries.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from izin.consent import (
    CLOSED,
    Action,
    ConsentEvent,
    Observation,
    Registered,
    State,
    Status,
    is_of_citizens,
)
from izin.iys.errors import CallError
from izin.iys.wire_format import IysMovement, RegisterRecord, Stream
from izin.ledger.history import HistoryEntry
from izin.ledger.record import Brand, ConsentRow, event_of, is_read_back, is_swept, ruling
from izin.ledger.unit_of_work import UnitOfWork
from izin.runtime.backoff import Backoff

_MOST_QUERIES = 6
"""After so many queries without a settling answer a record is parked."""
_BACKOFF = Backoff(timedelta(seconds=30), timedelta(hours=1))


def observation_of(record: RegisterRecord | None, queried_at: datetime) -> Observation:
    """Return what an answer to the single status query states."""
    if record is None:
        return Observation(
            value=Registered.NONE,
            creation_date=queried_at,
            verified_at=queried_at,
            verified_by="status",
        )
    return Observation(
        # Any other value (BEKLIYOR) is no consent, and what it becomes is not known.
        value=Registered(record.status) if record.status in set(Status) else Registered.NOT_ONAY,
        creation_date=record.creation_date,
        consent_date=record.consent_date,
        source=record.source,
        transaction_id=record.transaction_id,
        verified_at=queried_at,
        verified_by="status",
    )


def observation_of_many(*, approved: bool, queried_at: datetime) -> Observation:
    """Return what an answer to the multiple query states: it names only what is ONAY."""
    return Observation(
        value=Registered.ONAY if approved else Registered.NOT_ONAY,
        creation_date=queried_at,
        verified_at=queried_at,
        verified_by="statuses",
    )


def is_new_event(entry: ConsentRow, statement: Observation) -> bool:
    """Whether İYS has a newer status than the desired one, and another: an event unknown to us."""
    return entry.desired_at is None or (
        statement.creation_date > entry.desired_at and str(statement.value) != entry.desired_status
    )


def event_of_record(record: RegisterRecord, brand: Brand, now: datetime) -> ConsentEvent:
    """Return the event at İYS that led to ``record``."""
    movement = IysMovement(
        recipient=record.recipient,
        type=record.type,
        recipient_type=record.recipient_type,
        status=record.status,
        source=record.source or "",
        consent_date=record.consent_date,
        creation_date=record.creation_date,
        transaction_id=record.transaction_id or "",
        brand_code=brand.brand_code,
    )
    stream = Stream.IYS if is_of_citizens(record.source) else Stream.HS
    return event_of(movement, brand, stream, path="status", at=now)


def rule(changes: UnitOfWork, entry: ConsentRow, observed: ConsentRow, brand: Brand) -> ConsentRow:
    """Update the row by the status that was ``observed``, and return it; do not submit again what
    İYS has refused and would refuse again.
    """
    now = changes.now
    if is_read_back(observed) or is_swept(observed):  # it is answered now; nothing else ends it
        observed = observed.replace(action=Action.NOTHING)
    ruled = ruling.rule_row(
        observed,
        brand,
        now,
        calendar=changes.calendar,
        answered=not observed.is_open,
        submitted=observed.attempts > 0,
    )
    after = ruled.row
    if entry.code is not None and entry.state is State.UNKNOWN and after.action is Action.SEND:
        if observed.desired_status == Status.RET:
            rescued = ruling.rescue_refused(observed, "register-is-newer", entry.code, now)
            return changes.apply(entry, rescued)
        refused = ruling.refuse(observed, "register-is-newer", entry.code)
        return changes.close(entry, refused, brand)
    if after.action is Action.QUERY:
        query_count = after.attempts + 1
        if query_count >= _MOST_QUERIES:
            parked = ruling.park(after, "iys-says-otherwise", entry.code)
            return changes.close(entry, parked, brand)
        wait = _BACKOFF.after(query_count)
        # The single status is queried at once where the multiple query does not settle it.
        if observed.registered == Registered.NOT_ONAY and entry.registered != Registered.NOT_ONAY:
            wait = timedelta(0)
        return changes.put(entry, after.replace(attempts=query_count, next_attempt_at=now + wait))
    return changes.apply(entry, ruled)


def unanswerable(row: ConsentRow, error: CallError) -> ConsentRow:
    """Return the row of a record whose status İYS refuses to look up: a person acts. What is
    refused, expired or parked already stays so.
    """
    if row.state in CLOSED:
        return row.replace(action=Action.NOTHING)
    code = next((one.code for one in error.refusals), None)
    return ruling.park(row, "question-refused", code)


def observation(entry: ConsentRow, statement: Observation, now: datetime) -> HistoryEntry:
    """Return the history's record of an answer."""
    at = statement.creation_date.isoformat()
    return HistoryEntry(
        kind="observation",
        customer_id=entry.customer_id,
        key=entry.key,
        event_id=None,
        status=str(statement.value),
        source=f"{statement.verified_by}/{entry.key}/{at}/{now.isoformat()}",
        occurred_at=now,
        data={
            "by": statement.verified_by,
            "registered": str(statement.value),
            "creation_date": statement.creation_date,
            "consent_date": statement.consent_date,
            "source": statement.source,
            "transaction_id": statement.transaction_id,
        },
    )


class Queried(Protocol):
    """Whatever is queried by its recipient."""

    @property
    def recipient(self) -> str:
        """The phone number or e-mail address."""


Entry = TypeVar("Entry", bound=Queried)


def parts(entries: Sequence[Entry], error: CallError) -> list[Sequence[Entry]]:
    """Return the parts to query again: each recipient that İYS names alone, else halves."""
    named = {one.value for one in error.refusals if isinstance(one.value, str)}
    at_fault = [entry for entry in entries if entry.recipient in named]
    rest = [entry for entry in entries if entry.recipient not in named]
    if at_fault and rest:
        return [*([entry] for entry in at_fault), rest]
    middle = (len(entries) + 1) // 2
    return [entries[:middle], entries[middle:]]
