"""Hostile records: made, written at a rate, and accounted for.

Each is made from a seed and its number, so that one that does harm can be made
again alone.

Each is a dead letter, a refusal, or an opt-out (RET) that takes effect: none is an opt-in that the
law admits.

Whoever writes them runs in a process of its own, so that it delays no measurement. What became of
each is known by its offset, or by its event where it was repartitioned.
"""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Any, Self

from confluent_kafka import KafkaException, Message

from izin.consent import ConsentEvent, Status
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import ERASURE
from izin.schemas.fast.record_format import NO_HEADERS, BatchBuilder, headers_bytes
from izin.schemas.fast.writer import EPOCH, MILLISECOND, long_bytes
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro
from izin.streams.fetched_record import APPENDED_AT
from izin.streams.guard import REDRIVEN, REFUSED
from izin.streams.outputs import BATCH_OFFSETS, REPARTITIONED
from tests.support.builders import NOON, an_event
from tests.support.hostile import batches
from tests.support.order.verdict import Coordinates, committed_records, place_of
from tests.support.published import transaction

RECIPIENTS = "+9050"
"""What the numbers of their recipients begin with, and nobody else's."""
_CODEC = Codec()
_DATED, _RECEIVED = NOON + timedelta(milliseconds=123), NOON + timedelta(milliseconds=2457)
_FRAME = 10
"""Bytes before an event: which schema it has."""
_MOST = 4
"""Records of a batch."""
_RARE = 200
"""To one huge batch, and to one that cannot be unpacked, come so many others."""
_LEAST_SPOILT = 3
"""Records of a batch that cannot be unpacked."""
_MEGABYTE = 1 << 20
_DAYS_MS = 86_400_000
WILD = (
    *(0, 1, -1, 999, -62_135_596_800_000, -62_135_596_800_001, -62_167_219_200_000),
    *(253_402_300_799_999, 253_402_300_800_000, 1_772_442_000_000_000, 1_772_442_000_000_000_000),
    *(1_772_442_000, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, -(2**63), -(2**53)),
    *(4_102_444_800_000, 32_503_680_000_000, -_DAYS_MS * 365 * 40),
)
"""Instants in milliseconds since 1970: other units, other calendars, other eras."""
_OPENED_EVERY = 60.0
"""Seconds between two transactions that nobody ends."""
_FIRST_AFTER = 3.0
_TIMES_OUT = 1000
"""Milliseconds after which the broker ends them."""
_NICE = 19
"""As elsewhere than on the machine that is measured."""
_MOST_BYTES = 5_000_000
"""A second."""
Read = Callable[[KafkaSettings, str], Iterable[Message]]


@dataclass(slots=True)
class HostileRecord:
    """What is written; its event, while there is one, is what ``value`` had first."""

    event: ConsentEvent
    key: bytes | None
    value: bytes | None
    headers: bytes = NO_HEADERS

    def encode(self, event: ConsentEvent) -> None:
        """Let it be about ``event``, under its key."""
        self.event, self.value = event, _CODEC.encode("ConsentEvent", event_to_avro(event))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileBatch:
    """A batch to be written as it is."""

    number: int
    kind: str
    """Of its records, or of itself."""
    is_express: bool
    partition: int
    data: bytes
    count: int


Spoil = Callable[[HostileRecord, Random], None]


def _junk(record: HostileRecord, random: Random) -> None:
    record.value = random.randbytes(random.choice((0, 1, 9, 10, 11, 200, 3000)))


def _cut(record: HostileRecord, random: Random) -> None:
    value = record.value or b""
    record.value = value[: random.randrange(len(value))]


def _frame(record: HostileRecord, random: Random) -> None:
    value = record.value or b""
    record.value = random.choice(
        (
            random.randbytes(2) + value[2:],
            value[:2] + random.randbytes(8) + value[_FRAME:],
            b"\0" + random.randbytes(4) + value[_FRAME:],
            b"{" + value,
            value[_FRAME:],
        )
    )


def _flipped(record: HostileRecord, random: Random) -> None:
    """Change bytes behind the event's id, which tells whose record it was."""
    value = bytearray(record.value or b"")
    for _ in range(random.randint(1, 3)):
        value[random.randrange(_FRAME + 1 + len(record.event.event_id), len(value))] ^= (
            1 << random.randrange(8)
        )
    record.value = bytes(value)


def _counts(record: HostileRecord, random: Random) -> None:
    """Let a length or a count within the event be a number of any size."""
    value = record.value or b""
    at = random.randrange(_FRAME, len(value))
    record.value = value[:at] + long_bytes(random.choice(WILD)) + value[at + 1 :]


def _instants(record: HostileRecord, random: Random) -> None:
    """Spoil the date, the receipt or both; of an opt-in the date, without which it is none."""
    opt_in = random.random() < 0.5
    record.encode(replace(record.event, status=Status.ONAY if opt_in else Status.RET))
    value = record.value or b""
    spoilt = random.choice(((_DATED,), (_DATED, _RECEIVED), (_RECEIVED,)))
    for instant in (_DATED,) if opt_in else spoilt:
        written = long_bytes((instant - EPOCH) // MILLISECOND)
        assert value.count(written) == 1
        value = value.replace(written, long_bytes(random.choice(WILD)))
    record.value = value


def _headers(record: HostileRecord, random: Random) -> None:
    name = random.choice((APPENDED_AT, REPARTITIONED, REDRIVEN, "ce_time", "izin-\0", ""))
    digits = b"9" * random.choice((18, 19, 20, 4300, 4301, 60_000))
    arabic = "٣".encode() * 13
    value = random.choice((digits, arabic, b"-1", b"", None, b"1e9", b"\xff\xfe", b" 17", "²"))
    last = random.choice((APPENDED_AT, name))
    many = [(f"h{number}", b"x" * 9) for number in range(random.choice((0, 0, 300, 3000)))]
    record.headers = headers_bytes([*many, (name, value), (last, value)])
    if random.random() < 0.2:  # a name that is no text, of one header
        raw = b"\xff\xfe\xc3("
        record.headers = long_bytes(1) + long_bytes(len(raw)) + raw + long_bytes(-1)


def _keys(record: HostileRecord, random: Random) -> None:
    record.key = random.choice(
        (None, b"", b"\xff\xfe", random.randbytes(20), b"k" * 70_000, b"\0" * 9, b"+905550000000")
    )
    if random.random() < 0.3:  # of a place where it never was
        came_from = random.choice((b"", b"a/b", b"x/0/99", b"9" * 5000, b"/".join([b"1"] * 400)))
        record.headers = headers_bytes([(REPARTITIONED, came_from), (APPENDED_AT, b"1")])


def _texts(record: HostileRecord, random: Random) -> None:
    text = random.choice(
        (
            "\0",
            "a\0b",
            "\u202e\u2066",
            "\ufeff",
            "i̇" * 400,
            "𝕏" * 50,
            "\x1b[31m",
            "';--",
            "\r\n\r\n",
        )
    )
    field = random.choice(("event_id", "customer_id", "source", "origin", "actor", "cause"))
    kept = record.event.event_id if field == "event_id" else ""
    evidence = {text: text, "page": "[" * 9000 + "{" * 9000}
    fields: dict[str, Any] = {field: kept + text, "evidence": evidence}
    record.encode(replace(record.event, **fields))
    if random.random() < 0.3:  # half of a surrogate pair, and bytes that are in no text
        record.value = (record.value or b"").replace(b"[[", b"\xed\xa0", 9)


def _words(record: HostileRecord, random: Random) -> None:
    word = random.choice(("RETT", "", "ret\0", "evet", "DELETE", ERASURE, "ONAY;RET", "-1", "٣"))
    record.encode(replace(record.event, status=word))


def _missing(record: HostileRecord, random: Random) -> None:
    record.value = None
    record.key = random.choice((None, record.key, b""))


def _huge(record: HostileRecord, random: Random) -> None:
    """Reach for the broker's limit, with an opt-in that no record of ours can hold too."""
    size = random.choice((_MEGABYTE // 3, 870_000, 950_000, 1_000_000))
    if random.random() < 0.3:
        record.value = random.randbytes(size)
        return
    is_opt_in = size >= 950_000 and random.random() < 0.5
    status = Status.ONAY if is_opt_in else Status.RET
    evidence = {"page": random.randbytes(size // 2).hex()}
    record.encode(replace(record.event, status=status, evidence=evidence))


def _inflated(record: HostileRecord, random: Random) -> None:
    """Be small only while it is compressed."""
    size = random.choice((2, 4, 8, 16)) * _MEGABYTE
    if random.random() < 0.5:
        record.value = bytes(size)
    else:
        record.encode(replace(record.event, evidence={"page": "a" * size}))


KINDS: Mapping[str, Spoil] = MappingProxyType(
    {
        "junk": _junk,
        "cut": _cut,
        "frame": _frame,
        "flipped": _flipped,
        "counts": _counts,
        "instants": _instants,
        "headers": _headers,
        "keys": _keys,
        "texts": _texts,
        "words": _words,
        "missing": _missing,
    }
)
RARE: Mapping[str, Spoil] = MappingProxyType({"huge": _huge, "inflated": _inflated})
_STORED = (*batches.READABLE, *batches.UNREADABLE)


def event_id(number: int, index: int) -> str:
    """Return the id of the event that a record of a batch has, or had."""
    return f"hostile/{number}/{index}"


def hostile_batch(
    seed: int, number: int, partitions: int, *, kinds: Collection[str] = ()
) -> HostileBatch:
    """Return the batch of this ``number``, always the same for the same ``seed`` and ``kinds``, of
    which it is one; none: of any, most of them of ``KINDS``.
    """
    random = Random(f"{seed}/{number}")
    partition, codec, count = (
        random.randrange(partitions),
        random.randrange(5),
        random.randint(1, _MOST),
    )
    usual, rare, stored = [*KINDS], [*RARE], _STORED
    kind = random.choice([*kinds] or random.choices((usual, rare, stored), (_RARE, 1, 1))[0])
    if kind in stored:
        count = max(count, _LEAST_SPOILT)
    elif kind in rare:
        codec, count = (random.choice((1, 4)) if kind == "inflated" else codec), 1
    records = [_record(number, index, partition, partitions) for index in range(count)]
    if kind in stored:
        data = batches.HOSTILE[kind]([(one.key, one.value) for one in records])
    else:
        builder, spoil = BatchBuilder("", partition), ({**KINDS, **RARE})[kind]
        for one in records:
            spoil(one, random)
            builder.add(one.key, one.value, one.headers)
        payload = batches.compressed(codec, builder.payload())
        at = random.choice((0, -1, 2**62))
        data = batches.RawBatch(payload=payload, count=count, codec=codec, timestamp=at).encoded()
    return HostileBatch(
        number=number,
        kind=kind,
        is_express=random.random() < 0.5,
        partition=partition,
        data=data,
        count=count,
    )


def _record(number: int, index: int, partition: int, partitions: int) -> HostileRecord:
    """Return a lawful opt-out (RET) of somebody of ``partition``, to be spoilt."""
    tried = (number * _MOST + index) * 100
    while True:
        recipient = f"{RECIPIENTS}{tried % 100_000_000:08d}"
        key = f"100001/MESAJ/BIREYSEL/{recipient}".encode()
        if partition_of(key, partitions) == partition:
            break
        tried += 1
    event = an_event(
        event_id=event_id(number, index),
        status=Status.RET,
        recipient=recipient,
        consent_date=_DATED,
        received_at=_RECEIVED,
    )
    made = HostileRecord(event, key, None)
    made.encode(event)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBatch:
    """A hostile batch, and where it stands."""

    number: int
    kind: str
    topic: str
    partition: int
    first: int
    """The offset of its first record."""
    count: int

    @classmethod
    def of(cls, made: HostileBatch, *, topic: str, first: int) -> Self:
        """Return what came of ``made``."""
        return cls(
            number=made.number,
            kind=made.kind,
            topic=topic,
            partition=made.partition,
            first=first,
            count=made.count,
        )


def write(
    bootstrap_servers: str, *, partitions: int, seed: int, first: int, records: int, rate: float
) -> Sequence[WrittenBatch]:
    """Write the batches from ``first`` on, until so many ``records`` are stored, at a ``rate`` a
    second; return what the broker stored.
    """
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers, partitions=partitions)
    os.nice(_NICE)
    written, number = list[WrittenBatch](), first
    lanes = settings.topics.events.name, settings.topics.express.name
    count = size = 0
    began = time.monotonic()
    opened_at, random = (
        began - _OPENED_EVERY + _FIRST_AFTER,
        Random(f"{seed}/{first}"),
    )
    with batches.RawProducer(settings) as raw:
        while count < records:
            made = hostile_batch(seed, number, settings.partitions)
            number += 1
            with suppress(batches.BatchRefusedError):
                topic = lanes[made.is_express]
                offset = raw.produce(topic, made.partition, made.data)
                count, size = count + made.count, size + len(made.data)
                written.append(WrittenBatch.of(made, topic=topic, first=offset))
            if time.monotonic() - opened_at >= _OPENED_EVERY:
                opened_at = time.monotonic()
                leave_open(settings, lanes[1], random.randrange(settings.partitions))
            due = began + max(count / rate, size / _MOST_BYTES)
            time.sleep(max(0.0, due - time.monotonic()))
    return written


def leave_open(settings: KafkaSettings, topic: str, partition: int) -> None:
    """Write a record in a transaction that only the broker ends. Raises KafkaException."""
    limit = {"transaction.timeout.ms": _TIMES_OUT}
    producer = transaction(settings, f"foreign-{partition}", **limit)
    producer.produce(topic, key=b"foreign", value=b"never committed", partition=partition)
    if producer.flush(10):
        raise KafkaException


class Fate(StrEnum):
    """What may become of a hostile record."""

    DEAD_LETTER = "dead letter"
    REFUSED = "refused"
    CLOSED = "key closed"
    ADMITTED = "opt-in admitted"
    """Which is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The fates of all hostile records."""

    fates: Mapping[str, Counter[str]]
    """By kind."""
    wrong: Sequence[str]
    """Records that have none, or one that is wrong, with what makes them again."""


def account(
    settings: KafkaSettings,
    written: Sequence[WrittenBatch],
    *,
    read: Read = committed_records,
) -> Account:
    """Read what the order stage wrote, and account for each record of ``written``."""
    records: dict[Coordinates, tuple[WrittenBatch, int]] = {
        (one.topic, one.partition, one.first + index): (one, index)
        for one in written
        for index in range(one.count)
    }
    by_event = {event_id(one.number, index): place for place, (one, index) in records.items()}
    fates: dict[Coordinates, Fate] = {}
    for name, place, fate in _outputs(settings, read):
        known = place if place in records else by_event.get(name)
        if known is not None:
            fates[known] = fate
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    wrong = []
    for place, (batch, index) in records.items():
        found = fates.get(place)
        counted[batch.kind][found or "nothing"] += 1
        if found in {None, Fate.ADMITTED}:
            wrong.append(
                f"batch {batch.number}, record {index} ({batch.kind}) at {place}: "
                f"{found or 'nothing came of it'}"
            )
    return Account(fates=counted, wrong=wrong)


def _outputs(settings: KafkaSettings, read: Read) -> Iterator[tuple[str, Coordinates, Fate]]:
    """Yield the event, the place and the fate that each decision and dead letter names."""
    codec, topics = Codec(), settings.topics
    for message in read(settings, topics.decisions.name):
        decision: dict[str, Any] = codec.decode("Decision", message.value() or b"")
        event = decision["event"]
        fate = Fate.CLOSED if event["status"].strip().upper() == Status.RET else Fate.ADMITTED
        # Of the ids, texts were added behind what the record had.
        name = "/".join(event["event_id"].split("/")[:2])
        last = "".join(one for one in event["event_id"].split("/")[-1][:1] if one.isdigit())
        yield f"{name}/{last}", place_of(decision), fate
    for message in read(settings, topics.dead_letters.name):
        letter: dict[str, Any] = codec.decode("DeadLetter", message.value() or b"")
        fate = Fate.REFUSED if letter["reason"] == REFUSED else Fate.DEAD_LETTER
        headers = {one["name"]: (one["value"] or b"") for one in letter["headers"]}
        topic, partition, offset = place_of(letter)
        yield "", (topic, partition, offset), fate
        if (offsets := headers.get(BATCH_OFFSETS)) is not None:
            first, _, last = offsets.decode().partition("-")
            for number in range(int(first), int(last) + 1):
                yield "", (topic, partition, number), fate
        came_from = headers.get(REPARTITIONED, b"").split(b"/")
        if len(came_from) == 3 and all(one.isdigit() for one in came_from[1:]):
            yield "", (came_from[0].decode(), int(came_from[1]), int(came_from[2])), fate
