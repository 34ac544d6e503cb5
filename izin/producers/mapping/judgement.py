"""What the law finds in an event of a source: published, or refused with every reason why."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from izin.consent.admission import RefusedEvent, admit
from izin.consent.due_dates import TERM_DAYS, BrandTerms, expires_at
from izin.consent.making import maker
from izin.consent.model import AdmittedEvent, ConsentEvent, ConsentKey, Status
from izin.consent.violations import Violation
from izin.producers.mapping import field_names
from izin.producers.mapping.violations import violation
from izin.projections.brand_directory import BrandDirectory, RegisteredBrand, UnknownBrandError

_SHORTEST_TERM = timedelta(days=TERM_DAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedRecord:
    """An event to publish.

    ``violations`` are why İYS would not register it as it stands: any for an opt-out, only the end
    of its term for an opt-in.
    """

    event: ConsentEvent
    key: ConsentKey
    effective_at: datetime
    """From when it counts."""
    violations: tuple[Violation, ...]


_accepted = maker(AcceptedRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRecord:
    """A record that is not published, and every reason why."""

    violations: tuple[Violation, ...]


Review = Callable[[AcceptedRecord], tuple[Violation, ...]]
"""Why a record that could be published is not; none: it is."""


def passes(_record: AcceptedRecord) -> tuple[Violation, ...]:
    """Let every record pass: a review that finds nothing."""
    return ()


def reviewed(
    judged: AcceptedRecord | RefusedRecord, review: Review
) -> AcceptedRecord | RefusedRecord:
    """Return ``judged``, or as refused what a ``review`` does not let pass, never an opt-out."""
    if isinstance(judged, RefusedRecord):
        return judged
    why = review(judged)
    is_refused = why and judged.event.status != Status.RET
    return RefusedRecord(violations=why) if is_refused else judged


def find_brand(
    directory: BrandDirectory, brand_code: int | None, faults: list[Violation]
) -> RegisteredBrand | None:
    """Return the brand; None, and a violation if there is a code, where it is not registered."""
    if brand_code is None:
        return None
    try:
        return directory.get(brand_code)
    except UnknownBrandError:
        faults.append(violation("brand_code", "IZIN-BRAND-UNKNOWN", brand=brand_code))
        return None


def judge(
    event: ConsentEvent,
    brand: RegisteredBrand | None,
    ours: tuple[Violation, ...],
    *,
    received_at: datetime,
) -> AcceptedRecord | RefusedRecord:
    """Return ``event``, which has the violations ``ours``, as it is published, or every reason why
    not; without a ``brand`` it never is.
    """
    match admit(event, appended_at=received_at):
        case RefusedEvent(violations=found):
            return RefusedRecord(violations=_joined(ours, found))
        case AdmittedEvent(violations=found) if brand is None:
            return RefusedRecord(violations=_joined(ours, found))
        case AdmittedEvent(violations=found, key=key, status=status, event=event) as admitted:
            violations = _joined(ours, found)
            if violations and status is not Status.RET:
                return RefusedRecord(violations=violations)
            if status is Status.ONAY and _is_void(admitted, brand, received_at):
                violations = (violation("consent_date", "IZIN-TERM-ENDED"),)
            at = admitted.effective_at
            return _accepted(event=event, key=key, effective_at=at, violations=violations)
        case never:
            assert_never(never)


def _is_void(admitted: AdmittedEvent, brand: RegisteredBrand, now: datetime) -> bool:
    """Whether the term of an ONAY has ended, counted with the public holidays."""
    # Three business days are never shorter than three days, and most events are minutes old.
    if now - admitted.effective_at <= _SHORTEST_TERM:
        return False
    terms = BrandTerms(activated_at=brand.activated_at, loading_deadline=brand.loading_deadline)
    ends_at = expires_at(admitted.effective_at, terms, now=now)
    return ends_at is not None and ends_at < now


def _joined(ours: tuple[Violation, ...], law: tuple[Violation, ...]) -> tuple[Violation, ...]:
    """Return all violations, without the law's for fields that could not be read."""
    unread = {field_names.fold(one.field) for one in ours}
    return (
        (*ours, *(one for one in law if field_names.fold(one.field) not in unread)) if ours else law
    )
