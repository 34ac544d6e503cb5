"""The dataset of the order comparison: events as producers send them, and the expected output.

Recipients follow Zipf's law, so a few have many events. A fifth of the records repeat an earlier
one byte for byte, a twentieth come up to an hour late, one in a thousand is cut short. The last
records of each partition are first events of recipients of their own, enough of them for every
thread of a contender that shares a partition among several: one that has written their rows has
processed the whole partition.

The expected output is folded with the contenders' common rule while the records are made, so that
no contender gains by writing less.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from benchmarks.order.contenders.latest_wins import effective_at, wins
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from izin.schemas.records import Headers, headers

BEGAN = datetime(2025, 3, 3, 9, tzinfo=UTC)

_INTERVAL = timedelta(milliseconds=250)
_TRAVEL = timedelta(seconds=1)
_REPEATED = 0.20
_LATE = 0.05
_RETS = 0.2
_MOST_LATE = 3600
_REPEATABLE = 20_000
_CHOSEN_AT_ONCE = 10_000
_BRAND = 600_001
_MARKERS = 9_000_000
"""Recipients of the last records; no other has so high a number."""
MARKERS_EACH = 16
"""The last records of a partition: one of two threads has none of them once in 30,000 runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetShape:
    """How many events the dataset has, and over how many recipients and partitions."""

    events: int
    recipients: int = 200_000
    partitions: int = 4
    seed: int = 2026
    truncated: float = 0.001
    """The share of records that are cut short."""


class DatasetRecord(NamedTuple):
    """A record of the dataset."""

    partition: int
    key: bytes
    value: bytes
    headers: Headers


@dataclass(slots=True, kw_only=True)
class ExpectedOutput:
    """What a contender must write, by partition; filled while the dataset is made."""

    records: Counter[int] = field(default_factory=Counter)
    """As many as it reads: what a pass-through writes."""
    rows: Counter[int] = field(default_factory=Counter)
    """One for each change of the latest event of a key."""
    last: dict[int, set[bytes]] = field(default_factory=dict)
    """The keys of the last records."""


class _Latest(NamedTuple):
    partition: int
    at: datetime
    status: str


class Dataset:
    """Makes the records of ``shape``, the same for the same seed, and the expected output."""

    def __init__(self, shape: DatasetShape, codec: Codec) -> None:
        self.shape = shape
        self.expected = ExpectedOutput()
        self._codec = codec
        self._random = Random(shape.seed)
        self._latest: dict[bytes, _Latest] = {}
        self._made = 0

    def records(self) -> Iterator[DatasetRecord]:
        """Yield ``shape.events`` records; to be iterated once."""
        shape, random = self.shape, self._random
        recent: deque[DatasetRecord] = deque(maxlen=_REPEATABLE)
        recipients = self._recipients()
        for _ in range(shape.events - shape.partitions * MARKERS_EACH):
            if recent and random.random() < _REPEATED:
                # A repeated event changes nothing: no row is written.
                record = recent[random.randrange(len(recent))]
            else:
                late = random.randrange(_MOST_LATE) if random.random() < _LATE else 0
                record = self._new(next(recipients), late=late)
                recent.append(record)
            self.expected.records[record.partition] += 1
            yield record
        yield from self._last()

    def _recipients(self) -> Iterator[int]:
        numbers = range(self.shape.recipients)
        weights = list(accumulate(1 / rank for rank in range(1, self.shape.recipients + 1)))
        while True:
            yield from self._random.choices(numbers, cum_weights=weights, k=_CHOSEN_AT_ONCE)

    def _last(self) -> Iterator[DatasetRecord]:
        last = self.expected.last
        last.update({partition: set() for partition in range(self.shape.partitions)})
        waiting = self.shape.partitions * MARKERS_EACH
        for number in count(_MARKERS):
            if not waiting:
                return
            key = _key(number)
            partition = partition_of(key, self.shape.partitions)
            if len(last[partition]) < MARKERS_EACH:
                waiting -= 1
                last[partition].add(key)
                self.expected.records[partition] += 1
                yield self._new(number, late=0, whole=True)

    def _new(self, number: int, *, late: int, whole: bool = False) -> DatasetRecord:
        random = self._random
        self._made += 1
        stated = BEGAN + self._made * _INTERVAL - timedelta(seconds=late)
        event = self._event(number, stated)
        value = self._codec.encode("ConsentEvent", event)
        is_truncated = not whole and random.random() < self.shape.truncated
        key = _key(number)
        latest = self._latest.get(key)
        partition = partition_of(key, self.shape.partitions) if latest is None else latest.partition
        at, status = effective_at(event), event["status"]
        if not is_truncated and (latest is None or wins(at, status, latest.at, latest.status)):
            self._latest[key] = _Latest(partition, at, status)
            self.expected.rows[partition] += 1
        return DatasetRecord(
            partition,
            key,
            value[: len(value) // 2] if is_truncated else value,
            headers(
                record="ConsentEvent",
                event_id=event["event_id"],
                source=f"/{event['customer_id']}/{event['origin']}",
                at=stated,
            ),
        )

    def _event(self, number: int, stated: datetime) -> dict[str, Any]:
        random = self._random
        return {
            "event_id": str(UUID(int=random.getrandbits(128), version=4)),
            "customer_id": "bench",
            "brand_code": _BRAND,
            "type": "MESAJ",
            "recipient_type": "BIREYSEL",
            "recipient": _recipient(number),
            "recipient_raw": None,
            "status": "RET" if random.random() < _RETS else "ONAY",
            "source": "HS_WEB",
            "consent_date": stated,
            "received_at": stated + _TRAVEL,
            "date_basis": "stated",
            "origin": "web",
            "origin_ref": f"signup-{self._made}",
            "sequence": self._made,
            "actor": "visitor",
            "correlation_id": f"{random.getrandbits(64):016x}",
            "cause": None,
            "import_id": None,
            "row": None,
            "retailer_code": None,
            "retailer_access": None,
            "notice_version": "2025-01",
            "evidence": {"page": "/newsletter", "form": "footer"},
            "evidence_hash": f"{random.getrandbits(256):064x}",
            "iys": None,
        }


def _recipient(number: int) -> str:
    return f"+90500{number:07d}"


def _key(number: int) -> bytes:
    return f"{_BRAND}/MESAJ/BIREYSEL/{_recipient(number)}".encode()
