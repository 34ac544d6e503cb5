"""Which events are admitted, and from which instant each counts.

- A RET whose key can be read is always admitted and always takes local effect (6563 m.8: a citizen
  may opt out at any time, without a reason). Anything else wrong with it only means that İYS would
  not accept it as it stands. A RET without a date, or with an impossible one (ahead of its receipt:
  H162; before May 2015: H156), counts from the instant we received it.
- A RET that is stated by its day or its minute alone counts from the end of that (in Turkey), or
  from its receipt if that is earlier: an ONAY of the same day may be older, and one that was given
  later stands, however often the RET is repeated. An ONAY counts from the beginning of its own, for
  the opt-out of the same day may be newer. İYS gets the date as it was stated.
- An ONAY is admitted only without violations. One dated up to five minutes ahead of its receipt
  (clocks differ) counts from its receipt; further ahead it is refused (H162). One without a date is
  refused (H112), except a merchant's: date and source are optional on a TACIR's first record, so it
  counts from its receipt. No ONAY counts from later than the broker's first append of it, for the
  clock of an endpoint must not put it behind an opt-out that came later.
- An event from İYS is a fact and is not validated like ours: its sources are open, its dates may be
  old or missing, and its ``creation_date`` is the instant that counts. An ONAY that a provider
  wrote (stream HS) counts from its consent date if that is earlier: uploaded late, it overrides no
  opt-out given in between. An ONAY that İYS dates more than five minutes ahead counts from its
  receipt: a strict bound would reorder İYS's own RET and ONAY where clocks differ. A RET on an
  address that İYS holds misspelt applies to the correct one; an ONAY on it does not.
- An instant from before the law is none, be it of a receipt or of İYS: programs write 1970, or the
  year 1, for what they do not know. The broker's append time counts instead of such a receipt, and
  the receipt instead of such an instant at İYS, without which an ONAY is refused (H112).

Nothing here reads a clock: dates are compared with ``received_at``, so a replay decides as the
first run did. How old an ONAY may be depends on the brand's activation, and is decided by
:mod:`izin.consent.due_dates`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from izin.consent.fields import (
    RETAILER_LIMIT,
    check_identity,
    check_retailers,
    is_misspelt,
    read_key,
    read_source,
    read_status,
    serves_more,
)
from izin.consent.making import changer, maker
from izin.consent.model import (
    AdmittedEvent,
    ConsentEvent,
    ConsentKey,
    DateBasis,
    IysOrigin,
    RecipientType,
    Source,
    Status,
    aware,
)
from izin.consent.texts import cut, is_too_long
from izin.consent.violations import Violation, violation

_admitted = maker(AdmittedEvent)
_changed = changer(ConsentEvent)

_TEXTS = (
    "event_id",
    "customer_id",
    "date_basis",
    "origin",
    "recipient_raw",
    "source",
    "origin_ref",
    "actor",
    "correlation_id",
    "cause",
    "import_id",
    "notice_version",
    "evidence_hash",
)
"""Of an event, that are cut where it is too large."""
SKEW = timedelta(minutes=5)
"""How far the clocks of two systems may differ."""

FIRST_DATE = datetime(2015, 4, 30, 21, tzinfo=UTC)
"""2015-05-01 00:00:00 in Turkey, when 6563 came into force: no consent is older (H155, H156)."""


_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_PRECISIONS = frozenset({DateBasis.STATED, DateBasis.MINUTE, DateBasis.DAY})


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """An event that is not admitted, with its violations, and its key if it can be read."""

    event: ConsentEvent
    violations: tuple[Violation, ...]
    key: ConsentKey | None


def admit(event: ConsentEvent, *, appended_at: datetime) -> AdmittedEvent | RefusedEvent:
    """Return ``event`` as admitted, or refused with every violation.

    ``appended_at`` is the broker's first append time. It replaces a ``received_at`` that is missing
    or ahead of it: otherwise such an event could win over every later opt-out.
    """
    faults: list[Violation] = []
    status = read_status(event, faults)
    key = read_key(event, faults)
    if not event.customer_id or not event.event_id:
        check_identity(event, faults)
    received_at = event.received_at
    if received_at is None or received_at < FIRST_DATE or _is_ahead(received_at, appended_at):
        received_at = aware("appended_at", appended_at)
    # The latest instant from which the event may count.
    bound = min(received_at, appended_at) if status is Status.ONAY else received_at
    source: str | None
    basis: str
    if event.iys is None:
        source = _source_of_ours(event, key, status, faults)
        effective_at, basis = _date_of_ours(event, key, status, bound, faults)
        if basis == DateBasis.RECEIVED:
            received_at = bound
        if event.evidence and status is Status.ONAY and serves_more(event.evidence):
            faults.append(violation("evidence", "IZIN-PURPOSE"))
    else:
        source, basis = event.source, event.date_basis
        event, effective_at = _date_of_iys(event, event.iys, status, bound, faults)
        if status is Status.ONAY and _is_ahead(effective_at, bound):
            effective_at = received_at = bound
        if status is Status.ONAY and key is not None and is_misspelt(event, key.recipient):
            faults.append(violation("recipient", "IZIN-IYS-RECIPIENT"))
    if key is None or status is None or (faults and status is Status.ONAY):
        return RefusedEvent(event=event, violations=tuple(faults), key=key)
    # İYS's clock has whole seconds.
    if effective_at.microsecond or effective_at.tzinfo is not UTC:
        effective_at = effective_at.astimezone(UTC).replace(microsecond=0)
    return _admitted(
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
    return event.source or None if source is None else source


def _is_otherwise_dated(event: ConsentEvent, key: ConsentKey | None, status: Status | None) -> bool:
    """Whether the event would be submitted with another date than the one that HS_2015 has."""
    stated = event.consent_date
    if stated is None:
        # It would be submitted with its instant of receipt; a merchant's first record with none.
        return not _needs_no_consent(event, key, status)
    return stated.replace(microsecond=0) != FIRST_DATE


def _date_of_ours(
    event: ConsentEvent,
    key: ConsentKey | None,
    status: Status | None,
    received_at: datetime,
    faults: list[Violation],
) -> tuple[datetime, str]:
    """Return the instant from which an event of one of our systems counts, and its basis."""
    stated = event.consent_date
    if stated is None:
        if status is not Status.RET and not _needs_no_consent(event, key, status):
            faults.append(violation("consent_date", "H112"))
        return received_at, DateBasis.RECEIVED
    if stated < FIRST_DATE:
        faults.append(violation("consent_date", "H156"))
        return received_at, DateBasis.RECEIVED
    if stated <= received_at:
        basis = event.date_basis if event.date_basis in _PRECISIONS else DateBasis.STATED
        if status is not Status.RET:
            return stated, basis
        return min(last_second(stated, basis), received_at), basis
    if _is_ahead(stated, received_at):
        faults.append(violation("consent_date", "H162"))
    return received_at, DateBasis.RECEIVED


def last_second(stated: datetime, basis: str) -> datetime:
    """Return the last second that an opt-out may mean whose date is ``stated`` as exactly as
    ``basis`` says.
    """
    if basis == DateBasis.DAY:
        # Turkish time has been three hours ahead of UTC since a Turkish midnight: that of the law.
        return stated - (stated - FIRST_DATE) % _DAY + _DAY - _SECOND
    if basis == DateBasis.MINUTE:
        return stated.replace(second=59, microsecond=0)
    return stated


def _date_of_iys(
    event: ConsentEvent,
    iys: IysOrigin,
    status: Status | None,
    received_at: datetime,
    faults: list[Violation],
) -> tuple[ConsentEvent, datetime]:
    """Return an event of İYS, and the instant from which it counts.

    A RET without one counts from its receipt, and has that from then on: so does what it closes.
    """
    created, stated = iys.creation_date, event.consent_date
    if created < FIRST_DATE:
        created = received_at
        if status is Status.RET:
            event = _changed(event, {"iys": replace(iys, creation_date=created)})
        else:
            faults.append(violation("creation_date", "H112"))
    if status is Status.ONAY and iys.stream == "HS" and stated is not None:
        # Possibly uploaded long after it was given: it overrides no opt-out given meanwhile.
        return event, min(created, stated)
    return event, created


def _needs_no_consent(event: ConsentEvent, key: ConsentKey | None, status: Status | None) -> bool:
    """Whether this may be the first record of a merchant, where date and source are optional."""
    recipient_type = event.recipient_type if key is None else key.recipient_type
    return recipient_type == RecipientType.TACIR and status is Status.ONAY


def _is_ahead(instant: datetime, of: datetime) -> bool:
    """Whether ``instant`` is further ahead of ``of`` than clocks may differ."""
    # Hardly any is ahead at all, and the difference costs more than the comparison.
    return instant > of and instant - of > SKEW


def _as_admitted(  # noqa: PLR0913, PLR0917 - the values that admission read
    event: ConsentEvent,
    key: ConsentKey,
    status: Status,
    source: str | None,
    received_at: datetime,
    basis: str,
) -> ConsentEvent:
    """Return ``event`` with the values that admission read; the same object if none differs."""
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
    return _changed(event, changes) if changes else event


def shortened(admitted: AdmittedEvent) -> AdmittedEvent:
    """Return ``admitted``, an opt-out (RET) that is too large to be carried, with bounded texts, a
    violation for each that is cut, and without its evidence and a list of more retailers than İYS
    takes.

    It loses texts, never its effect; the input topic has them. İYS receives none of them but the
    source, so it stays registrable.
    """
    event = admitted.event
    changes: dict[str, Any] = {
        name: cut(text)
        for name in _TEXTS
        if (text := getattr(event, name)) is not None and is_too_long(text)
    }
    if event.evidence:
        changes["evidence"] = {}
    if event.retailer_access is not None and len(event.retailer_access) > RETAILER_LIMIT:
        changes["retailer_access"] = None
    changes |= _shortened_origin(event)
    return replace(
        admitted,
        event=replace(event, **changes),
        violations=(
            *admitted.violations,
            *(violation(name, "IZIN-TEXT-SIZE") for name in sorted(changes)),
        ),
    )


def _shortened_origin(event: ConsentEvent) -> dict[str, Any]:
    iys = event.iys
    if iys is None:
        return {}
    short = replace(
        iys,
        stream=cut(iys.stream),
        path=cut(iys.path),
        transaction_id=None if iys.transaction_id is None else cut(iys.transaction_id),
    )
    return {} if short == iys else {"iys": short}
