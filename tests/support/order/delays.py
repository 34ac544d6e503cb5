"""How long opt-outs (RET) wait for their decision, less the outages that they cannot escape."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import Message

from izin.consent import Status
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.streams.guard import appended_at
from izin.streams.outputs import REPARTITIONED
from tests.support.order.verdict import Coordinates, committed_records, source

LIMIT = 30.0
"""Seconds that an opt-out of a healthy partition may wait."""

Read = Callable[[KafkaSettings, str], Iterable[Message]]


@dataclass(slots=True)
class Outage:
    """A time in which a partition, or all of them, could not be decided, by a fault."""

    began: float
    """Seconds since 1970, as `ended`."""
    ended: float = float("inf")
    partition: int | None = None
    """None: all of them."""


class DecidedEvent(NamedTuple):
    """An event and its decision; instants in seconds since 1970, of the broker."""

    published: float
    """When it was appended: first, if it was repartitioned."""
    readable: float
    """When the decision was appended, in a transaction that was committed."""
    partitions: tuple[int, ...]
    """Where it was appended, where it was decided first."""
    is_opt_out: bool

    def wait(self, outages: Iterable[Outage] = ()) -> float:
        """Return the seconds between both, less those within one of `outages` of its partitions."""
        waited, until = self.readable - self.published, self.published
        for one in sorted(outages, key=lambda one: one.began):
            if one.partition is None or one.partition in self.partitions:
                began, ended = max(one.began, until), min(one.ended, self.readable)
                waited -= max(0.0, ended - began)
                until = max(until, ended)
        return waited


class OptOutDelays:
    """The waits of all opt-outs (RET) that were decided, in seconds."""

    def __init__(self, waits: Iterable[tuple[float, DecidedEvent]]) -> None:
        self.waits = sorted(waits)
        """The shortest first."""

    def at(self, share: float) -> float:
        """Return the wait that `share` (0 to 1) of them did not exceed."""
        return self.waits[round(share * (len(self.waits) - 1))][0] if self.waits else 0.0

    @property
    def late(self) -> Sequence[DecidedEvent]:
        """Those that waited too long."""
        return [event for seconds, event in self.waits if seconds > LIMIT]

    def as_json(self) -> Mapping[str, float]:
        return {
            "opt_outs": len(self.waits),
            "p50": round(self.at(0.5), 3),
            "p99": round(self.at(0.99), 3),
            "max": round(self.at(1), 3),
            "late": len(self.late),
        }

    def __str__(self) -> str:
        return (
            f"{len(self.waits)} opt-outs decided: p50 {self.at(0.5):.2f} s, "
            f"p99 {self.at(0.99):.2f} s, max {self.at(1):.2f} s, {len(self.late)} beyond "
            f"{LIMIT:.0f} s"
        )


def opt_out_delays(
    settings: KafkaSettings,
    *,
    since: float,
    outages: Sequence[Outage],
    read: Read = committed_records,
    hostile: Collection[Coordinates] = (),
) -> OptOutDelays:
    """Return how long each opt-out (RET) that was published from `since` on waited.

    From its first append to an input lane to the append of its decision, which stands in one
    transaction with its row and its record in ``consent-opt-outs``; only what was committed counts.
    Both instants are the broker's, so ``consent-decisions`` must have ``LogAppendTime``. A RET that
    gives no decision (a duplicate, a dead letter) is not counted, nor what is at `hostile` places.

    Time within `outages` of the partitions in which it was appended is taken off, overlapping ones
    once. What is an outage, and of what, is said where each fault is injected: a transaction that
    hangs in the partition itself, and times in which no broker, or no worker, could be reached.
    """
    return OptOutDelays(
        (one.wait(outages), one)
        for one in decided_events(settings, read=read, hostile=hostile)
        if one.is_opt_out and one.published >= since
    )


def decided_events(
    settings: KafkaSettings,
    *,
    read: Read = committed_records,
    hostile: Collection[Coordinates] = (),
) -> Iterator[DecidedEvent]:
    """Yield every event that has a decision, but for those at `hostile` places."""
    codec, topics = Codec(), settings.topics
    appended: dict[Coordinates, tuple[float, tuple[int, ...]]] = {}
    for lane in (topics.events, topics.express):
        for message in read(settings, lane.name):
            place = lane.name, int(message.partition() or 0), int(message.offset() or 0)
            if place in hostile:
                continue
            record = source(message)
            partitions = [record.partition]
            came_from = dict(record.headers).get(REPARTITIONED)
            if came_from is not None:
                partitions.append(int(came_from.decode().split("/")[1]))
            appended[place] = appended_at(record).timestamp(), tuple(partitions)
    for message in read(settings, topics.decisions.name):
        decision: dict[str, Any] = codec.decode("Decision", message.value() or b"")
        place = decision["topic"], decision["partition"], decision["offset"]
        if place in hostile:
            continue
        published, partitions = appended[place]
        is_opt_out = decision["event"]["status"] == Status.RET
        yield DecidedEvent(published, message.timestamp()[1] / 1000, partitions, is_opt_out)
