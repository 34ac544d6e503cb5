"""Consents given electronically, and when they were confirmed to the person.

Such a consent is to be confirmed to whoever gave it on the same day, with a way to refuse
(Yönetmelik m.7/9). Who sends that message reports it, and the history has it as an act on the key
of the consent, with its event. The day is the Turkish one of the consent.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from izin.consent import ELECTRONIC_SOURCES, TURKEY, ConsentKey, DecisionKind, Status
from izin.ledger.db import Connection, Ledger, statements
from izin.ledger.history.append import act, append
from izin.ledger.history.by_key import history_codec
from izin.ledger.reads import RecordedFact

CONFIRMED_AT = "confirmed_at"
_PAGE = 5000
_SQL = statements("confirmations")


def confirmation_source(event_id: str) -> str:
    """Return the source of the entry that an event's consent was confirmed."""
    return f"confirmation/{event_id}"


async def record_confirmation(
    connection: Connection,
    consent: RecordedFact,
    confirmed_at: datetime,
    *,
    by: str,
    now: datetime,
) -> None:
    """Record that the consent of a decision was confirmed to the person; the first report counts.

    Raises:
        OurError: the ledger takes no writes.
    """
    event_id = str(consent.event_id)
    entry = act(
        "confirm consent",
        consent.key,
        by=by,
        now=confirmed_at,
        before={},
        after={CONFIRMED_AT: confirmed_at},
        customer_id=consent.customer_id,
        event_id=event_id,
        status=consent.status,
    )
    named = replace(entry, source=confirmation_source(event_id), may_repeat=True)
    await append(connection, [named], now=now)


class Confirmation(StrEnum):
    """What is known of the confirmation of a consent."""

    IN_TIME = "same day"
    LATE = "late"
    OPEN = "open"
    """It is missing, and its day is not over."""
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectronicConsent:
    """An opt-in (ONAY) that was given electronically."""

    event_id: str
    key: ConsentKey
    origin: str
    origin_ref: str | None
    given_at: datetime
    confirmed_at: datetime | None
    confirmation: Confirmation


async def electronic_consents(
    ledger: Ledger, *, since: datetime, customer_id: str | None, now: datetime
) -> AsyncIterator[ElectronicConsent]:
    """Yield the consents given electronically that were decided since an instant, in the order of
    their recording; of a customer, or None: of all.
    """
    values = {"since": since, "customer_id": customer_id}
    async for page in ledger.pages(_SQL["consents"], values, size=_PAGE):
        for row in page:
            decision = history_codec().decode("Decision", row["decision"])
            if decision["event"]["iys"] is None and _is_electronic(decision):
                yield _consent(row, decision, now)


def _is_electronic(decision: Mapping[str, Any]) -> bool:
    event = decision["event"]
    return (
        decision["kind"] == DecisionKind.APPLY
        and event["status"] == Status.ONAY
        and event["source"] in ELECTRONIC_SOURCES
    )


def _consent(
    row: Mapping[str, Any], decision: Mapping[str, Any], now: datetime
) -> ElectronicConsent:
    event, given_at = decision["event"], decision["effective_at"]
    day = given_at.astimezone(TURKEY).replace(hour=0, minute=0, second=0, microsecond=0)
    confirm_by = day + timedelta(days=1)
    reported = (row["confirmed"] or {}).get(event["event_id"])
    confirmed_at = reported and datetime.fromisoformat(reported)
    if confirmed_at is None:
        confirmation = Confirmation.OPEN if now < confirm_by else Confirmation.MISSING
    else:
        confirmation = Confirmation.IN_TIME if confirmed_at < confirm_by else Confirmation.LATE
    return ElectronicConsent(
        event_id=event["event_id"],
        key=ConsentKey.parse(row["key"]),
        origin=event["origin"],
        origin_ref=event["origin_ref"],
        given_at=given_at,
        confirmed_at=confirmed_at,
        confirmation=confirmation,
    )
