"""What is at fault when a batch cannot be stored: a record, or something that passes without us.

Only what another record would not have caused is a record's fault: a value that PostgreSQL refuses,
and an error of our own pure code. A lost connection, a conflict, a server that restarts or refuses
every statement, a registry out of reach: none of them ever puts a record aside.

Read an opt-out (RET) out of a decision that cannot be taken as it is.

An opt-out closes its key whatever else is wrong with its record. What of it can be read, be it the
beginning of truncated bytes, becomes an opt-out of our own at the same instant: the law admits and
decides it like any other. It names the record that it stands for, which stays in the dead letters.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid5

from confluent_kafka import Message

from izin.consent.admission import FIRST_DATE, RefusedEvent, admit
from izin.consent.errors import (
    IllegalTransitionError,
    IzinError,
    NaiveInstantError,
    OutsideCalendarError,
    SourceError,
)
from izin.consent.model import ConsentEvent, Source, Status
from izin.consent.ordering import decide
from izin.runtime.kafka_clients import headers_of
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.fast.reader import append_instant, instant_of, long_of
from izin.schemas.generated.decision_offsets import head_offsets
from izin.schemas.records import consent_to_avro, event_to_avro, violation_to_avro
from izin.sinks.record.errors import IllegalChangeError, RefusedValueError
from izin.sinks.record.unreadable import POISON, QuarantinedRecord

T = TypeVar("T")

UNREADABLE = "unreadable"
"""The source of a record of which nothing can be read."""
_OF_A_RECORD = (
    SourceError,
    RefusedValueError,
    IllegalChangeError,
    IllegalTransitionError,
    NaiveInstantError,
    OutsideCalendarError,
)
_OF_THE_MACHINE = (OSError, MemoryError)
ORIGIN = "quarantine"
"""The origin of events that stand for an opt-out in the dead letters."""
_OPT_OUTS = UUID("b9a5a2b6-5c9e-5d0a-8f51-0d6f5f7e6a11")


class Gleaned(NamedTuple):
    """What could be read of a decision."""

    source: str
    """Customer and origin of its event."""
    status: str
    effective_at: datetime | None
    customer_id: str
    key: Mapping[str, Any]
    """The fields of the key, as the contracts name them."""


def glean(codec: Codec, value: bytes) -> Gleaned | None:
    """Return what can be read of a decision; None where not even its key and status can.

    An event that is an opt-out makes it one, though a newer opt-in may have won.
    """
    try:
        decision = codec.decode("Decision", value)
    except UndecodableError:
        return _beginning(value, codec.header("Decision"))
    consent, event = decision["consent"], decision["event"]
    return Gleaned(
        f"{event['customer_id']}/{event['origin']}",
        str(Status.RET if Status.RET in {event["status"], consent["status"]} else Status.ONAY),
        decision["effective_at"],
        consent["customer_id"],
        {name: consent[name] for name in ("brand_code", "type", "recipient_type", "recipient")},
    )


def opt_out(codec: Codec, gleaned: Gleaned, record: QuarantinedRecord) -> bytes | None:
    """Return the decision on the opt-out that stands for ``record``, encoded; None where the law
    can build no key of it.
    """
    appended_at, stated = record.appended_at, gleaned.effective_at
    is_instant = stated is not None and stated >= FIRST_DATE
    place = f"{record.topic}/{record.partition}/{record.offset}"
    event = ConsentEvent(
        event_id=str(uuid5(_OPT_OUTS, place)),
        customer_id=gleaned.customer_id,
        status=str(Status.RET),
        source=str(Source.HS_KARAR),
        consent_date=min(stated, appended_at) if stated is not None and is_instant else appended_at,
        received_at=appended_at,
        origin=ORIGIN,
        origin_ref=place,
        **gleaned.key,
    )
    admitted = admit(event, appended_at=appended_at)
    if isinstance(admitted, RefusedEvent):
        return None
    decision = decide(None, admitted)
    return codec.encode(
        "Decision",
        {
            "kind": decision.kind,
            "reason": decision.reason,
            "opted_out": decision.opted_out,
            "effective_at": admitted.effective_at,
            "violations": [violation_to_avro(one) for one in admitted.violations],
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "consent": consent_to_avro(decision.consent),
            "event": event_to_avro(admitted.event),
        },
    )


def _beginning(data: bytes, header: bytes) -> Gleaned | None:
    """Return what the bytes of a Decision have up to its status."""
    if not data.startswith(header):
        return None
    try:
        *_, effective, at = head_offsets(data, len(header))
        # Of a customer only a part may be readable: the key does not need it.
        customer, at = _text(data, at, errors="replace")
        brand_code, at = long_of(data, at)
        channel, at = _text(data, at)
        recipient_type, at = _text(data, at)
        recipient, at = _text(data, at)
        status, at = _text(data, at)
    except (IndexError, ValueError, TypeError):
        return None
    key = {
        "brand_code": brand_code,
        "type": channel,
        "recipient_type": recipient_type,
        "recipient": recipient,
    }
    return Gleaned(customer, status, instant_of(effective), customer, key)


def _text(data: bytes, at: int, errors: str = "strict") -> tuple[str, int]:
    """Read a text; raises ValueError where it is cut off, for half a recipient is another's."""
    size, at = long_of(data, at)
    if size < 0 or at + size > len(data):
        raise ValueError("cut off")
    return data[at : at + size].decode(errors=errors), at + size


def is_poison(error: Exception) -> bool:
    """Whether ``error`` is the fault of a record that was being read or stored."""
    if isinstance(error, IzinError):
        return isinstance(error, _OF_A_RECORD)
    return not isinstance(error, _OF_THE_MACHINE)


async def store_apart(
    items: Sequence[T],
    store: Callable[[Sequence[T]], Awaitable[None]],
    set_aside: Callable[[T, Exception], Awaitable[None]],
) -> None:
    """Store ``items`` in their order, in parts of half the size where some cannot be stored
    together; the one that is at fault, alone, is to be ``set_aside``.

    Those at fault often come one after the other: what follows one is stored alone, and parts of
    twice the size after each that could be stored.

    Raises what is no record's fault.
    """
    start, size = 0, len(items)
    while start < len(items):
        part = items[start : start + size]
        try:
            await store(part)
        except Exception as error:
            if not is_poison(error):
                raise
            if len(part) > 1:
                size = len(part) // 2
                continue
            await set_aside(part[0], error)
            size = 1
        else:
            size *= 2
        start += len(part)


def quarantine(
    codec: Codec, message: Message, error: Exception
) -> tuple[QuarantinedRecord, bytes | None]:
    """Return ``message`` as it is put aside for ``error``, and the decision on the opt-out that
    stands for it, encoded; None where it is no opt-out, or has no key.
    """
    value = message.value()
    gleaned = None if value is None else glean(codec, value)
    record = replace(
        put_aside(message, error),
        source=UNREADABLE if gleaned is None else gleaned.source,
        is_ret=gleaned is not None and gleaned.status == "RET",
    )
    if gleaned is None or not record.is_ret:
        return record, None
    return record, _standing_in(codec, gleaned, record)


def put_aside(message: Message, error: Exception) -> QuarantinedRecord:
    """Return ``message`` as it is put aside for ``error``, whatever it has."""
    return QuarantinedRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        appended_at=append_instant(message.timestamp()[1]),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=_headers(message),
        reason=_reason(error),
        error=type(error).__name__,
        source=UNREADABLE,
        is_ret=False,
    )


def _standing_in(codec: Codec, gleaned: Gleaned, record: QuarantinedRecord) -> bytes | None:
    try:
        return opt_out(codec, gleaned, record)
    except Exception as error:
        if is_poison(error):
            return None
        raise


def _reason(error: Exception) -> str:
    if isinstance(error, UnknownSchemaError):
        return "unknown-schema"
    return "undecodable" if isinstance(error, UndecodableError) else POISON


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    return [(name, _bytes(content)) for name, content in headers_of(message)]


def _bytes(content: bytes | str | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
