"""The outcome of an obligation, published once it is reached."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from uuid import UUID

from izin.consent import ConsentKey
from izin.kafka.tables.brand_directory import NOBODY
from izin.ledger.record.consent_row import ConsentRow
from izin.ledger.record.ruling import UNKNOWN_BRAND
from izin.schemas.uuids import uuid5_of

_OUTCOMES = UUID("8c1f4f1e-0c63-5b6e-9d0e-3a2b7c9d4e01")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The final effect of one event at İYS. Without slots, for its id is computed once."""

    key: ConsentKey
    customer_id: str
    event_id: str
    outcome: str
    status: str
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    transaction_id: str | None = None
    creation_date: datetime | None = None
    attempt: int
    origin: str
    origin_ref: str | None
    occurred_at: datetime

    @cached_property
    def outcome_id(self) -> str:
        """Its id: the same for every repetition of the outcome of one attempt."""
        return outcome_id(str(self.key), self.event_id, self.outcome, self.attempt, self.code)

    def content(self, attempt: int) -> dict[str, object]:
        """Return its content for the history, reached by the ``attempt``-th attempt."""
        return {
            "outcome": self.outcome,
            "code": self.code,
            "message": self.message,
            "attempt": attempt,
        }


def outcome_of(row: ConsentRow, outcome: str, now: datetime) -> Outcome:
    """Return the ``outcome`` of the event that ``row`` desires; nobody's, where its brand is not
    registered: until then the row has the customer that its event names, for the brand's to judge.
    """
    is_accepted = outcome == "accepted"
    return Outcome(
        key=row.consent_key,
        customer_id=NOBODY if row.reason == UNKNOWN_BRAND else row.customer_id,
        event_id=row.desired_event_id or "",
        outcome=outcome,
        status=row.desired_status or "",
        code=row.code,
        message=row.reason,
        transaction_id=row.registered_transaction_id if is_accepted else None,
        creation_date=row.registered_at if is_accepted else None,
        attempt=row.attempts,
        origin=row.desired_origin or "",
        origin_ref=row.desired_origin_ref,
        occurred_at=now,
    )


def outcome_id(key: str, event_id: str, outcome: str, attempt: int, code: str | None) -> str:
    """Return the id of an outcome: UUIDv5 of its content."""
    content = f"{key}|{event_id}|{outcome}|{attempt}|{code}".encode()
    return uuid5_of(hashlib.sha1(_OUTCOMES.bytes + content, usedforsecurity=False).hexdigest())
