"""An event as a program hands it over, before anything is known of it but its types.

The values are read as those of a form or a file are: :mod:`izin.producers.mapping.field_names` has
the words for channel, status and source. What has the wrong type is a violation of its field, never
an exception, for an opt-out whose key can be read is published whatever else is wrong with it.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from izin.consent.enums import RecipientType, Status
from izin.consent.texts import clean, has_surrogate
from izin.consent.violations import Violation
from izin.consent.violations import violation as by_law
from izin.producers.mapping import field_names
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.field_values import (
    LARGEST_INT,
    LARGEST_LONG,
    TEXTS,
    bounded,
    number_of,
)
from izin.producers.mapping.records import EventOrigin, MappedRecord
from izin.producers.mapping.violations import MAX_EVIDENCE, violation
from izin.producers.publishing.event_ids import CHANCE_BYTES, message_event_id, new_event_id

_NOTHING: Mapping[Field, str] = MappingProxyType({})
_NO_EVIDENCE: Mapping[str, str] = MappingProxyType({})


def utc_now() -> datetime:
    """Return the current instant in UTC."""
    return datetime.now(UTC)


def _chance() -> bytes:
    return secrets.token_bytes(CHANCE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """A consent (ONAY) or an opt-out (RET) to publish.

    ``brand_code``, ``type``, ``recipient`` and ``status`` make the key and the status; an ONAY
    needs ``source`` and ``consent_date`` too. Make one value for one act, and publish the same one
    again where a publication failed: it is the same event.
    """

    brand_code: int
    """The brand at İYS."""
    type: str
    """ARAMA (calls), MESAJ (text messages) or EPOSTA (e-mail)."""
    recipient: str
    """A phone number in any usual notation, or an e-mail address. Personal data."""
    status: str
    """ONAY (opt-in) or RET (opt-out)."""
    source: str | None = None
    """İYS's source, such as HS_WEB."""
    consent_date: datetime | None = None
    """When the recipient acted, aware. Without it an opt-out counts from ``received_at``."""
    recipient_type: str = RecipientType.BIREYSEL
    """BIREYSEL (consumer) or TACIR (merchant)."""
    origin_ref: str | None = None
    """Your own reference, such as a customer number. With a ``consent_date`` or a ``version`` it
    identifies the event: whoever publishes the same again changes nothing."""
    version: int | str | None = None
    """Tells events of one reference apart: a row's version, or a number of the message."""
    sequence: int | None = None
    """A running number of your system; gaps are detected."""
    actor: str | None = None
    """Who did it in your system."""
    correlation_id: str | None = None
    """Binds the events of one act."""
    retailer_code: int | None = None
    retailer_access: Sequence[int] | None = None
    notice_version: str | None = None
    """Which consent text the recipient saw."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Proof of the act: address, user agent, record number. Personal data."""
    evidence_hash: str | None = None
    """SHA-256 of evidence stored elsewhere."""
    received_at: datetime = field(default_factory=utc_now)
    """When your system received it, aware: when the value was made."""
    chance: bytes = field(default_factory=_chance, repr=False)
    """Ten random bytes, made with the value: the event's id where no reference identifies it."""


def record_of(event: NewEvent) -> MappedRecord:
    """Return ``event`` in the terms of the contract, with what is wrong with its types."""
    faults: list[Violation] = []
    status = field_names.status_of(_text(Field.STATUS, event.status, faults))
    channel = field_names.channel_of(_text(Field.TYPE, event.type, faults))
    recipient_type = field_names.recipient_type_of(
        _text(Field.RECIPIENT_TYPE, event.recipient_type, faults)
    )
    source = field_names.source_of(_text(Field.SOURCE, event.source, faults))
    # The law cleans a recipient, and reports what it takes out.
    recipient: object = event.recipient
    if not isinstance(recipient, str):
        faults.append(violation(Field.RECIPIENT, "IZIN-TYPE"))
        recipient = ""
    texts = _texts(event, faults)
    if status == Status.RET:
        faults += _damaged(event)
    return MappedRecord(
        brand_code=_number(Field.BRAND_CODE, event.brand_code, faults),
        type=channel,
        recipient_type=recipient_type,
        recipient=recipient.strip(),
        status=status,
        source=source,
        consent_date=_instant(Field.CONSENT_DATE, event.consent_date, faults),
        sequence=_number(Field.SEQUENCE, event.sequence, faults, LARGEST_LONG),
        retailer_code=_number(Field.RETAILER_CODE, event.retailer_code, faults),
        retailer_access=_numbers(Field.RETAILER_ACCESS, event.retailer_access, faults),
        texts=texts,
        violations=tuple(faults),
    )


def origin_of(event: NewEvent, record: MappedRecord, origin: str) -> EventOrigin:
    """Return the id, receipt and evidence of ``event``, whose fields are ``record``."""
    received_at = _instant("received_at", event.received_at, []) or utc_now()
    reference = record.texts.get(Field.ORIGIN_REF)
    if reference is not None and event.version is not None:
        event_id = message_event_id(origin, reference, str(event.version))
    elif reference is not None and record.consent_date is not None:
        event_id = message_event_id(origin, reference, "\x1f".join(record.identity))
    else:
        # Without a date, a customer number would make the next change the same event.
        event_id = new_event_id(received_at, event.chance)
    return EventOrigin(
        event_id=event_id,
        origin=origin,
        received_at=received_at,
        evidence=(event.evidence and _evidence(event.evidence)) or _NO_EVIDENCE,
    )


def _texts(event: NewEvent, faults: list[Violation]) -> Mapping[Field, str]:
    found: dict[Field, str] = {}
    for name in TEXTS:
        value = getattr(event, name)
        if value is not None and (text := _text(name, value, faults)):
            found[name] = text
    if event.evidence and _evidence(event.evidence) is None:
        faults.append(violation("evidence", "IZIN-EVIDENCE", longest=MAX_EVIDENCE))
    _instant("received_at", event.received_at, faults)
    return found or _NOTHING


def _text(name: Field, value: object, faults: list[Violation]) -> str:
    """Return a text, clean and bounded; "" where there is none."""
    if value is None:
        return ""
    if not isinstance(value, str):
        faults.append(violation(name, "IZIN-TYPE"))
        return ""
    return bounded(name, clean(value).strip(), faults)


def _damaged(event: NewEvent) -> list[Violation]:
    """Return the violations of an opt-out's texts that are no UTF-8; an opt-in is not refused."""
    names = (Field.TYPE, Field.STATUS, Field.SOURCE, Field.RECIPIENT_TYPE, *TEXTS)
    values = {name: getattr(event, name) for name in names}
    return [
        by_law(name, "IZIN-CHARACTER")
        for name, value in sorted(values.items())
        if isinstance(value, str) and has_surrogate(value)
    ]


def _number(
    name: Field, value: object, faults: list[Violation], largest: int = LARGEST_INT
) -> int | None:
    match value:
        case None:
            return None
        case bool():
            text = ""
        case int():
            text = str(value)
        case str():
            text = value.strip()
        case _:
            text = ""
    return number_of(name, text or "-", faults, largest)


def _numbers(name: Field, value: object, faults: list[Violation]) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        faults.append(violation(name, "IZIN-TYPE"))
        return None
    found: list[int] = []
    for one in value:
        number = _number(name, "-" if one is None else one, faults)
        if number is None:
            return None
        found.append(number)
    return tuple(found)


def _instant(name: str, value: object, faults: list[Violation]) -> datetime | None:
    """Return an instant in UTC; None where there is none, or it is not known which."""
    if value is None:
        return None
    if isinstance(value, datetime) and value.tzinfo is not None:
        try:
            return value if value.tzinfo is UTC else value.astimezone(UTC)
        except OverflowError:
            pass
    faults.append(violation(name, "IZIN-INSTANT"))
    return None


def _evidence(value: object) -> Mapping[str, str] | None:
    """Return evidence, clean; None where it is no mapping of texts, or too long."""
    if not isinstance(value, Mapping):
        return None
    if not all(isinstance(name, str) and isinstance(one, str) for name, one in value.items()):
        return None
    if sum(map(len, value.values())) > MAX_EVIDENCE:
        return None
    return {clean(name): clean(one) for name, one in value.items()}
