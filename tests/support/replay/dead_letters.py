"""An order stage with dead letters, and what became of them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from click.testing import Result
from confluent_kafka import Message

from izin.consent import Consent, ConsentEvent, Violation
from izin.kafka import clients
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.record import TopicMessages
from izin.producers.publishing.publisher import kafka_record
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro
from izin.sinks.ingest.ingester import Ingester
from izin.streams.guard import REDRIVEN, DeadLetter, dead_letter_of
from izin.streams.ownership import DecidedOffsets
from tests.support.builders import NOON, a_key, a_phone, usual
from tests.support.order.harness import fetched
from tests.support.order.verdict import committed_records, until

CODEC = Codec()
APPENDED = int(NOON.timestamp() * 1000) + 3 * 3_600_000
"""When the records of letters were appended, unless a test says otherwise."""
WHY = ("--reason", "the fault is repaired", "--by", "ada")
Run = Callable[..., Result]


def framed(event: ConsentEvent) -> bytes:
    """Return the bytes of ``event``."""
    return CODEC.encode("ConsentEvent", event_to_avro(event))


def a_letter_of(
    event: ConsentEvent,
    reason: str = "poison",
    violations: Sequence[Violation] = (),
    **fields: object,
) -> dict[str, Any]:
    """Return the dead letter of a record of ``event`` with these ``fields``."""
    defaults: dict[str, object] = {
        "value": framed(event),
        "offset": 7,
        "timestamp": APPENDED,
        "key": a_key(recipient=event.recipient, brand_code=event.brand_code).encode(),
        "headers": [("ce_id", event.event_id.encode())],
    }
    letter = DeadLetter(reason=reason, violations=tuple(violations))
    return dead_letter_of(letter, fetched(**defaults | fields))


@dataclass
class LetterHarness:
    """The topics of an installation whose order stage runs elsewhere."""

    settings: KafkaSettings
    _persons: int = field(default=0)

    def __post_init__(self) -> None:
        self.writer = clients.producer(self.settings)

    def person(self) -> str:
        """Return the phone number of a person whom no test of the installation has used."""
        self._persons += 1
        return a_phone(self._persons)

    def home(self, recipient: str) -> int:
        """Return the partition of a person."""
        return partition_of(a_key(recipient=recipient).encode(), self.settings.partitions)

    def letter(
        self,
        event: ConsentEvent,
        reason: str = "poison",
        violations: Sequence[Violation] = (),
        **fields: object,
    ) -> dict[str, Any]:
        """Return the dead letter of an event that once was appended to the bulk lane."""
        return a_letter_of(
            event,
            reason,
            violations,
            **usual(
                fields, topic=self.settings.topics.events.name, partition=self.home(event.recipient)
            ),
        )

    def plant(self, letters: Iterable[dict[str, Any] | bytes]) -> list[str]:
        """Write dead letters; return their names."""
        offsets: list[int] = []
        topic = self.settings.topics.dead_letters.name
        for one in letters:
            value = one if isinstance(one, bytes) else CODEC.encode("DeadLetter", one)
            self.writer.produce(
                topic,
                value=value,
                partition=0,
                on_delivery=lambda _, message: offsets.append(message.offset()),
            )
            self.writer.poll(0)
        assert self.writer.flush(20) == 0
        return [f"0/{offset}" for offset in offsets]

    def publish(self, *events: ConsentEvent) -> None:
        """Publish events as a producer does, and wait until they are decided."""
        for event in events:
            record = kafka_record(event, None, datetime.now(UTC), self.settings.topics, CODEC)
            self.writer.produce(record.topic, record.value, record.key, headers=record.headers)
        assert self.writer.flush(20) == 0
        self.await_decided()

    def await_decided(self) -> None:
        """Wait until the order stage has decided everything."""
        lanes = (self.settings.topics.events.name, self.settings.topics.express.name)
        ends = {
            (lane, number): end
            for lane in lanes
            for number, end in clients.committed_ends(self.settings, lane).items()
        }
        with closing(DecidedOffsets(self.settings, CODEC)) as decided:
            until(
                lambda: all(decided.read().get(one, 0) >= end for one, end in ends.items()),
                within=30,
                what="decision on everything",
            )

    def decisions(self) -> list[dict[str, Any]]:
        """Return every decision."""
        topic = self.settings.topics.decisions.name
        return [
            CODEC.decode("Decision", one.value() or b"")
            for one in committed_records(self.settings, topic)
        ]

    def applied(self) -> Counter[str]:
        """Return how often each event was applied."""
        return Counter(
            one["event"]["event_id"] for one in self.decisions() if one["kind"] == "Apply"
        )

    def rows(self) -> dict[str, Consent]:
        """Return what is desired, by person."""
        found: dict[bytes, Consent] = {}
        for one in committed_records(self.settings, self.settings.topics.desired_consents.name):
            key, value = one.key() or b"", one.value()
            found.pop(key, None)
            if value is not None and not key.startswith(SUPPRESSED):
                found[key] = CODEC.decode_consent(value)
        return {one.key.recipient: one for one in found.values()}

    def desired(self, recipient: str) -> Consent | None:
        """Return what is desired of a person."""
        return self.rows().get(recipient)

    def redriven(self, origin: str) -> list[Message]:
        """Return the input records that came back, of one origin."""
        topics = self.settings.topics
        return [
            one
            for lane in (topics.express.name, topics.events.name)
            for one in committed_records(self.settings, lane)
            if REDRIVEN in dict(one.headers() or [])
            and (one.value() or b"").startswith(CODEC.header("ConsentEvent"))
            and CODEC.decode_event(one.value() or b"").origin == origin
        ]


def redrive(izin: Run, *words: str, code: int = 0) -> dict[str, Any]:
    """Run ``izin dead-letters redrive``; return its JSON."""
    done = izin("dead-letters", "redrive", *words, *WHY, "--output", "json")
    assert done.exit_code == code, done.stderr
    return json.loads(done.stdout)


@asynccontextmanager
async def ingesting(ledger: Ledger, settings: KafkaSettings) -> AsyncIterator[None]:
    """Have the ledger take decisions meanwhile."""
    codec = Codec()
    ingester = Ingester(
        ledger=ledger,
        topic_messages=TopicMessages(codec, settings.topics),
        codec=codec,
        settings=settings,
        clock=lambda: datetime.now(UTC),
        wait=timedelta(seconds=0.1),
    )
    task = asyncio.create_task(ingester.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ingest_all(ledger: Ledger, settings: KafkaSettings) -> None:
    """Have the ledger take every decision that there is."""
    topic = settings.topics.decisions.name
    ends = clients.committed_ends(settings, topic)
    async with ingesting(ledger, settings), asyncio.timeout(30):
        while True:
            taken = await reads.ingested(ledger)
            if all(taken.get((topic, number), 0) >= end for number, end in ends.items()):
                return
            await asyncio.sleep(0.05)
