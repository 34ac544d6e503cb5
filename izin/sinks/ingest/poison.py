"""What is at fault when a batch cannot be stored: a record, or something that passes without us.

Only what another record would not have caused is a record's fault: a value that PostgreSQL refuses,
and an error of our own pure code. A lost connection, a conflict, a server that restarts or refuses
every statement, a registry out of reach: none of them ever puts a record aside.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from confluent_kafka import Message

from izin.consent.errors import (
    IllegalTransitionError,
    IzinError,
    NaiveInstantError,
    OutsideCalendarError,
    SourceError,
)
from izin.runtime.kafka_clients import headers_of
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.fast.reader import append_instant
from izin.sinks.ingest.salvage import Gleaned, glean, opt_out
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
