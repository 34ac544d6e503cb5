"""What may enter the law, and from which instant it counts.

- A RET whose key can be read is always admitted and always takes local effect (6563 m.8: a citizen
  may refuse at any time, without a reason). Whatever else is wrong with it only says why İYS
  would not take it as it stands. A RET that has no date, or an impossible one (ahead of its
  receipt: H162; before May 2015: H156), counts from the instant we received it.
- An ONAY is admitted only without any violation. One dated within five minutes ahead of its
  receipt (clocks differ) counts from its receipt; further ahead it is refused (H162). One without
  a date is refused (H112), but for a merchant's, who needs no prior consent: date and source are
  optional on a TACIR's first record, so it counts from its receipt.
- What İYS says is a fact about İYS and is not judged as ours: its sources are open, its dates may
  be
  old or missing, and its own ``creation_date`` is the instant that counts. But an ONAY that a
  provider wrote (stream HS) counts from when it was said: uploaded late, it undoes no "no" that was
  given in between. A RET on an address that İYS holds misspelt closes the right one; an ONAY on it
  does not open it.

Nothing here reads a clock: dates are judged against ``received_at``, so a replay decides as the
first run did. How old an ONAY may be is no matter of admission, for it hangs on the brand's
activation: see :mod:`izin.consent.terms`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from izin.consent.fields import (
    check_identity,
    check_retailers,
    is_misspelt,
    read_key,
    read_source,
    read_status,
)
from izin.consent.making import maker
from izin.consent.model import Claim, DateBasis, RecipientType, Source, Status, aware
from izin.consent.violations import violation

if TYPE_CHECKING:
    from izin.consent.model import ConsentEvent, ConsentKey, Violation

_claim = maker(Claim)

SKEW = timedelta(minutes=5)
"""How far the clocks of two honest systems may differ."""

FIRST_DATE = datetime(2015, 4, 30, 21, tzinfo=UTC)
"""2015-05-01 00:00:00 in Turkey, when 6563 came into force: no consent is older (H155, H156)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An event that is not admitted: at least one violation, and its key where it can be read."""

    event: ConsentEvent
    violations: tuple[Violation, ...]
    key: ConsentKey | None


def admit(event: ConsentEvent, *, appended_at: datetime) -> Claim | Refusal:
    """Return the claim that ``event`` makes, or why it makes none.

    ``appended_at`` is the broker's append time. It stands in for ``received_at`` where the event
    has none, or one ahead of it: nothing can be received after it was appended, and an event that
    says so could else win over every later "no".
    """
    faults: list[Violation] = []
    status = read_status(event, faults)
    key = read_key(event, faults)
    if not event.customer_id or not event.event_id:
        check_identity(event, faults)
    received_at = event.received_at
    if received_at is None or _is_ahead(received_at, appended_at):
        received_at = aware("appended_at", appended_at)
    source: str | None
    basis: str
    if event.iys is None:
        source = _source_of_ours(event, key, status, faults)
        effective_at, basis = _date_of_ours(event, key, status, received_at, faults)
    else:
        source = event.source
        effective_at, basis = event.iys.creation_date, event.date_basis
        stated = event.consent_date
        if status is Status.ONAY and event.iys.stream == "HS" and stated is not None:
            # A provider wrote it, maybe long after it was said: it undoes no "no" given meanwhile.
            effective_at = min(effective_at, stated)
        if status is Status.ONAY and key is not None and is_misspelt(event, key.recipient):
            faults.append(violation("recipient", "IZIN-IYS-RECIPIENT"))
    if key is None or status is None or (faults and status is Status.ONAY):
        return Refusal(event=event, violations=tuple(faults), key=key)
    # İYS's clock has whole seconds.
    if effective_at.microsecond or effective_at.tzinfo is not UTC:
        effective_at = effective_at.astimezone(UTC).replace(microsecond=0)
    return _claim(
        key=key,
        status=status,
        effective_at=effective_at,
        event=_as_admitted(event, key, status, source, received_at, basis),
        violations=tuple(faults),
    )


def _source_of_ours(
    event: ConsentEvent,
    key: ConsentKey | None,
    status: Status | None,
    faults: list[Violation],
) -> str | None:
    if event.retailer_code is not None or event.retailer_access is not None:
        check_retailers(event, faults)
    source = read_source(event, faults)
    if source is None and not event.source and not _needs_no_consent(event, key, status):
        faults.append(violation("source", "H113"))
    if source is Source.HS_KARAR and status is Status.ONAY:
        faults.append(violation("status", "H408"))
    if source is Source.HS_2015 and _is_otherwise_dated(event, key, status):
        faults.append(violation("consent_date", "H155"))
    if source is None:
        return event.source or None
    return source


def _is_otherwise_dated(event: ConsentEvent, key: ConsentKey | None, status: Status | None) -> bool:
    """Whether İYS would be told another date than the one that HS_2015 has."""
    stated = event.consent_date
    if stated is None:
        # It would be told with the instant of its receipt; a merchant's first record with none.
        return not _needs_no_consent(event, key, status)
    return stated.replace(microsecond=0) != FIRST_DATE


def _date_of_ours(
    event: ConsentEvent,
    key: ConsentKey | None,
    status: Status | None,
    received_at: datetime,
    faults: list[Violation],
) -> tuple[datetime, DateBasis]:
    """Return the instant from which a statement of one of our systems counts, and whose it is."""
    stated = event.consent_date
    if stated is None:
        if status is not Status.RET and not _needs_no_consent(event, key, status):
            faults.append(violation("consent_date", "H112"))
        return received_at, DateBasis.RECEIVED
    if stated < FIRST_DATE:
        faults.append(violation("consent_date", "H156"))
        return received_at, DateBasis.RECEIVED
    if stated <= received_at:
        return stated, DateBasis.STATED
    if _is_ahead(stated, received_at):
        faults.append(violation("consent_date", "H162"))
    return received_at, DateBasis.RECEIVED


def _needs_no_consent(event: ConsentEvent, key: ConsentKey | None, status: Status | None) -> bool:
    """Whether this may be the first record of a merchant, on which date and source are optional."""
    recipient_type = event.recipient_type if key is None else key.recipient_type
    return recipient_type == RecipientType.TACIR and status is Status.ONAY


def _is_ahead(instant: datetime, of: datetime) -> bool:
    """Whether ``instant`` lies further ahead than honest clocks differ."""
    # Nearly none is ahead at all, and the difference costs more than the comparison.
    return instant > of and instant - of > SKEW


def _as_admitted(  # noqa: PLR0913, PLR0917 - what admission read of the event, field by field
    event: ConsentEvent,
    key: ConsentKey,
    status: Status,
    source: str | None,
    received_at: datetime,
    basis: str,
) -> ConsentEvent:
    """Return ``event`` with what was read of it in place: the same one if nothing differs."""
    changes: dict[str, Any] = {}
    if event.recipient != key.recipient:
        changes["recipient"] = key.recipient
        if event.recipient_raw is None:
            changes["recipient_raw"] = event.recipient
    if event.type != key.channel:
        changes["type"] = key.channel
    if event.recipient_type != key.recipient_type:
        changes["recipient_type"] = key.recipient_type
    if event.status != status:
        changes["status"] = status
    if event.source != source:
        changes["source"] = source
    if event.received_at is not received_at:
        changes["received_at"] = received_at
    if event.date_basis != basis:
        changes["date_basis"] = basis
    return replace(event, **changes) if changes else event
