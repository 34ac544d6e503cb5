"""The fields of a source mapped to a consent event, alike for a CSV row, JSON and a web form.

:func:`read` only translates; a field that cannot be translated is a violation. :func:`validate`
adds what the law finds. An opt-out whose key can be read is published whatever else is wrong with
it; an unreadable date is then omitted, and the opt-out counts from its receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple, assert_never

from izin.consent import (
    CHANNELS,
    MAX_TEXT,
    TERM_DAYS,
    AdmittedEvent,
    BrandTerms,
    ConsentEvent,
    ConsentKey,
    DateBasis,
    RefusedEvent,
    Status,
    Violation,
    admit,
    changer,
    clean,
    cut,
    expires_at,
    has_surrogate,
    maker,
    read_recipient,
    violation as by_law,
)
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.mapping.dates import (
    DateRules,
    UnreadableDateError,
    read_date,
    read_opt_out_date,
)
from izin.producers.mapping.field_names import (
    CHANNEL_RECIPIENTS,
    LARGEST_INT,
    LARGEST_LONG,
    MAX_EVIDENCE,
    RECIPIENTS,
    TEXTS,
    Field,
    bounded,
    number_of,
    printable,
    violation,
)
from izin.schemas.words import (
    certain,
    channel_of,
    recipient_type_of,
    source_of,
    status_of,
)

_SHORTEST_TERM = timedelta(days=TERM_DAYS)
_NO_EVIDENCE: Mapping[str, str] = MappingProxyType({})
_SHORT = MAX_TEXT // 4
"""So many characters are never too many bytes."""
_event = maker(ConsentEvent)


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
    unread = {our.field for our in ours}
    return (*ours, *(one for one in law if one.field not in unread)) if ours else law


def text_of(name: str, value: object, faults: list[Violation]) -> str:
    """Return a value of JSON, or of a program, as the text that a form or a file would have: a
    number in digits, true and false as words, a list of retailers with blanks between them.
    """
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list() | tuple() if all(map(_is_scalar, value)):
            return " ".join(map(str, value))
    faults.append(violation(printable(name), "IZIN-TYPE"))
    return ""


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def evidence_of(
    pairs: Collection[tuple[object, object]] | None, faults: list[Violation]
) -> Mapping[str, str]:
    """Return the texts of ``pairs``, clean; nothing, and a violation, where they are none, or too
    long.
    """
    if pairs is not None and all(isinstance(name, str) and _is_scalar(one) for name, one in pairs):
        texts = {clean(str(name)): clean(str(one)) for name, one in pairs}
        if sum(map(len, texts.values())) <= MAX_EVIDENCE:
            return MappingProxyType(texts)
    faults.append(violation("evidence", "IZIN-EVIDENCE", longest=MAX_EVIDENCE))
    return _NO_EVIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRecord:
    """One record of a request: its fields as text, and what is wrong with the notation."""

    values: Mapping[Field, str]
    reference: str | None
    """The sender's own id of this record."""
    evidence: Mapping[str, str]
    is_live: bool
    """The recipient acts right now."""
    violations: tuple[Violation, ...]
    recipient_name: str
    """In which of three fields the sender has the recipient."""


input_record = maker(InputRecord)


class EventOrigin(NamedTuple):
    """The id and origin of an event, which no field of the record holds."""

    event_id: str
    origin: str
    received_at: datetime
    import_id: str | None = None
    row: int | None = None
    evidence: Mapping[str, str] = _NO_EVIDENCE
    cause: str | None = None
    """The event that this one follows from."""
    is_live: bool = False
    """The recipient acts right now: without a date, the event counts from its receipt."""
    actor: str | None = None
    """Who did it; None: whom the record names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedRecord:
    """An input record in the terms of the contract; ``violations``: what was not translatable."""

    brand_code: int | None
    type: str
    recipient_type: str
    recipient: str
    status: str
    source: str | None
    consent_date: datetime | None
    date_basis: str
    """How exactly that is stated."""
    sequence: int | None
    retailer_code: int | None
    retailer_access: tuple[int, ...] | None
    texts: Mapping[Field, str]
    """The fields that are copied unchanged: reference, actor …"""
    violations: tuple[Violation, ...]

    @property
    def identity(self) -> tuple[str, ...]:
        """What distinguishes two events of one reference: key, status and date."""
        date = self.consent_date
        return (
            str(self.brand_code),
            self.type,
            self.recipient_type,
            clean(self.recipient),
            self.status,
            "" if date is None else date.isoformat(),
        )

    def with_violations(self, more: tuple[Violation, ...]) -> MappedRecord:
        """Return this record with further violations."""
        return _changed(self, {"violations": (*more, *self.violations)}) if more else self

    def event(self, customer_id: str, brand_code: int, origin: EventOrigin) -> ConsentEvent:
        """Return this record as a consent event."""
        date, basis = self.consent_date, self.date_basis
        if date is None:
            basis = DateBasis.RECEIVED
            unread = any(one.field == Field.CONSENT_DATE for one in self.violations)
            if origin.is_live and not unread:
                # As admission would state it, which then makes no other event.
                date, basis = origin.received_at, DateBasis.STATED
        texts = self.texts
        recipient = self.recipient
        if self.type in CHANNELS:
            # In the form of keys, so that admission need not make another event for it.
            canonical = read_recipient(recipient, CHANNELS[self.type])
            recipient = canonical if isinstance(canonical, str) else recipient
        return _event(
            event_id=origin.event_id,
            customer_id=customer_id,
            brand_code=brand_code,
            type=self.type,
            recipient_type=self.recipient_type,
            recipient=recipient,
            recipient_raw=cut(clean(self.recipient)),
            status=self.status,
            source=self.source,
            consent_date=date,
            received_at=origin.received_at,
            date_basis=basis,
            origin=origin.origin,
            origin_ref=texts.get(Field.ORIGIN_REF),
            sequence=self.sequence,
            actor=texts.get(Field.ACTOR) if origin.actor is None else origin.actor,
            correlation_id=texts.get(Field.CORRELATION_ID),
            cause=origin.cause,
            import_id=origin.import_id,
            row=origin.row,
            retailer_code=self.retailer_code,
            retailer_access=self.retailer_access,
            notice_version=texts.get(Field.NOTICE_VERSION),
            evidence=origin.evidence,
            evidence_hash=texts.get(Field.EVIDENCE_HASH),
        )


_mapped, _changed = maker(MappedRecord), changer(MappedRecord)


def read(values: Mapping[Field, str], rules: DateRules) -> MappedRecord:
    """Return ``values`` as a record; an empty field is the same as an absent one."""
    faults: list[Violation] = []
    found = dict[Field, str]()
    for name, value in values.items():
        # As nearly all are: nothing to clean, and surely not too long.
        is_simple = len(value) <= _SHORT and value.isascii() and "\0" not in value
        if text := value.strip() if is_simple else _text(name, value, faults):
            found[name] = text
    channel = channel_of(found.get(Field.TYPE, ""))
    status = status_of(found.get(Field.STATUS, ""))
    if status == Status.ONAY and found[Field.STATUS] != values[Field.STATUS]:
        status = certain(status, values[Field.STATUS])
    if status == Status.RET:  # An opt-in is not refused for it.
        damaged = [name for name in values.keys() - RECIPIENTS if has_surrogate(values[name])]
        faults += [by_law(name, "IZIN-CHARACTER") for name in sorted(damaged)]
    date, basis = _date(found, rules, status, faults)
    return _mapped(
        brand_code=_number(found, Field.BRAND_CODE, faults),
        type=channel,
        recipient_type=recipient_type_of(found.get(Field.RECIPIENT_TYPE, "")),
        recipient=_recipient(found, channel, faults),
        status=status,
        source=source_of(found.get(Field.SOURCE, "")),
        consent_date=date,
        date_basis=basis,
        sequence=_number(found, Field.SEQUENCE, faults, LARGEST_LONG),
        retailer_code=_number(found, Field.RETAILER_CODE, faults),
        retailer_access=_numbers(found, Field.RETAILER_ACCESS, faults),
        texts={name: found[name] for name in TEXTS if name in found},
        violations=tuple(faults),
    )


def validate(
    record: MappedRecord, directory: BrandDirectory, origin: EventOrigin
) -> AcceptedRecord | RefusedRecord:
    """Return the event to publish, or every reason why there is none."""
    faults = [*record.violations]
    code = record.brand_code
    brand = None if code is None else directory.find(code)
    if brand is None and code is not None:
        faults.append(violation("brand_code", "IZIN-BRAND-UNKNOWN", brand=code))
    customer_id = "-" if brand is None else brand.customer_id
    event = record.event(customer_id, code or 0, origin)
    return judge(event, brand, tuple(faults), received_at=origin.received_at)


def _text(name: Field, value: str, faults: list[Violation]) -> str:
    """Return the text of a field, clean and bounded; a recipient is for the law to clean."""
    text = bounded(name, clean(value).strip(), faults)
    return value.strip() if name in RECIPIENTS else text


def _recipient(found: Mapping[Field, str], channel: str, faults: list[Violation]) -> str:
    by_channel = CHANNEL_RECIPIENTS.get(channel)
    given = found.get(Field.RECIPIENT, "")
    if by_channel is None:
        # Of a channel that is none: there is a recipient, and it is not what is missing.
        return given or found.get(Field.PHONE) or found.get(Field.EMAIL) or ""
    other = found.get(by_channel, "")
    if given and other and given != other:
        faults.append(violation("recipient", "IZIN-TWO-RECIPIENTS", other=by_channel))
        return ""
    return given or other


def _date(
    found: Mapping[Field, str], rules: DateRules, status: str, faults: list[Violation]
) -> tuple[datetime | None, DateBasis]:
    text = found.get(Field.CONSENT_DATE)
    if text is not None:
        try:
            if status == Status.ONAY:
                return read_date(text, rules), DateBasis.STATED
            return read_opt_out_date(text, replace(rules, time_of_day=None))
        except UnreadableDateError as error:
            faults.append(error.violation)
    return None, DateBasis.STATED


def _number(
    found: Mapping[Field, str],
    name: Field,
    faults: list[Violation],
    largest: int = LARGEST_INT,
) -> int | None:
    text = found.get(name)
    return None if text is None else number_of(name, text, faults, largest)


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
