"""An event as a program hands it over, and whether it is published: the law is asked.

The values are read as those of JSON and a file are, by the same words (:mod:`izin.schemas.words`).
What has the wrong type is a violation of its field, never an exception, for an opt-out whose key
can be read is published whatever else is wrong with it.

Web servers (gunicorn) and task queues (Celery) fork after the application was loaded. What a fork
leaves behind in the child are clients of Kafka whose threads stayed in the parent: such a client
can be neither used nor destroyed there, for destroying it waits for its threads. So the child
forgets it without freeing it, and makes clients of its own.
"""

import ctypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Protocol
from weakref import WeakSet

from izin.consent import FIRST_DATE, RecipientType, Violation
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field, violation
from izin.producers.mapping.records import (
    AcceptedRecord,
    EventOrigin,
    MappedRecord,
    RefusedRecord,
    evidence_of,
    read,
    text_of,
    validate,
)
from izin.producers.publishing.event_ids import message_event_id
from izin.schemas.fast.reader import EARLIEST, LATEST
from izin.schemas.uuids import CHANCE_BYTES, uuid7

_RULES = DateRules()
_FIELDS = tuple({*Field} - {Field.PHONE, Field.EMAIL, Field.CONSENT_DATE})
"""What a value has as its fields are called."""


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
    for observer in list(_OBSERVERS):
        observer.forked()


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
    values = {
        name: text for name in _FIELDS if (text := text_of(name, getattr(event, name), faults))
    }
    date = _instant(Field.CONSENT_DATE, event.consent_date, faults)
    received_at = _instant("received_at", event.received_at, faults)
    if received_at is None or received_at < FIRST_DATE:
        received_at = utc_now()
    evidence: Mapping[str, str] = {}
    if event.evidence:
        is_mapping = isinstance(event.evidence, Mapping)
        evidence = evidence_of([*event.evidence.items()] if is_mapping else None, faults)
    record = replace(read(values, _RULES), consent_date=date).with_violations(tuple(faults))
    return validate(
        record,
        directory,
        EventOrigin(
            event_id=_event_id(event, origin, record, received_at),
            origin=origin,
            received_at=received_at,
            evidence=evidence,
        ),
    )


def _event_id(event: NewEvent, origin: str, record: MappedRecord, received_at: datetime) -> str:
    """Return the id of what its reference names, else of the value ``event``."""
    reference = record.texts.get(Field.ORIGIN_REF)
    if reference is not None:
        if event.version is not None:
            return message_event_id(origin, reference, str(event.version))
        # Without a date, a customer number would make the next change the same event.
        if record.consent_date is not None:
            return message_event_id(origin, reference, "\x1f".join(record.identity))
    return uuid7(received_at, event.chance)


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
