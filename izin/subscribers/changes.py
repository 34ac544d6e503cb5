"""What a subscriber receives: one frozen value for each record, typed, with aware instants.

A change may come twice, and then has the same ``id``. Changes of one key come in their order within
a topic; those of other brands and channels are left out. Words that later releases may add to
(reasons, outcomes) stay texts where this release does not know them. No ``repr`` shows a recipient:
they are personal data.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar

from confluent_kafka import Message

from izin.consent import Channel, ConsentKey, Registered, SourceError, Status
from izin.consent.may_send import PermissionReason
from izin.kafka.connections import headers_of
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.fast.reader import append_instant
from izin.schemas.records import ID, SOURCE, TIME, AvroRecord, consent_from_avro, key_from_avro
from izin.schemas.topics import Topic, Topics

W = TypeVar("W", bound=StrEnum)


class ChangeKind(StrEnum):
    """What can be subscribed to."""

    OPT_OUTS = "opt-outs"
    """Each time the status of a key becomes RET: the fastest way to stop."""
    PERMISSIONS = "permissions"
    """Whether messages may be sent to a key, when the answer or its reason changes."""
    OUTCOMES = "outcomes"
    """What became of an event at İYS."""


class OutcomeKind(StrEnum):
    """What became of an event at İYS."""

    ACCEPTED = "accepted"
    """İYS saved it."""
    REFUSED = "refused"
    """İYS refused it; the code says why."""
    EXPIRED = "expired"
    """The three business days were over: a new consent is needed."""
    PARKED = "parked"
    """A person must act before it can be registered."""
    NOT_NEEDED = "not_needed"
    """İYS held it already, or had nothing to withdraw."""
    SUPERSEDED = "superseded"
    """A newer event of the key came before it was registered."""


class ChangeId(NamedTuple):
    """Names one record, also where it comes twice: CloudEvents' source and id together."""

    source: str
    id: str


class Position(NamedTuple):
    """Where a record is."""

    topic: str
    partition: int
    offset: int


async def _nothing() -> None:
    """Confirm a change that belongs to no subscription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One record of a topic."""

    id: ChangeId
    """The deduplication key. Of a record without the headers it is topic, partition and offset."""
    occurred_at: datetime
    """When the record was made."""
    position: Position
    confirm: Callable[[], Awaitable[None]] = field(default=_nothing, repr=False, compare=False)
    """What ``done`` calls."""

    async def done(self) -> None:
        """Confirm that the change was handled: it does not come again after a restart.

        Without a checkpoint store it is committed to Kafka within a second, and surely when the
        subscription is closed. With one, its ``save`` is awaited here. Where the partition belongs
        to another instance by now, or the subscription was closed, nothing is confirmed and the
        change comes again.

        Raises:
            ConfirmationOrderError: there is a store, and an earlier change of the partition is not
                confirmed.
        """
        await self.confirm()


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedOut(Change):
    """A recipient opted out (RET): stop at once."""

    key: ConsentKey = field(repr=False)
    customer_id: str
    opted_out_at: datetime
    """From when it counts, in whole seconds."""
    origin: str
    """Where it was stated: ``iys``, or one of your systems."""
    source: str | None
    """İYS's source, such as ``HS_WEB``."""
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionChanged(Change):
    """The answer to "may we send?", its reason or its retailers changed."""

    key: ConsentKey = field(repr=False)
    customer_id: str
    may_send: bool
    """For commercial messages."""
    reason: PermissionReason | str
    """A text only where a later release has a new reason."""
    desired: Status | None
    registered: Registered
    registered_at: datetime | None
    """İYS's creation date."""
    consent_date: datetime | None
    since: datetime
    """When this answer began."""
    retailers: tuple[int, ...] = ()
    """The codes of the retailers that may use a consent which İYS holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionErased(Change):
    """Everything about a key was erased: remove what you hold of it, and send nothing."""

    key: ConsentKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeReached(Change):
    """What became of an event at İYS."""

    key: ConsentKey = field(repr=False)
    customer_id: str
    outcome_id: str
    """The same for every repetition of one outcome."""
    event_id: str
    outcome: OutcomeKind | str
    """A text only where a later release has a new outcome."""
    status: Status
    """As it was submitted."""
    code: str | None
    """İYS's code, or one of izin's (docs/codes.md)."""
    message: str | None
    origin: str
    origin_ref: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableRecord(Change):
    """A record that cannot be read. An opt-out may be in it: do not ignore it.

    Stop sending to ``key`` where there is one, and have the record looked at.
    """

    kind: ChangeKind
    key: ConsentKey | None = field(repr=False)
    """By the record's own key; None: that cannot be read either."""
    reason: str
    value: bytes | None = field(repr=False)
    """As it is in the topic."""


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
    source, own = headers.get(SOURCE), headers.get(ID)
    if source is None or own is None:
        return ChangeId(f"{position.topic}/{position.partition}", str(position.offset))
    return ChangeId(_readable(source), _readable(own))


def _instant(headers: Mapping[str, str | bytes], message: Message) -> datetime:
    try:
        found = datetime.fromisoformat(_readable(headers[TIME]))
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


class CheckpointStore(Protocol):
    """Keeps checkpoints for one subscriber, instead of Kafka's consumer group.

    ``done`` awaits ``save``. A caller that does both in one transaction of its own database has
    handled each change exactly once::

        async with database.transaction():
            await stop_sending(change.key)
            await change.done()

    Instances that share the partitions of one subscriber share the store. One that was paused may
    save an old offset late: keep the greatest.
    """

    async def load(self, topic: str, partition: int) -> int | None:
        """Return the greatest offset that was saved, None if there is none."""

    async def save(self, topic: str, partition: int, offset: int) -> None:
        """Keep ``offset``, the next to read, unless a greater one is kept."""


class PartitionCheckpoint:
    """What was read of one partition, and what of it is not confirmed. Not safe among threads."""

    def __init__(self) -> None:
        self._unconfirmed: OrderedDict[int, None] = OrderedDict()
        self._next: int | None = None
        self._moved_to: int | None = None
        self._saved: tuple[int | None, float] = (None, float("-inf"))

    @property
    def unconfirmed(self) -> int:
        """How many changes were read and are not confirmed."""
        return len(self._unconfirmed)

    @property
    def checkpoint(self) -> int | None:
        """The offset to go on from after a restart; None: nothing was read."""
        return next(iter(self._unconfirmed), self._next)

    def add(self, offset: int, *, is_wanted: bool) -> None:
        """Note that the record at ``offset`` was read; nobody confirms one that is not wanted."""
        self._next = offset + 1
        if is_wanted:
            self._unconfirmed[offset] = None

    def confirm(self, offset: int) -> None:
        """Note that the change at ``offset`` was handled; twice does no harm."""
        self._unconfirmed.pop(offset, None)

    def is_first(self, offset: int) -> bool:
        """Whether every change before ``offset`` is confirmed."""
        return next(iter(self._unconfirmed), offset) >= offset

    def moved(self) -> int | None:
        """Return the checkpoint if it is another than at the last call."""
        checkpoint = self.checkpoint
        if checkpoint == self._moved_to:
            return None
        self._moved_to = checkpoint
        return checkpoint

    def saved(self, offset: int, at: float) -> None:
        """Note that a store keeps ``offset`` since ``at``, in seconds of a clock."""
        self._saved = offset, at

    def is_to_be_saved(self, before: float) -> bool:
        """Whether a store has another checkpoint, and has had it since ``before``."""
        offset, at = self._saved
        return self.checkpoint != offset and at <= before
