"""A topic as the feeds see it: its identity, its records, and stretches of them.

Kafka's offsets have gaps: a transaction ends with a mark, and compaction removes records. So a
stretch says up to which offset it reaches, not only which records it has.

A record is shown as JSON: the fields of its contract, flat, beside where it is.

    {"id": "…", "topic": "…", "partition": 3, "offset": 17, "key": "100001/MESAJ/…", …}

A tombstone of a state is ``"deleted": true`` beside its key. A record that this release cannot read
is ``"unreadable": true`` beside its key: what it is about is known, and an opt-out is not left out.

A key of the API sees what is of its customers, brands and channels. Whose a brand is says the
registered brand, in what is shown too. A brand may have been registered just before a record of it:
until the topic of brands was read to where it was then, nobody passes over the record.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from time import monotonic, time
from typing import Any, NamedTuple

import orjson
from confluent_kafka import KafkaException, Message
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.consent.errors import OurError, UnreadableKeyError
from izin.projections.api_keys import outside
from izin.projections.brand_directory import NOBODY, BrandReader
from izin.runtime.kafka_clients import headers_of
from izin.runtime.observe import get_logger
from izin.runtime.process import in_daemon_thread
from izin.runtime.topic_admin import offsets
from izin.schemas.api_keys import ApiKey
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.records import ID, UNREADABLE, fields_of_key
from izin.schemas.topics import Topic, Topics

_OVERHEAD = 600
"""Bytes that Python needs for a record besides its own."""
_SKEW = 60.0
"""Seconds by which the broker's clock and ours may differ."""
POSITION_FIELDS: Mapping[str, str] = {
    "id": "Identifies the record: a repeated one has the same.",
    "topic": "The topic that it is from.",
    "partition": "Its partition.",
    "offset": "Its offset. Of two records of a key, the later one has the greater.",
    "key": "brand_code/type/recipient_type/recipient. Personal data.",
}
"""What every item has, and what it means."""
DELETED = "deleted"


class LostOffsetError(OurError):
    """A topic has no longer, or not yet, what is at an offset."""

    def __init__(self, partition: int) -> None:
        super().__init__(f"partition {partition} has nothing at the offset to read on from")
        self.partition = partition


class UnreachableLogError(OurError):
    """Kafka did not answer in time, or refused to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What one endpoint serves."""

    name: str
    """Also the last step of its path."""
    topic: Topic
    is_compacted: bool
    """Whether it is a state, of which a reader needs each tombstone, and not a log of events."""
    follows_ledger: bool
    """Whether its records are written by the ledger; else by the order stage."""

    @property
    def path(self) -> str:
        """The path of its endpoint."""
        return f"/v1/{self.name}"


def feeds(topics: Topics) -> tuple[Feed, ...]:
    """Return every feed, under the topics of an installation."""
    return (
        Feed(name="opt-outs", topic=topics.opt_outs, is_compacted=False, follows_ledger=False),
        Feed(name="permissions", topic=topics.permissions, is_compacted=True, follows_ledger=True),
        Feed(name="outcomes", topic=topics.outcomes, is_compacted=False, follows_ledger=True),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogIdentity:
    """Which topic of which cluster: on another one, the same offsets are other records."""

    cluster_id: str
    topic_id: str
    partitions: int


class LogRecord:
    """One record. ``item`` is what it is for readers, once the first of them has asked."""

    __slots__ = (
        "appended_by",
        "item",
        "key",
        "offset",
        "partition",
        "record_id",
        "timestamp",
        "value",
    )

    def __init__(self, message: Message) -> None:
        self.partition = message.partition() or 0
        self.offset = message.offset() or 0
        self.timestamp: int = message.timestamp()[1]
        """Milliseconds since 1970."""
        self.key: bytes = message.key() or b""
        self.value: bytes | None = message.value()
        """None: a tombstone."""
        self.record_id = _id_of(headers_of(message))
        """What ``ce_id`` says; empty without one."""
        age = time() - self.timestamp / 1000 - _SKEW
        self.appended_by = monotonic() - max(age, 0.0)
        """By when, in ``time.monotonic``, it had certainly been appended."""
        self.item: Any = None

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes, with its item."""
        return _OVERHEAD + len(self.key) + 4 * len(self.value or b"")


def _id_of(headers: Any) -> str:  # noqa: ANN401  # confluent-kafka's list of pairs, or None
    found = next((value for name, value in headers or () if name == ID), None)
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else ""


class Stretch(NamedTuple):
    """The records of a partition from an offset up to another."""

    records: Sequence[LogRecord]
    end: int
    """The next offset: up to here there is nothing else."""
    is_last: bool
    """Whether the partition ends there."""


async def offsets_of(
    client: AdminClient, topic: str, partitions: Collection[int], spec: OffsetSpec
) -> Mapping[int, int]:
    """Return the offset of each of ``partitions`` that ``spec`` names.

    Raises:
        UnreachableLogError: Kafka does not answer.
    """
    try:
        return await in_daemon_thread(
            lambda: offsets(client, topic, partitions, spec), name="feed offsets"
        )
    except KafkaException as error:
        raise UnreachableLogError(f"{topic}: {error.args[0].str()}") from error


class Undecided(Enum):
    """What is not known yet of a record."""

    UNDECIDED = "undecided"


UNDECIDED = Undecided.UNDECIDED

_log = get_logger(__name__)


class FeedItem(NamedTuple):
    """What readers get of a record, and who they are."""

    brand_code: int
    channel: str
    customer_id: str
    """Whose the brand was when this was made."""
    json: bytes


class Items:
    """Makes the items of one feed."""

    def __init__(self, feed: Feed, codec: Codec, brands: BrandReader) -> None:
        self._feed = feed
        self._codec = codec
        self._brands = brands

    def of(self, record: LogRecord, key: ApiKey) -> bytes | Undecided | None:
        """Return ``record`` as JSON; None where it is not for the holder of ``key``, and
        ``UNDECIDED`` while its brand may have been registered unseen.

        Raises OurError where its schema cannot be fetched now.
        """
        item = record.item
        if item is None or (item and item.customer_id != self._customer_of(item.brand_code)):
            item = record.item = self._made(record) or False
        if not item:
            return None
        if item.customer_id == NOBODY:
            is_known = self._brands.complete_at() >= record.appended_by
            return None if is_known else UNDECIDED
        is_outside = outside(
            key, customer_id=item.customer_id, brand_code=item.brand_code, channel=item.channel
        )
        return None if is_outside else item.json

    def _made(self, record: LogRecord) -> FeedItem | None:
        """Return the item of ``record``; None: it is nobody's."""
        if record.key.startswith(SUPPRESSED):
            return None
        if record.value is None and self._feed.is_compacted:
            return self._without_content(record, DELETED)
        try:
            content = self._codec.decode(self._feed.topic.record, record.value or b"")
        except UndecodableError as error:
            _log.error("record not readable", **_place(self._feed, record), error=str(error))
            return self._without_content(record, UNREADABLE)
        customer_id = self._customer_of(content["brand_code"])
        return self._item(record, content, {**content, "customer_id": customer_id})

    def _customer_of(self, brand_code: int) -> str:
        """Return whose a brand is today; the customer that a record names is not asked."""
        found = self._brands.directory.find(brand_code)
        return NOBODY if found is None else found.customer_id

    def _without_content(self, record: LogRecord, what: str) -> FeedItem | None:
        try:
            known = fields_of_key(record.key.decode("utf-8", "replace"))
        except UnreadableKeyError:
            _log.error("key not readable", **_place(self._feed, record))
            return None
        return self._item(record, known, {what: True})

    def _item(
        self, record: LogRecord, about: Mapping[str, Any], shown: Mapping[str, Any]
    ) -> FeedItem:
        place = _place(self._feed, record)
        where = "/".join(map(str, place.values()))
        said = {
            "id": record.record_id or where,
            **place,
            "key": record.key.decode("utf-8", "replace"),
            **shown,
        }
        return FeedItem(
            brand_code=about["brand_code"],
            channel=about["type"],
            customer_id=self._customer_of(about["brand_code"]),
            # Copied, as ``webhooks.events.body_of`` does, and why.
            json=bytes(memoryview(orjson.dumps(said, option=orjson.OPT_UTC_Z))),
        )


def _place(feed: Feed, record: LogRecord) -> dict[str, Any]:
    return {
        "topic": feed.topic.name,
        "partition": record.partition,
        "offset": record.offset,
    }
