"""What a source's fields say, as a consent event: one reading for a row, JSON and a form.

Reading only translates. What cannot be translated is a violation, and what breaks the law is the
law's to say: :func:`judge` joins the two. A "no" whose key can be read is published whatever else
is wrong with it; a date that cannot be read is then left out, and the "no" counts from its receipt.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, assert_never

from izin.consent.admission import RefusedEvent, admit
from izin.consent.model import AdmittedEvent, Channel, ConsentEvent, ConsentKey, DateBasis, Status
from izin.consent.terms import TERM_DAYS, BrandTerms, expires_at
from izin.consent.violations import Violation
from izin.producers.brand_directory import UnknownBrandError
from izin.producers.mapping import names
from izin.producers.mapping.dates import DateRules, UnreadableDateError, read_date
from izin.producers.mapping.names import Field
from izin.producers.mapping.violations import (
    not_a_number,
    term_ended,
    two_recipients,
    unknown_brand,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from izin.producers.brand_directory import BrandDirectory, RegisteredBrand

_NO_EVIDENCE: Mapping[str, str] = MappingProxyType({})
_BY_CHANNEL: Mapping[str, Field] = MappingProxyType(
    {Channel.ARAMA: Field.PHONE, Channel.MESAJ: Field.PHONE, Channel.EPOSTA: Field.EMAIL}
)
_SHORTEST_TERM = timedelta(days=TERM_DAYS)
_LARGEST_INT = 2**31 - 1
_LARGEST_LONG = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOrigin:
    """Where a statement came from, and who it is: what no field of it says."""

    event_id: str
    origin: str
    received_at: datetime
    import_id: str | None = None
    row: int | None = None
    evidence: Mapping[str, str] = field(default_factory=lambda: _NO_EVIDENCE)
    is_live: bool = False
    """The act itself reaches us now, so without a stated date it counts from its receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedRecord:
    """What a source said, in the contract's words; ``violations`` could not be translated."""

    brand_code: int | None
    type: str
    recipient_type: str
    recipient: str
    status: str
    source: str | None
    consent_date: datetime | None
    sequence: int | None
    retailer_code: int | None
    retailer_access: tuple[int, ...] | None
    texts: Mapping[Field, str]
    """The fields that are carried as they are: reference, actor …"""
    violations: tuple[Violation, ...]

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells two statements under one reference apart: record, status and date."""
        date = self.consent_date
        return (
            str(self.brand_code),
            self.type,
            self.recipient_type,
            self.recipient,
            self.status,
            "" if date is None else date.isoformat(),
        )

    def with_violations(self, more: tuple[Violation, ...]) -> MappedRecord:
        """Return this statement with what else is wrong with it."""
        return replace(self, violations=(*more, *self.violations)) if more else self

    def event(self, customer_id: str, brand_code: int, origin: EventOrigin) -> ConsentEvent:
        """Return the event that this statement from ``origin`` is."""
        date, basis = self.consent_date, DateBasis.STATED
        if date is None:
            basis = DateBasis.RECEIVED
            unread = any(one.field == Field.CONSENT_DATE for one in self.violations)
            date = origin.received_at if origin.is_live and not unread else None
        texts = self.texts
        return ConsentEvent(
            event_id=origin.event_id,
            customer_id=customer_id,
            brand_code=brand_code,
            type=self.type,
            recipient_type=self.recipient_type,
            recipient=self.recipient,
            recipient_raw=self.recipient,
            status=self.status,
            source=self.source,
            consent_date=date,
            received_at=origin.received_at,
            date_basis=basis,
            origin=origin.origin,
            origin_ref=texts.get(Field.ORIGIN_REF),
            sequence=self.sequence,
            actor=texts.get(Field.ACTOR),
            correlation_id=texts.get(Field.CORRELATION_ID),
            import_id=origin.import_id,
            row=origin.row,
            retailer_code=self.retailer_code,
            retailer_access=self.retailer_access,
            notice_version=texts.get(Field.NOTICE_VERSION),
            evidence=origin.evidence,
            evidence_hash=texts.get(Field.EVIDENCE_HASH),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedRecord:
    """An event to publish.

    ``violations``: why İYS would not register it as it stands. Of a "no" that may be anything; of a
    "yes", that it is void already.
    """

    event: ConsentEvent
    key: ConsentKey
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRecord:
    """A statement that is not published, and every reason why."""

    violations: tuple[Violation, ...]


_TEXTS = (
    Field.ORIGIN_REF,
    Field.ACTOR,
    Field.CORRELATION_ID,
    Field.NOTICE_VERSION,
    Field.EVIDENCE_HASH,
)


def read(values: Mapping[Field, str], rules: DateRules) -> MappedRecord:
    """Return what ``values`` say; a field that is absent and one that is empty mean the same."""
    found = {name: text for name, value in values.items() if (text := value.strip())}
    faults: list[Violation] = []
    channel = names.channel_of(found.get(Field.TYPE, ""))
    status = names.status_of(found.get(Field.STATUS, ""))
    return MappedRecord(
        brand_code=_number(found, Field.BRAND_CODE, faults),
        type=channel,
        recipient_type=names.recipient_type_of(found.get(Field.RECIPIENT_TYPE, "")),
        recipient=_recipient(found, channel, faults),
        status=status,
        source=names.source_of(found.get(Field.SOURCE, "")),
        consent_date=_date(found, rules, status, faults),
        sequence=_number(found, Field.SEQUENCE, faults, _LARGEST_LONG),
        retailer_code=_number(found, Field.RETAILER_CODE, faults),
        retailer_access=_numbers(found, Field.RETAILER_ACCESS, faults),
        texts={name: found[name] for name in _TEXTS if name in found},
        violations=tuple(faults),
    )


def judge(
    statement: MappedRecord, directory: BrandDirectory, origin: EventOrigin
) -> AcceptedRecord | RefusedRecord:
    """Return the event to publish, or every reason why there is none."""
    if statement.brand_code is None:
        nobodys = statement.event("-", 0, origin)
        rest = admit(nobodys, appended_at=origin.received_at).violations
        return RefusedRecord(violations=_joined(statement.violations, rest))
    try:
        brand = directory.get(statement.brand_code)
    except UnknownBrandError as error:
        anybody = statement.event("-", statement.brand_code, origin)
        rest = admit(anybody, appended_at=origin.received_at).violations
        ours = (*statement.violations, unknown_brand(error))
        return RefusedRecord(violations=_joined(ours, rest))
    event = statement.event(brand.customer_id, brand.brand_code, origin)
    match admit(event, appended_at=origin.received_at):
        case RefusedEvent(violations=of_law):
            return RefusedRecord(violations=_joined(statement.violations, of_law))
        case AdmittedEvent(violations=of_law, key=key, status=status, event=admitted) as claim:
            violations = _joined(statement.violations, of_law)
            if violations and status is not Status.RET:
                return RefusedRecord(violations=violations)
            if status is Status.ONAY and _is_void(claim, brand, origin.received_at):
                violations = (term_ended(),)
            return AcceptedRecord(event=admitted, key=key, violations=violations)
        case never:
            assert_never(never)


def _is_void(claim: AdmittedEvent, brand: RegisteredBrand, now: datetime) -> bool:
    """Whether the term of an ONAY has ended, counted with the public holidays."""
    # No three business days are shorter than three days, and most statements are of this minute.
    if now - claim.effective_at <= _SHORTEST_TERM:
        return False
    clock = BrandTerms(activated_at=brand.activated_at, loading_deadline=brand.loading_deadline)
    ends_at = expires_at(claim.effective_at, clock, now=now)
    return ends_at is not None and ends_at < now


def _joined(ours: tuple[Violation, ...], law: tuple[Violation, ...]) -> tuple[Violation, ...]:
    """Return all violations; of a field that could not be read, the law's add nothing."""
    unread = {names.fold(one.field) for one in ours}
    return (*ours, *(one for one in law if names.fold(one.field) not in unread)) if ours else law


def _recipient(found: Mapping[Field, str], channel: str, faults: list[Violation]) -> str:
    by_channel = _BY_CHANNEL.get(channel)
    given = [
        found[one] for one in (Field.RECIPIENT, by_channel) if one is not None and one in found
    ]
    if len(set(given)) > 1:
        faults.append(two_recipients(by_channel))
        return ""
    return given[0] if given else ""


def _date(
    found: Mapping[Field, str], rules: DateRules, status: str, faults: list[Violation]
) -> datetime | None:
    text = found.get(Field.CONSENT_DATE)
    if text is None:
        return None
    if rules.time_of_day is not None and status != Status.ONAY:
        rules = replace(rules, time_of_day=None)
    try:
        return read_date(text, rules)
    except UnreadableDateError as error:
        faults.append(error.violation)
        return None


def _number(
    found: Mapping[Field, str],
    name: Field,
    faults: list[Violation],
    largest: int = _LARGEST_INT,
) -> int | None:
    text = found.get(name)
    if text is None:
        return None
    if (
        text.isascii()
        and text.isdigit()
        and len(text) <= len(str(largest))
        and int(text) <= largest
    ):
        return int(text)
    faults.append(not_a_number(name, largest))
    return None


def _numbers(
    found: Mapping[Field, str], name: Field, faults: list[Violation]
) -> tuple[int, ...] | None:
    text = found.get(name)
    if text is None:
        return None
    numbers: list[int] = []
    for part in text.replace(",", " ").replace("|", " ").split():
        number = _number({name: part}, name, faults)
        if number is None:
            return None
        numbers.append(number)
    return tuple(numbers)
