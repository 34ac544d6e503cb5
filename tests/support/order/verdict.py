"""Real order workers, one process each; and what they wrote, read from the beginning and checked.
Also how long opt-outs (RET) waited for their decision, less the outages that they cannot escape.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from confluent_kafka import KafkaError, Message, TopicPartition

from izin.consent import AdmittedEvent, Consent, Order, RefusedEvent, Status, admit, decide
from izin.kafka import clients
from izin.local import free_port
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.partitioning import partition_of
from izin.schemas.records import consent_from_avro, event_from_avro
from izin.streams.fetched_record import FetchedRecord
from izin.streams.guard import appended_at
from izin.streams.outputs import BATCH_OFFSETS, BATCH_PART, REPARTITIONED
from izin.streams.ownership import DecidedOffsets

Coordinates = tuple[str, int, int]
_STANDS_AFTER = 3.0
"""Seconds without a record, after which a reader stands at a batch that it cannot unpack."""
LIMIT = 30.0
"""Seconds that an opt-out of a healthy partition may wait."""


def source(message: Message) -> FetchedRecord:
    """Return `message` as the order stage's transport delivers it."""
    _, timestamp = message.timestamp()
    return FetchedRecord(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        timestamp=timestamp,
        key=message.key(),
        value=message.value(),
        headers=message.headers() or [],
    )


def committed_records(
    settings: KafkaSettings, topic: str, *, without: Collection[Coordinates] = ()
) -> Iterator[Message]:
    """Yield every committed record of `topic`, each partition in its order.

    Those `without` are left out, and jumped over: librdkafka stops where it cannot unpack their
    batch, or gives them other offsets.
    """
    consumer = clients.consumer(settings, "reading", **{"enable.partition.eof": True})
    try:
        there = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        spared = {number: SparedOffsets(without, topic, number) for number in there}
        consumer.assign([TopicPartition(topic, one, spared[one].next) for one in there])
        ended: set[int] = set()
        came_at, limit = time.monotonic(), time.monotonic() + 60
        while len(ended) < len(there):
            assert time.monotonic() < limit, f"the end of {topic} never came"
            messages = consumer.consume(10_000, 0.1)
            yield from _taken(messages, spared, ended)
            now = time.monotonic()
            came_at = now if messages else came_at
            # A marker may stand before what cannot be read.
            is_held_up = now - came_at > _STANDS_AFTER
            for number in there.keys() - ended:
                if (is_held_up or spared[number].is_reached) and spared[number].jump():
                    consumer.seek(TopicPartition(topic, number, spared[number].next))
                    came_at, limit = now, now + 60
    finally:
        consumer.close()


def _taken(
    messages: Iterable[Message], spared: Mapping[int, "SparedOffsets"], ended: set[int]
) -> Iterator[Message]:
    """Yield those that are to be read, up to where the reader jumps; add the partitions that end to
    `ended`.
    """
    for message in messages:
        number, error = int(message.partition() or 0), message.error()
        if spared[number].is_reached:
            continue  # what is behind comes again
        if error is not None:
            assert error.code() == KafkaError._PARTITION_EOF, error.str()
            ended.add(number)
        elif spared[number].takes(int(message.offset() or 0)):
            yield message


class SparedOffsets:
    """The offsets of a partition over which a reader jumps, and where it is."""

    def __init__(self, places: Collection[Coordinates], topic: str, partition: int) -> None:
        found = {at for name, number, at in places if (name, number) == (topic, partition)}
        self._ahead = sorted(found, reverse=True)
        self.next = 0
        self.is_reached = False
        """Whether it stands before one of them."""
        if 0 in found:
            self.jump()

    def takes(self, offset: int) -> bool:
        """Return whether the record at `offset`, which came, is to be read; and go behind it."""
        is_taken = not self._ahead or offset < self._ahead[-1]
        if is_taken:
            self.next = offset + 1
        self.is_reached = not is_taken or self.next in self._ahead[-1:]
        return is_taken

    def jump(self) -> bool:
        """Go behind the next that are spared; return whether there are any."""
        if not self._ahead:
            return False
        self.next, self.is_reached = self._ahead[-1], False
        while self._ahead and self._ahead[-1] == self.next:
            self._ahead.pop()
            self.next += 1
        return True


def backlog(settings: KafkaSettings) -> dict[str, int]:
    """Return the number of undecided offsets of each partition."""
    topics = settings.topics
    with closing(DecidedOffsets(settings, Codec())) as decided:
        offsets = decided.read()
    left: Counter[str] = Counter()
    for lane in (topics.events.name, topics.express.name):
        for number, end in clients.committed_ends(settings, lane).items():
            left[f"{lane}[{number}]"] = end - offsets.get((lane, number), 0)
    return +left


@dataclass(kw_only=True)
class OrderVerdict:
    """The result of checking all topics; every list is empty where the guarantee held."""

    counts: Counter[str] = field(default_factory=Counter)
    missing: list[Coordinates] = field(default_factory=list)
    doubled: list[Coordinates] = field(default_factory=list)
    regressions: list[bytes] = field(default_factory=list)
    wrong: list[bytes] = field(default_factory=list)
    """Keys whose final state is not the reference fold's."""
    opt_outs: list[bytes] = field(default_factory=list)
    """Keys whose opt-outs are not exactly their changes to RET."""

    def __str__(self) -> str:
        return (
            f"{dict(self.counts)} missing={len(self.missing)} doubled={len(self.doubled)} "
            f"regressions={len(self.regressions)} wrong={len(self.wrong)} "
            f"opt_outs_wrong={len(self.opt_outs)}"
        )

    @property
    def faultless(self) -> bool:
        return not (self.missing or self.doubled or self.regressions or self.wrong or self.opt_outs)


Read = Callable[[KafkaSettings, str], Iterable[Message]]


def examine(
    settings: KafkaSettings,
    codec: Codec,
    *,
    read: Read = committed_records,
    hostile: Collection[Coordinates] = (),
) -> OrderVerdict:
    """Read every topic and compare the output of the order stage with both lanes.

    What came of records at `hostile` places others account for; their keys are nobody else's.
    """
    topics, verdict = settings.topics, OrderVerdict()
    admitted_at: dict[Coordinates, AdmittedEvent] = {}
    refused: set[Coordinates] = set()
    misplaced: set[Coordinates] = set()
    repartitioned: set[Coordinates] = set()
    expected: dict[bytes, Consent] = {}
    for lane in (topics.events, topics.express):
        for message in read(settings, lane.name):
            place = lane.name, int(message.partition() or 0), int(message.offset() or 0)
            if place in hostile:  # not even its headers need be readable
                continue
            record = source(message)
            verdict.counts["events"] += 1
            came_from = dict(record.headers).get(REPARTITIONED)
            if came_from is not None:
                topic, partition, offset = came_from.decode().split("/")
                repartitioned.add((topic, int(partition), int(offset)))
            admitted = _admitted(record, codec)
            if admitted is None:
                refused.add(place)
                continue
            key = admitted.key.encode()
            expected[key] = decide(expected.get(key), admitted).consent
            if partition_of(key, settings.partitions) == record.partition:
                admitted_at[place] = admitted
            else:
                misplaced.add(place)
    verdict.counts["misplaced"] = len(misplaced)
    verdict.missing += sorted(misplaced - repartitioned)
    decisions = [
        (message.key() or b"", codec.decode("Decision", message.value() or b""))
        for message in read(settings, topics.decisions.name)
    ]
    apart = {key for key, decision in decisions if place_of(decision) in hostile}
    verdict.doubled += _repeated(place_of(decision) for _, decision in decisions)
    own = [decision for _, decision in decisions if place_of(decision) not in hostile]
    decided = _check_decisions(own, verdict, admitted_at)
    letters = [
        codec.decode("DeadLetter", message.value() or b"")
        for message in read(settings, topics.dead_letters.name)
    ]
    verdict.doubled += _repeated(_parts(letters))
    verdict.counts["hostile"] = len(hostile)
    dead = {place_of(letter) for letter in letters} - set(hostile)
    verdict.counts["dead"] = len(dead)
    verdict.missing += sorted(refused - dead)
    verdict.wrong += [repr(one).encode() for one in dead - refused]
    verdict.counts["duplicates"] = len(admitted_at.keys() - decided)
    rows, opt_outs = (
        read(settings, topics.desired_consents.name),
        read(settings, topics.opt_outs.name),
    )
    _check_rows(rows, opt_outs, codec, verdict, expected, apart=apart)
    return verdict


def place_of(output: Mapping[str, Any]) -> Coordinates:
    """Return where the record of a decision or dead letter stands."""
    return output["topic"], output["partition"], output["offset"]


def _parts(letters: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int, int, bytes]]:
    """Yield of which record each of `letters` is, or of which part of a batch."""
    for letter in letters:
        headers = {one["name"]: one["value"] or b"" for one in letter["headers"]}
        yield *place_of(letter), headers.get(BATCH_PART, b"") if BATCH_OFFSETS in headers else b""


def _admitted(source: FetchedRecord, codec: Codec) -> AdmittedEvent | None:
    try:
        event = event_from_avro(codec.decode("ConsentEvent", source.value or b""))
    except UndecodableError:
        return None
    result = admit(event, appended_at=appended_at(source))
    return None if isinstance(result, RefusedEvent) else result


def _check_decisions(
    decisions: Iterable[dict[str, Any]],
    verdict: OrderVerdict,
    admitted_at: dict[Coordinates, AdmittedEvent],
) -> set[Coordinates]:
    places: list[Coordinates] = []
    winners: dict[tuple[bytes, Any, Any], Order] = {}
    for decision in decisions:
        place = place_of(decision)
        places.append(place)
        verdict.counts[decision["kind"]] += 1
        admitted = admitted_at.get(place)
        if admitted is None or admitted.event.event_id != decision["event"]["event_id"]:
            verdict.wrong.append(repr(place).encode())
        elif decision["kind"] != "Stale":
            moment = (admitted.key.encode(), admitted.effective_at, admitted.status)
            winners[moment] = max(winners.get(moment, admitted.order), admitted.order)
    verdict.counts["decisions"] = len(places)
    decided = set(places)
    # Whatever was not decided must have been a duplicate: an equal or better one of its second won.
    for place in sorted(admitted_at.keys() - decided):
        admitted = admitted_at[place]
        won = winners.get((admitted.key.encode(), admitted.effective_at, admitted.status))
        if won is None or won < admitted.order:
            verdict.missing.append(place)
    return decided


def _check_rows(
    rows: Iterable[Message],
    opt_outs: Iterable[Message],
    codec: Codec,
    verdict: OrderVerdict,
    expected: dict[bytes, Consent],
    *,
    apart: Collection[bytes],
) -> None:
    found: dict[bytes, Consent] = {}
    refusals: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for message in rows:
        key, value = message.key() or b"", message.value() or b""
        row, before = consent_from_avro(codec.decode("Consent", value)), found.get(key)
        verdict.counts["rows"] += 1
        if before is not None and _went_back(before, row):
            verdict.regressions.append(key)
        if row.status is Status.RET and (before is None or before.status is Status.ONAY):
            refusals[key].append(value)
        found[key] = row
    written: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for message in opt_outs:
        written[message.key() or b""].append(message.value() or b"")
        verdict.counts["opt-outs"] += 1
    verdict.counts["keys"] = len(expected)
    keys = expected.keys() | found.keys() - apart
    verdict.wrong += [key for key in keys if expected.get(key) != found.get(key)]
    keys = written.keys() | refusals.keys()
    verdict.opt_outs += [key for key in keys if written.get(key) != refusals.get(key)]


def _went_back(before: Consent, row: Consent) -> bool:
    return row.order < before.order or any(
        one is not None and (other is None or other < one)
        for one, other in (
            (before.latest_onay_at, row.latest_onay_at),
            (before.latest_ret_at, row.latest_ret_at),
        )
    )


def _repeated(places: Iterable[tuple[Any, ...]]) -> list[Coordinates]:
    return [place[:3] for place, count in Counter(places).items() if count > 1]


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


_ROOT = Path(__file__).resolve().parents[3]


def until(effect: Callable[[], bool], *, within: float, what: str) -> None:
    """Return once the effect is there; fail the test after `within` seconds."""
    limit = time.monotonic() + within
    while not effect():
        assert time.monotonic() < limit, f"in {within:.0f} s there was no {what}"
        time.sleep(0.05)


class Worker:
    """`python -m izin.streams` under an instance id of its own, or a test's own program."""

    arguments: Sequence[str] = ()
    """Those of its next start."""

    def __init__(
        self,
        name: str,
        settings: KafkaSettings,
        log: Path,
        *,
        module: str = "izin.streams",
        environment: Mapping[str, str] | None = None,
        folder: Path = _ROOT,
    ) -> None:
        self.name = name
        self.log = log
        self._module = module
        self._folder = folder
        self._port = free_port()
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "IZIN_TOPIC_PREFIX": settings.topic_prefix,
            "IZIN_PARTITIONS": str(settings.partitions),
            "IZIN_INSTANCE_ID": name,
            "IZIN_STREAM_PORT": str(self._port),
            **(environment or {}),
        }
        self._environment.pop("SCHEMA_REGISTRY_URL", None)
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module, *self.arguments],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def move(self) -> None:
        """Let its next start serve at another address."""
        self._port = free_port()
        self._environment["IZIN_STREAM_PORT"] = str(self._port)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Stop it, and return its exit status."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def health(self) -> dict[str, Any]:
        """Return its health report; empty if it does not respond."""
        try:
            url = f"http://127.0.0.1:{self._port}/health/ready"
            with urllib.request.urlopen(url, timeout=1) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)
        except (OSError, http.client.HTTPException, ValueError):
            # It has ended, perhaps in the middle of its response.
            return {"ready": [], "assigned": []}

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            return answer.read().decode()


def all_held(workers: list[Worker], partitions: int) -> bool:
    """Return whether every partition is owned and fresh, by one worker each."""
    held = [number for worker in workers for number in worker.health()["ready"]]
    return sorted(held) == list(range(partitions))
