"""Measure the time from a publisher's call until subscribers can read the result.

A probe is a RET of a new recipient: one row on ``desired-consents`` and one on
``consent-opt-outs``, or on another program's output, read ``read_committed``. It is published at
its instant even if earlier ones are still open, so a stall counts for each probe in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Self

from confluent_kafka import TopicPartition
from rich.table import Table

from izin.consent import ConsentEvent
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro, headers

BRAND = 600_002
_BATCH = 1000
_WAIT = 0.05
_WITHIN = 30.0
_OLD = timedelta(minutes=1)
_NUMBERS = count()
"""Of all probes of this process: no recipient comes twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Latencies of probes, in milliseconds."""

    name: str
    probes: int
    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, name: str, seconds: Sequence[float]) -> LatencySummary:
        """Return the summary by nearest rank; raises ValueError where there is no probe."""
        ranked = sorted(one * 1000 for one in seconds)
        if not ranked:
            raise ValueError(f"no probe of {name} came back")
        return cls(
            name=name,
            probes=len(ranked),
            p50=ranked[(len(ranked) - 1) // 2],
            p99=ranked[-(-99 * len(ranked) // 100) - 1],
            most=ranked[-1],
        )


def latency_table(found: Sequence[LatencySummary], title: str, of: str, counted: str) -> Table:
    """Return a table of latencies ``of`` something, a row each, with how many were ``counted``."""
    table = Table(title=title)
    table.add_column(of)
    for heading in (counted, "p50, ms", "p99, ms", "most, ms"):
        table.add_column(heading, justify="right")
    for one in found:
        figures = (f"{value:.1f}" for value in (one.p50, one.p99, one.most))
        table.add_row(one.name, f"{one.probes:,}", *figures)
    return table


class ArrivalReader:
    """Notes when records are first read, ``read_committed``, in a thread of its own; a context
    manager.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        *,
        notes: Callable[[bytes], bool] = bool,
    ) -> None:
        self.seen: dict[str, dict[bytes, float]] = {name: {} for name in topics}
        """By topic, when each key that it ``notes`` was read first."""
        self._settings = settings
        self._notes = notes
        self._over = threading.Event()
        places = [
            TopicPartition(name, number, end)
            for name in topics
            for number, end in clients.committed_ends(settings, name).items()
        ]
        self._thread = threading.Thread(
            target=self._read, args=(places,), name="arrivals", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_WITHIN)

    def _read(self, places: list[TopicPartition]) -> None:
        reader = clients.consumer(self._settings, "bench-probe", **{"fetch.wait.max.ms": 100})
        try:
            reader.assign(places)
            while not self._over.is_set():
                messages = reader.consume(1, _WAIT)
                now = time.perf_counter()
                messages += reader.consume(_BATCH, 0) if messages else []
                for message in messages:
                    key = message.key() or b""
                    if self._notes(key) and message.error() is None:
                        self.seen[message.topic() or ""].setdefault(key, now)
        finally:
            reader.close()


class Probe:
    """Publishes probes and reads their results, in a thread of its own; a context manager."""

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        *,
        partition: int | None = None,
        outputs: Sequence[str] | None = None,
        within: float = _WITHIN,
    ) -> None:
        topics = settings.topics
        self.outputs = tuple(outputs or (topics.desired_consents.name, topics.opt_outs.name))
        self._within = within
        self._settings = settings
        self._codec = codec
        self._keys = self._recipients(partition)
        self._producer = clients.producer(settings, **{"linger.ms": 0})
        self.sent: dict[bytes, float] = {}
        """When each probe was published, by its key."""
        self._reader = ArrivalReader(settings, self.outputs, notes=self.sent.__contains__)

    def __enter__(self) -> Self:
        self._reader.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.__exit__()

    def run(
        self, lane: str, *, every: float, random: Random, should_continue: Callable[[int], bool]
    ) -> dict[str, list[float]]:
        """Publish a probe to the topic ``lane`` about each ``every`` seconds.

        Goes on while ``should_continue`` of their number. Return by output topic how many seconds
        each took, once all are back; raises TimeoutError if some do not come back.
        """
        sent: list[bytes] = []
        due = time.perf_counter()
        while should_continue(len(sent)):
            due += every * (0.5 + random.random())
            while (left := due - time.perf_counter()) > 0:
                self._producer.poll(left)
            sent.append(self._publish(lane))
        self._producer.flush(_WITHIN)
        until, seen = time.perf_counter() + self._within, self._reader.seen
        while not all(seen[name].keys() >= set(sent) for name in self.outputs):
            if time.perf_counter() > until:
                raise TimeoutError(f"probes of {lane} did not come back in {self._within:.0f} s")
            time.sleep(_WAIT)  # a thread reads them; to poll faster would use its CPU
        return {name: [seen[name][key] - self.sent[key] for key in sent] for name in self.outputs}

    def _publish(self, lane: str) -> bytes:
        key, recipient = next(self._keys)
        at = datetime.now(UTC) - _OLD
        event = ConsentEvent(
            event_id=f"probe-{recipient}",
            customer_id="bench",
            brand_code=BRAND,
            type="MESAJ",
            recipient=recipient,
            status="RET",
            source="HS_WEB",
            consent_date=at,
            received_at=at,
            origin="web",
        )
        value = self._codec.encode("ConsentEvent", event_to_avro(event))
        about = headers(record="ConsentEvent", event_id=event.event_id, source="/bench/web", at=at)
        self.sent[key] = time.perf_counter()
        self._producer.produce(lane, key=key, value=value, headers=about)
        return key

    def _recipients(self, partition: int | None) -> Iterator[tuple[bytes, str]]:
        """Yield recipients that no other event is about, of one partition if that is given."""
        for number in _NUMBERS:
            recipient = f"+90501{number:07d}"
            key = f"{BRAND}/MESAJ/BIREYSEL/{recipient}".encode()
            if partition in {None, partition_of(key, self._settings.partitions)}:
                yield key, recipient
