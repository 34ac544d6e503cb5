"""A topic as the feeds see it: its identity, its records, and stretches of them.

Kafka's offsets have gaps: a transaction ends with a mark, and compaction removes records. So a
stretch says up to which offset it reaches, not only which records it has.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, time
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, Message
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.consent.errors import OurError
from izin.runtime.kafka_clients import headers_of
from izin.runtime.process import in_daemon_thread
from izin.runtime.topic_admin import offsets
from izin.schemas.records import ID
from izin.schemas.topics import Topic, Topics

_OVERHEAD = 600
"""Bytes that Python needs for a record besides its own."""
_SKEW = 60.0
"""Seconds by which the broker's clock and ours may differ."""


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
