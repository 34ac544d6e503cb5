"""Records of the topics made into changes, and those of other brands and channels left out."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from confluent_kafka import Message

from izin.consent.errors import SourceError
from izin.consent.may_send import PermissionReason
from izin.consent.model import Channel, ConsentKey, Status
from izin.consent.next_action import Registered
from izin.runtime.kafka_clients import headers_of
from izin.schemas import cloud_events
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.fast.reader import append_instant
from izin.schemas.records import AvroRecord, consent_from_avro, key_from_avro
from izin.schemas.topics import Topic, Topics
from izin.subscribers.changes import (
    Change,
    ChangeId,
    ChangeKind,
    OptedOut,
    OutcomeKind,
    OutcomeReached,
    PermissionChanged,
    PermissionErased,
    Position,
    UnreadableRecord,
)

Confirm = Callable[[Position], Awaitable[None]]
"""Called with the position of the change that is confirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFilter:
    """Which keys are wanted; empty: all."""

    brands: Collection[int] = ()
    channels: Collection[Channel] = ()

    def has(self, key: ConsentKey) -> bool:
        """Whether ``key`` is wanted."""
        return (not self.brands or key.brand_code in self.brands) and (
            not self.channels or key.channel in self.channels
        )


def topic_of(kind: ChangeKind, topics: Topics) -> Topic:
    """Return the topic of ``kind``."""
    return {
        ChangeKind.OPT_OUTS: topics.opt_outs,
        ChangeKind.PERMISSIONS: topics.permissions,
        ChangeKind.OUTCOMES: topics.outcomes,
    }[kind]


class ChangeReader:
    """Makes changes of the records of one kind."""

    def __init__(
        self, kind: ChangeKind, topics: Topics, codec: Codec, wanted: KeyFilter, confirm: Confirm
    ) -> None:
        self._kind = kind
        self._record = topic_of(kind, topics).record
        self._codec = codec
        self._wanted = wanted
        self._confirm = confirm

    def read(self, message: Message) -> Change | None:
        """Return the change that ``message`` is, None if it is not wanted.

        Raises:
            RegistryError: its schema cannot be fetched now.
        """
        value = message.value()
        envelope = self._envelope(message)
        try:
            if value is None:
                return self._erased(message, envelope)
            record = self._codec.decode(self._record, value)
            if not self._wanted.has(key_from_avro(record)):
                return None
            return _MAKERS[self._kind](record, envelope)
        except (SourceError, ValueError, TypeError, KeyError) as error:
            return self._unreadable(message, envelope, error)

    def _erased(self, message: Message, envelope: Mapping[str, Any]) -> Change | None:
        key = ConsentKey.parse(_text(message.key()))
        if self._kind is not ChangeKind.PERMISSIONS:
            raise UndecodableError("a record without a value")
        return PermissionErased(**envelope, key=key) if self._wanted.has(key) else None

    def _unreadable(
        self, message: Message, envelope: Mapping[str, Any], error: Exception
    ) -> Change | None:
        try:
            key = ConsentKey.parse(_text(message.key()))
        except (SourceError, ValueError):
            key = None
        if key is not None and not self._wanted.has(key):
            return None
        reason = str(error) if isinstance(error, SourceError) else type(error).__name__
        return UnreadableRecord(
            **envelope, kind=self._kind, key=key, reason=reason, value=message.value()
        )

    def _envelope(self, message: Message) -> dict[str, Any]:
        position = Position(message.topic() or "", message.partition() or 0, message.offset() or 0)
        confirm = self._confirm

        async def done() -> None:
            await confirm(position)

        given = dict(headers_of(message))
        headers = {name: value for name, value in given.items() if value is not None}
        return {
            "id": _id(headers, position),
            "occurred_at": _instant(headers, message),
            "position": position,
            "confirm": done,
        }


def _text(data: str | bytes | None) -> str:
    return data if isinstance(data, str) else (data or b"").decode()


def _id(headers: Mapping[str, str | bytes], position: Position) -> ChangeId:
    source, own = headers.get(cloud_events.SOURCE), headers.get(cloud_events.ID)
    if source is None or own is None:
        return ChangeId(f"{position.topic}/{position.partition}", str(position.offset))
    return ChangeId(_readable(source), _readable(own))


def _instant(headers: Mapping[str, str | bytes], message: Message) -> datetime:
    try:
        found = datetime.fromisoformat(_readable(headers[cloud_events.TIME]))
    except (KeyError, ValueError):
        found = None
    if found is None or found.tzinfo is None:
        return append_instant(message.timestamp()[1])
    return found


def _readable(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def _opted_out(record: AvroRecord, envelope: Mapping[str, Any]) -> Change:
    consent = consent_from_avro(record)
    if consent.status is not Status.RET:
        raise UndecodableError(f"not an opt-out: its status is {consent.status}")
    return OptedOut(
        **envelope,
        key=consent.key,
        customer_id=consent.customer_id,
        opted_out_at=consent.effective_at,
        origin=consent.origin,
        source=consent.source,
        event_id=consent.event_id,
    )


def _permission(record: AvroRecord, envelope: Mapping[str, Any]) -> Change:
    desired = record["desired"]
    return PermissionChanged(
        **envelope,
        key=key_from_avro(record),
        customer_id=record["customer_id"],
        may_send=record["may_send"],
        reason=known_or_text(PermissionReason, record["reason"]),
        desired=None if desired is None else Status(desired),
        registered=Registered(record["registered"]),
        registered_at=record["registered_at"],
        consent_date=record["consent_date"],
        since=record["since"],
        retailers=tuple(int(code) for code in (record["retailers"] or "").split(",") if code),
    )


def _outcome(record: AvroRecord, envelope: Mapping[str, Any]) -> Change:
    return OutcomeReached(
        **envelope,
        key=key_from_avro(record),
        customer_id=record["customer_id"],
        outcome_id=record["outcome_id"],
        event_id=record["event_id"],
        outcome=known_or_text(OutcomeKind, record["outcome"]),
        status=Status(record["status"]),
        code=record["code"],
        message=record["message"],
        origin=record["origin"],
        origin_ref=record["origin_ref"],
    )


W = TypeVar("W", bound=StrEnum)


def known_or_text(words: type[W], text: str) -> W | str:
    """Return ``text`` as one of ``words``, as it is where a later release has a new one."""
    try:
        return words(text)
    except ValueError:
        return text


_MAKERS: Mapping[ChangeKind, Callable[[AvroRecord, Mapping[str, Any]], Change]] = {
    ChangeKind.OPT_OUTS: _opted_out,
    ChangeKind.PERMISSIONS: _permission,
    ChangeKind.OUTCOMES: _outcome,
}
