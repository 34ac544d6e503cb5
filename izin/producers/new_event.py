"""An event as a program hands it over, and whether it is published: the law is asked.

The values are read as those of a form or a file are: :mod:`izin.producers.mapping.field_names` has
the words for channel, status and source. What has the wrong type is a violation of its field, never
an exception, for an opt-out whose key can be read is published whatever else is wrong with it.

Web servers (gunicorn) and task queues (Celery) fork after the application was loaded. What a fork
leaves behind in the child are clients of Kafka whose threads stayed in the parent: such a client
can be neither used nor destroyed there, for destroying it waits for its threads. So the child
forgets it without freeing it, and makes clients of its own.
"""

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from types import MappingProxyType
from typing import Protocol
from weakref import WeakSet

from izin.consent.admission import FIRST_DATE
from izin.consent.enums import (
    CHANNELS,
    RECIPIENT_TYPES,
    SOURCES,
    STATUSES,
    DateBasis,
    RecipientType,
    Status,
)
from izin.consent.making import maker
from izin.consent.model import ConsentEvent
from izin.consent.texts import clean, cut, has_surrogate
from izin.consent.violations import Violation
from izin.consent.violations import violation as by_law
from izin.producers.mapping.field_names import (
    LARGEST_INT,
    LARGEST_LONG,
    Field,
    bounded,
    certain,
    channel_of,
    number_of,
    recipient_type_of,
    source_of,
    status_of,
)
from izin.producers.mapping.records import (
    AcceptedRecord,
    RefusedRecord,
    find_brand,
    identity_of,
    judge,
)
from izin.producers.mapping.violations import MAX_EVIDENCE, violation
from izin.producers.publishing.event_ids import message_event_id, new_event_id
from izin.projections.brand_directory import BrandDirectory
from izin.schemas.fast.reader import EARLIEST, LATEST
from izin.schemas.uuids import CHANCE_BYTES

_DAMAGED = "IZIN-CHARACTER"
_NO_EVIDENCE: Mapping[str, str] = MappingProxyType({})
_event = maker(ConsentEvent)


class ForkObserver(Protocol):
    """What must begin anew in the child of a fork."""

    def forked(self) -> None:
        """Forget, in the child, what belongs to the parent."""


_OBSERVERS: WeakSet[ForkObserver] = WeakSet()


def observe_forks(observer: ForkObserver) -> None:
    """Call ``observer.forked`` in each child that this process forks, while it exists."""
    _OBSERVERS.add(observer)


def never_free(value: object) -> None:
    """Keep ``value`` and what it refers to until the process ends, at the end of Python too."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _in_child() -> None:
    for one in list(_OBSERVERS):
        one.forked()


os.register_at_fork(after_in_child=_in_child)


def utc_now() -> datetime:
    """Return the current instant in UTC."""
    return datetime.now(UTC)


class _Chance:
    """Random bytes for ids, of a generator that the system seeds: asking it for each takes longer
    than all else. The child of a fork has a seed of its own.
    """

    def __init__(self) -> None:
        self._random = Random()  # noqa: S311  # ids are no secrets
        observe_forks(self)

    def forked(self) -> None:
        """Draw other bytes than the parent."""
        self._random.seed()

    def __call__(self) -> bytes:
        return self._random.randbytes(CHANCE_BYTES)


_chance = _Chance()


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


def accept(
    event: NewEvent, origin: str, directory: BrandDirectory
) -> AcceptedRecord | RefusedRecord:
    """Return ``event``, of the system ``origin``, as it is published, or every reason why not."""
    faults: list[Violation] = []
    status = _word(Field.STATUS, event.status, STATUSES, status_of, faults) or ""
    status = certain(status, event.status)
    channel = _word(Field.TYPE, event.type, CHANNELS, channel_of, faults) or ""
    recipient_type = _word(
        *(Field.RECIPIENT_TYPE, event.recipient_type, RECIPIENT_TYPES),
        *(recipient_type_of, faults),
    )
    source = _word(Field.SOURCE, event.source, SOURCES, source_of, faults)
    recipient = _recipient(event.recipient, faults)
    reference = _text(Field.ORIGIN_REF, event.origin_ref, faults)
    date = _instant(Field.CONSENT_DATE, event.consent_date, faults)
    received_at = _instant("received_at", event.received_at, faults)
    if received_at is None or received_at < FIRST_DATE:
        received_at = utc_now()
    brand_code = _number(Field.BRAND_CODE, event.brand_code, faults)
    brand = find_brand(directory, brand_code, faults)
    identity = (brand_code, channel, recipient_type or "", recipient, status, date)
    made = _event(
        event_id=_event_id(event, origin, reference, identity, received_at),
        customer_id="-" if brand is None else brand.customer_id,
        brand_code=brand_code or 0,
        type=channel,
        recipient_type=recipient_type or "",
        recipient=recipient,
        recipient_raw=cut(clean(recipient)),
        status=status,
        source=source,
        consent_date=date,
        received_at=received_at,
        date_basis=DateBasis.RECEIVED if date is None else DateBasis.STATED,
        origin=origin,
        origin_ref=reference,
        sequence=_number(Field.SEQUENCE, event.sequence, faults, LARGEST_LONG),
        actor=_text(Field.ACTOR, event.actor, faults),
        correlation_id=_text(Field.CORRELATION_ID, event.correlation_id, faults),
        retailer_code=_number(Field.RETAILER_CODE, event.retailer_code, faults),
        retailer_access=_numbers(Field.RETAILER_ACCESS, event.retailer_access, faults),
        notice_version=_text(Field.NOTICE_VERSION, event.notice_version, faults),
        evidence=_evidence(event.evidence, faults) if event.evidence else _NO_EVIDENCE,
        evidence_hash=_text(Field.EVIDENCE_HASH, event.evidence_hash, faults),
    )
    if faults and status != Status.RET:  # An opt-in is cleaned, and not refused for it.
        faults = [one for one in faults if one.code != _DAMAGED]
    return judge(made, brand, tuple(faults), received_at=received_at)


def _event_id(
    event: NewEvent,
    origin: str,
    reference: str | None,
    identity: tuple[int | None, str, str, str, str, datetime | None],
    received_at: datetime,
) -> str:
    """Return the id of what ``reference`` names, else of the value ``event``."""
    if reference is not None:
        if event.version is not None:
            return message_event_id(origin, reference, str(event.version))
        # Without a date, a customer number would make the next change the same event.
        if identity[-1] is not None:
            return message_event_id(origin, reference, "\x1f".join(identity_of(*identity)))
    return new_event_id(received_at, event.chance)


def _word(
    name: Field,
    value: object,
    known: Mapping[str, str],
    read: Callable[[str], str | None],
    faults: list[Violation],
) -> str | None:
    """Return the word of the law that ``value`` is, or what ``read`` makes of it."""
    if isinstance(value, str) and value in known:
        return known[value]
    return read(_text(name, value, faults) or "")


def _recipient(value: object, faults: list[Violation]) -> str:
    """Return a recipient as it is: the law cleans it, and reports what it takes out."""
    if isinstance(value, str):
        return value.strip()
    faults.append(violation(Field.RECIPIENT, "IZIN-TYPE"))
    return ""


def _text(name: Field, value: object, faults: list[Violation]) -> str | None:
    """Return a text, clean and bounded; None where there is none."""
    if value is None:
        return None
    if not isinstance(value, str):
        faults.append(violation(name, "IZIN-TYPE"))
        return None
    if has_surrogate(value):
        faults.append(by_law(name, _DAMAGED))
    return bounded(name, clean(value).strip(), faults) or None


def _number(
    name: Field, value: object, faults: list[Violation], largest: int = LARGEST_INT
) -> int | None:
    match value:
        case None:
            return None
        case bool():
            text = ""
        case int() if 0 <= value <= largest:
            return value
        case str():
            text = value.strip()
        case _:
            text = ""
    return number_of(name, text, faults, largest)


def _numbers(name: Field, value: object, faults: list[Violation]) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        faults.append(violation(name, "IZIN-TYPE"))
        return None
    found: list[int] = []
    for one in value:
        number = _number(name, "" if one is None else one, faults)
        if number is None:
            return None
        found.append(number)
    return tuple(found)


def _instant(name: str, value: object, faults: list[Violation]) -> datetime | None:
    """Return an instant in UTC; None where there is none, or it is not known which."""
    if value is None:
        return None
    if isinstance(value, datetime):
        try:
            if value.utcoffset() is not None and EARLIEST <= value <= LATEST:
                return value.astimezone(UTC)
        except OverflowError:
            pass
    faults.append(violation(name, "IZIN-INSTANT"))
    return None


def _evidence(value: object, faults: list[Violation]) -> Mapping[str, str]:
    """Return evidence, clean; nothing where it is no mapping of texts, or too long."""
    if isinstance(value, Mapping):
        texts = [*value, *value.values()]
        is_text = all(isinstance(one, str) for one in texts)
        if is_text and sum(len(one) for one in value.values()) <= MAX_EVIDENCE:
            return {clean(name): clean(one) for name, one in value.items()}
    faults.append(violation("evidence", "IZIN-EVIDENCE", longest=MAX_EVIDENCE))
    return _NO_EVIDENCE
