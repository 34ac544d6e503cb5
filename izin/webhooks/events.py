"""Events for subscribers, made from records of the topics: one body for all who get it.

A permission is published when its reason or its retailers change too; only a change of the answer
is an event. Who was behind for so long that compaction may have removed such a change (``since``)
gets the answer itself. The tombstone of an erased key is a revocation.

A record that this release cannot read is an event by its key, with ``"unreadable": true``: an
opt-out is not left out, and a permission that cannot be read is revoked. What only the value could
say (the origin) no filter can exclude.

Whose an event is, says the ledger by its brand, in the body too: the customer that a record names
is not asked. Nobody gets what is of a brand that is not registered.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from confluent_kafka import Message as KafkaMessage

from izin.consent import SourceError, UnreadableKeyError, clean
from izin.kafka.connections import headers_of
from izin.kafka.tables.brand_directory import NOBODY, customer_of
from izin.ledger.webhooks.registry import EventFilter, LaneName, WebhookType
from izin.runtime.logs import get_logger
from izin.schemas.codec import Codec
from izin.schemas.records import ID, SOURCE, UNREADABLE, AvroRecord, fields_of_key, key_text
from izin.schemas.topics import Topics

ERASED = "erased"
"""The reason of a revocation because the recipient was erased."""
PING = "test.ping"
_DIGITS = 10

OF_OPT_OUT = (
    "event_id",
    "status",
    "previous_status",
    "effective_at",
    "consent_date",
    "origin",
    "source",
)
_OF_PERMISSION = (
    *("may_send", "reason", "desired", "registered", "registered_at", "consent_date", "retailers"),
    "since",
)
_OF_OUTCOME = (
    *("outcome_id", "event_id", "outcome", "status", "code", "message", "request_id"),
    *("transaction_id", "creation_date", "attempt", "origin", "origin_ref", "occurred_at"),
)

POSTED: Mapping[WebhookType, tuple[str, Sequence[str]]] = {
    WebhookType.OPTED_OUT: ("Consent", OF_OPT_OUT),
    WebhookType.GRANTED: ("Permission", _OF_PERMISSION),
    WebhookType.REVOKED: ("Permission", _OF_PERMISSION),
    WebhookType.OUTCOME: ("Outcome", _OF_OUTCOME),
}
"""Of each type: its contract, and the fields of it that are posted beside key and place."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """One event, as it is posted to every subscriber that wants it."""

    type: str
    webhook_id: str
    key: str
    """The canonical key, as PostgreSQL can store it: events of one key are posted one after the
    other."""
    customer_id: str
    brand_code: int
    channel: str
    origin: str | None
    topic: str
    partition: int
    offset: int
    appended: float
    """When the record was appended to its topic, in seconds since 1970."""
    body: bytes
    is_change: bool = True
    """False: the answer of a permission that was the same before."""
    since: datetime | None = None
    """From when an opt-out counts, or since when a permission's answer is what it is."""

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition

    def is_for(self, chosen: EventFilter) -> bool:
        """Whether a subscriber with this filter gets it. Permissions have no origin, and pass."""
        origin = self.origin
        return (
            self.customer_id == chosen.customer_id
            and (not chosen.types or self.type in chosen.types)
            and (not chosen.brands or self.brand_code in chosen.brands)
            and (not chosen.channels or self.channel in chosen.channels)
            and (not chosen.origins or origin is None or origin in chosen.origins)
        )


def lanes(topics: Topics) -> Mapping[str, Sequence[str]]:
    """Return the topics of each lane that is always followed."""
    return {
        LaneName.EXPRESS: (topics.opt_outs.name,),
        LaneName.BULK: (topics.permissions.name, topics.outcomes.name),
    }


class EventReader:
    """Makes events of records."""

    def __init__(
        self,
        codec: Codec,
        topics: Topics,
        registered: Callable[[], Awaitable[Mapping[int, str]]],
    ) -> None:
        """Make events of the records of ``topics``; ``registered`` returns whose each brand is."""
        self._codec = codec
        self._opt_outs = topics.opt_outs.name
        self._permissions = topics.permissions.name
        self.customers: Mapping[int, str] = {}
        """Whose each brand is."""
        self._registered = registered

    async def refresh(self) -> None:
        """Read whose each brand is; raises LedgerUnavailableError."""
        self.customers = await self._registered()

    async def prepare(self, messages: Iterable[KafkaMessage]) -> None:
        """Look at the ledger again where one of ``messages`` is of a brand that is not known: it
        may have been registered just before. Raises LedgerUnavailableError.
        """
        if any(_brand_of(message.key()) not in self.customers for message in messages):
            await self.refresh()

    def read(self, message: KafkaMessage) -> WebhookEvent | None:
        """Return the event of a record; None where it is none, or is logged as nobody's.

        Raises:
            RegistryError: its schema cannot be fetched now.
        """
        topic, value = message.topic() or "", message.value()
        if value is None and topic == self._permissions:
            return self._by_key(message, {"may_send": False, "reason": ERASED})
        try:
            return self._by_value(message, topic, value or b"")
        except (SourceError, ValueError, TypeError, KeyError) as error:
            _log.critical(
                "record not readable for webhooks", **_place(message), error=type(error).__name__
            )
        closed = {"may_send": False, "reason": UNREADABLE} if topic == self._permissions else {}
        return self._by_key(message, {**closed, UNREADABLE: True})

    def _by_value(self, message: KafkaMessage, topic: str, value: bytes) -> WebhookEvent | None:
        if topic == self._opt_outs:
            record = self._codec.decode("Consent", value)
            since = record["effective_at"]
            return self._event(message, WebhookType.OPTED_OUT, record, OF_OPT_OUT, since=since)
        if topic != self._permissions:
            record = self._codec.decode("Outcome", value)
            return self._event(message, WebhookType.OUTCOME, record, _OF_OUTCOME)
        record = self._codec.decode("Permission", value)
        before, now = record["previous_may_send"], bool(record["may_send"])
        if before is None and not now:
            return None
        return self._event(
            message,
            WebhookType.GRANTED if now else WebhookType.REVOKED,
            record,
            _OF_PERMISSION,
            is_change=before != now,
            since=record["since"],
        )

    def _by_key(self, message: KafkaMessage, content: AvroRecord) -> WebhookEvent | None:
        """Return the event of a record of which only the key is known, and ``content``."""
        try:
            record = fields_of_key((message.key() or b"").decode())
        except (UnreadableKeyError, UnicodeDecodeError):
            _log.critical("key not readable for webhooks", **_place(message))
            return None
        type_ = {
            self._opt_outs: WebhookType.OPTED_OUT,
            self._permissions: WebhookType.REVOKED,
        }.get(message.topic() or "", WebhookType.OUTCOME)
        return self._event(message, type_, {**record, **content}, tuple(content))

    def _event(  # noqa: PLR0913  # a record, and what of it is posted
        self,
        message: KafkaMessage,
        type_: str,
        record: Mapping[str, Any],
        names: Sequence[str],
        *,
        is_change: bool = True,
        since: datetime | None = None,
    ) -> WebhookEvent | None:
        place = _place(message)
        customer_id = customer_of(self.customers, record["brand_code"])
        if customer_id == NOBODY:
            _log.critical("record of an unknown brand", **place, brand_code=record["brand_code"])
            return None
        return event_of(
            type_,
            {**record, "customer_id": customer_id},
            names,
            place=place,
            appended=message.timestamp()[1] / 1000,
            webhook_id=webhook_id(
                headers_of(message),
                "/".join(map(str, place.values())),
                is_readable=UNREADABLE not in names,
            ),
            is_change=is_change,
            since=since,
        )


def event_of(  # noqa: PLR0913  # a record, where it is, and what of it is posted
    type_: str,
    record: Mapping[str, Any],
    names: Sequence[str],
    *,
    place: Mapping[str, Any],
    appended: float,
    webhook_id: str,
    is_change: bool = True,
    since: datetime | None = None,
    shown: Mapping[str, Any] | None = None,
) -> WebhookEvent:
    """Return the event of a ``record`` at ``place`` (``topic``, ``partition``, ``offset``), of
    which the fields ``names`` are posted; ``shown`` is posted as its place instead.
    """
    data = {
        "customer_id": record["customer_id"],
        "brand_code": record["brand_code"],
        "type": record["type"],
        "recipient_type": record["recipient_type"],
        "recipient": record["recipient"],
        **{name: record[name] for name in names},
        **(place if shown is None else shown),
    }
    return WebhookEvent(
        type=type_,
        webhook_id=webhook_id,
        key=clean(key_text(record)),
        customer_id=record["customer_id"],
        brand_code=record["brand_code"],
        channel=record["type"],
        origin=record.get("origin"),
        **place,
        appended=appended,
        body=body_of(type_, datetime.fromtimestamp(appended, UTC), data),
        is_change=is_change,
        since=since,
    )


def _brand_of(key: bytes | str | None) -> int | None:
    """Return the brand that a record's key names; None: it names none."""
    text = key.decode("utf-8", "replace") if isinstance(key, bytes) else key or ""
    code = text.partition("/")[0]
    return int(code) if len(code) <= _DIGITS and code.isdecimal() else None


def _place(message: KafkaMessage) -> dict[str, Any]:
    return {
        "topic": message.topic() or "",
        "partition": message.partition() or 0,
        "offset": message.offset() or 0,
    }


def body_of(type_: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """Return the body of an event: JSON without line breaks."""
    content = {"type": type_, "timestamp": at, "data": data}
    # Copied, for thousands are kept: the bytes that orjson returns have its buffer of 4 KB or more.
    return bytes(memoryview(orjson.dumps(content, option=orjson.OPT_UTC_Z)))


def webhook_id(
    headers: Sequence[tuple[str, str | bytes | None]] | Mapping[str, Any],
    coordinates: str,
    *,
    is_readable: bool = True,
) -> str:
    """Return the id of an event: of source and id of its record, which stay when the record is
    written again; of its ``coordinates`` where it has none.

    An event by the key alone has another one: a release that can read the record posts what it
    says, and that is no repetition.
    """
    found = dict(headers)
    source, own = found.get(SOURCE), found.get(ID)
    if isinstance(source, bytes) and isinstance(own, bytes):
        named = source + b"\0" + own
    else:
        named = coordinates.encode()
    if not is_readable:
        named += b"\0" + UNREADABLE.encode()
    return f"msg_{hashlib.sha256(named).hexdigest()[:40]}"
