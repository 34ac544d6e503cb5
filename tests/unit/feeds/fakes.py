"""A topic in memory, with the gaps that Kafka's offsets have, and what reads it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from confluent_kafka import KafkaError

from izin.feeds.older_records import OlderRecords
from izin.feeds.protocol import Feed, LogIdentity, LogRecord, Stretch, feeds
from izin.feeds.sources import FeedSource, Items, Tail
from izin.kafka.bounded_reader import OffsetGoneError
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.support.builders import BRAND, CUSTOMER, NOON, kafka_message

CODEC = Codec()
OPT_OUTS, PERMISSIONS, OUTCOMES = feeds(Topics())


def a_permission(**overrides: object) -> dict[str, Any]:
    """Return an Avro Permission."""
    fields: dict[str, Any] = {
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": "+905550000001",
        "may_send": False,
        "reason": "opted-out",
        "desired": "RET",
        "registered": "ONAY",
        "registered_at": NOON,
        "consent_date": None,
        "since": NOON,
    }
    return fields | overrides


def key_of(permission: Mapping[str, Any]) -> bytes:
    """Return the canonical key of a permission."""
    names = ("brand_code", "type", "recipient_type", "recipient")
    return "/".join(str(permission[one]) for one in names).encode()


def a_message(partition: int, offset: int, **overrides: object) -> Any:  # noqa: ANN401  # a Message
    """Return the message of a permission."""
    value = a_permission(**overrides)
    return kafka_message(
        partition=partition,
        offset=offset,
        value=CODEC.encode("Permission", value),
        key=key_of(value),
    )


def give(tail: Tail, messages: Iterable[Any]) -> None:
    """Have ``tail`` take ``messages``, ends among them, as its follower hands them over."""
    found = tuple(messages)
    positions = {one.partition(): one.offset() + (one.error() is None) for one in found}
    tail.add([LogRecord(one) for one in found if one.error() is None], positions)


def an_end(partition: int, offset: int) -> Any:  # noqa: ANN401  # a Message
    """Return what a consumer says at the end of a partition."""
    error = KafkaError(KafkaError._PARTITION_EOF)
    return kafka_message(partition=partition, offset=offset, error=error)


class KnownBrands:
    """The brands of these customers, which are complete at any time."""

    def __init__(self, customers: Mapping[int, str]) -> None:
        self.directory = BrandDirectory()
        self.complete_at = lambda: float("inf")
        for brand_code, customer_id in customers.items():
            self.put(brand_code, customer_id)

    def put(self, brand_code: int, customer_id: str) -> None:
        """Have a brand belong to a customer."""
        brand = RegisteredBrand(
            brand_code=brand_code, iys_code=1, customer_id=customer_id, name="Example"
        )
        self.directory.put(asdict(brand))


def known_brands(customers: Mapping[int, str]) -> Any:  # noqa: ANN401  # as a BrandReader
    """Return brands that are complete at any time."""
    return KnownBrands(customers)


@dataclass
class FakeLog:
    """The records of each partition, and where it begins and ends."""

    partitions: int
    records: dict[int, list[LogRecord]] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin empty."""
        for number in range(self.partitions):
            self.records.setdefault(number, [])
            self.starts.setdefault(number, 0)
            self.ends.setdefault(number, 0)

    def append(self, message: Any) -> None:  # noqa: ANN401  # a Message
        """Append a record; offsets below it that no record has are gaps."""
        record = LogRecord(message)
        self.records[record.partition].append(record)
        self.ends[record.partition] = record.offset + 1


class FakeOlderRecords(OlderRecords):
    """Reads stretches of a log in memory, as few records at a time as wanted."""

    def __init__(self, log: FakeLog, most: int = 1000) -> None:
        super().__init__(KafkaSettings(), readers=1)
        self.log = log
        self.most = most
        self.reads = 0

    async def read(
        self,
        topic: str,  # noqa: ARG002  # there is one
        starts: Mapping[int, int],
        most: int,
        *,
        name: str,  # noqa: ARG002  # nobody waits
    ) -> Mapping[int, Stretch]:
        """Return what is asked for, each partition its share."""
        self.reads += 1
        share, found = -(-min(most, self.most) // len(starts)), {}
        for number, start in starts.items():
            if not self.log.starts[number] <= start <= self.log.ends[number]:
                raise OffsetGoneError
            there = [one for one in self.log.records[number] if one.offset >= start]
            taken = there[:share]
            whole = len(taken) == len(there)
            last = taken[-1].offset + 1 if taken else start
            found[number] = Stretch(taken, self.log.ends[number] if whole else last, whole)
        return found


def a_source(
    log: FakeLog, *, feed: Feed = PERMISSIONS, memory: int = 10**6, most: int = 1000
) -> FeedSource:
    """Return a source of ``log``, whose tail has read nothing yet."""
    identity = LogIdentity(cluster_id="cluster", topic_id="topic", partitions=log.partitions)
    tail = Tail(KafkaSettings(), feed.topic, log.partitions, most_bytes=memory)
    return FeedSource(
        feed=feed,
        identity=identity,
        tail=tail,
        older=FakeOlderRecords(log, most),
        items=Items(feed, CODEC, known_brands({BRAND: CUSTOMER, BRAND + 1: CUSTOMER})),
    )
