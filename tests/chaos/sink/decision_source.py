"""The decisions that sink processes ingest, and the load under which faults fall."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from random import Random
from typing import Any, LiteralString

import psycopg
from confluent_kafka import Producer

from izin.consent import Consent, ConsentKey, Decision, DecisionKind, decide
from izin.iys.wire_format.json_reader import to_turkish
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.fast.writer import EPOCH, MILLISECOND, long_bytes
from izin.schemas.partitioning import partition_of
from tests.chaos.hostile.records import RECIPIENTS, WILD
from tests.support.builders import BRAND, a_decision_record, a_key, an_event, as_admitted

_PLACEHOLDER = "+905559999999"
"""The recipient in whose place those of a bulk are put; all are as long as it is."""
_TICK = 0.5
_CHUNK = 10_000
_LIMIT = 2.0
_AGAIN = 60.0
_IN_FLIGHT: LiteralString = """
SELECT i.key FROM (
    SELECT id FROM submissions WHERE state IN ('intent', 'unknown', 'awaiting_result')
    ORDER BY random() LIMIT 5
) AS s JOIN submission_items AS i ON i.submission_id = s.id
WHERE i.status = 'ONAY' AND i.state = 'open' ORDER BY random() LIMIT %(count)s
"""
_PENDING: LiteralString = """
SELECT
    (SELECT count(*) FROM consents
    WHERE desired_status = 'ONAY'
        AND state IN ('pending', 'in_flight', 'awaiting_result', 'unknown', 'retryable')),
    (SELECT coalesce(sum(next_offset), 0)::bigint FROM kafka_offsets WHERE topic = %(topic)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """An opt-out that was published, at an instant in seconds since 1970."""

    key: str
    event_id: str
    consent_date: str
    """As İYS shows it."""
    published_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    """A decision, encoded, of an opt-in in a brand."""

    consent: Consent
    tail: bytes
    """What follows the event's offset."""


@dataclass(kw_only=True)
class DecisionSource:
    """The order stage in a few lines: what it would have decided, written to its topic."""

    settings: KafkaSettings
    brands: Sequence[int] = (BRAND,)
    states: dict[str, Consent] = field(default_factory=dict)
    """By key. Those of a bulk are their brand's template until another event comes."""
    events: dict[str, int] = field(default_factory=dict)
    """How many of each key."""
    opt_outs: list[OptOut] = field(default_factory=list)
    replaced: dict[str, float] = field(default_factory=dict)
    """When an opt-in followed an opt-out, by the latter's event; seconds since 1970."""
    published: int = 0
    """Records so far."""
    _codec: Codec = field(default_factory=Codec)
    _offsets: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    _began: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)
    )

    @property
    def topic(self) -> str:
        """Where decisions are published."""
        return self.settings.topics.decisions.name

    def key(self, number: int) -> str:
        """Return the key of a recipient by its number: its brand is one in turn."""
        brand = self.brands[number % len(self.brands)]
        return str(a_key(brand_code=brand, recipient=f"+90555{number:07d}"))

    def opt_in(self, numbers: Iterable[int]) -> None:
        """Have recipients without events opt in, as fast as bytes are copied."""
        for number in numbers:
            key = self.key(number)
            template = self._templates[number % len(self.brands)]
            partition = partition_of(key.encode(), self.settings.partitions)
            tail = template.tail.replace(_PLACEHOLDER.encode(), key.rpartition("/")[2].encode())
            offset = long_bytes(self._next_offset(partition, self.settings.topics.events.name))
            self._produce(key, partition, self._heads[partition] + offset + tail)
            self.states[key] = template.consent
            self.events[key] = 1
            if number % 1000 == 0:
                self._producer.poll(0)
        self._flush()

    def publish(self, *events: tuple[str, str]) -> None:
        """Have keys opt in or out, each a minute after their last event."""
        for key, status in events:
            number = self.events[key] = self.events.get(key, 0) + 1
            decision = self._decision(key, status, number, self._state(key))
            self.states[key] = decision.consent
            partition = partition_of(key.encode(), self.settings.partitions)
            topics = self.settings.topics
            lane = topics.express if status == "RET" else topics.events
            record = a_decision_record(
                decision,
                topic=lane.name,
                partition=partition,
                offset=self._next_offset(partition, lane.name),
            )
            self._note(key, decision)
            self._produce(key, partition, self._codec.encode("Decision", record))
        self._flush()

    def publish_junk(self, values: Iterable[bytes]) -> None:
        """Publish records that nobody has decided."""
        for value in values:
            self._producer.produce(self.topic, key=b"junk", value=value)
            self.published += 1
        self._flush()

    def poisonous(self, number: int) -> bytes:
        """Return a readable decision that PostgreSQL refuses: no index takes its key."""
        record = a_decision_record(self._decision(self.key(number), "ONAY", 1, None))
        # Each another one, for PostgreSQL compresses.
        long = "".join(sha256(f"{number} {part}".encode()).hexdigest() for part in range(200))
        record["event"]["recipient"] = record["consent"]["recipient"] = long
        return self._codec.encode("Decision", record)

    def publish_wild(self, number: int, random: Random) -> None:
        """Publish an opt-out of somebody who never opted in, whose event has wild instants."""
        key = str(a_key(brand_code=self.brands[0], recipient=f"{RECIPIENTS}{number:08d}"))
        decision = self._decision(key, "RET", 1, None)
        value = self._codec.encode("Decision", a_decision_record(decision))
        instant = long_bytes((decision.admitted.effective_at - EPOCH) // MILLISECOND)
        head, given, received = value.rsplit(instant, 2)
        wild = [long_bytes(random.choice(WILD)) for _ in range(2)]
        value = head + wild[0] + given + wild[1] + received
        self._produce(key, partition_of(key.encode(), self.settings.partitions), value)
        self._flush()

    def _note(self, key: str, decision: Decision) -> None:
        event, now = decision.admitted.event, time.time()
        if event.status == "ONAY":
            self.replaced.setdefault(f"{event.recipient}-{self.events[key] - 1}", now)
            return
        self.opt_outs.append(
            OptOut(
                key=key,
                event_id=event.event_id,
                consent_date=to_turkish(decision.admitted.effective_at),
                published_at=now,
            )
        )

    def _state(self, key: str) -> Consent | None:
        state = self.states.get(key)
        if state is None:
            return None
        of = ConsentKey.parse(key)
        return replace(state, key=of, event_id=state.event_id.replace(_PLACEHOLDER, of.recipient))

    def _decision(self, key: str, status: str, number: int, state: Consent | None) -> Decision:
        of, at = ConsentKey.parse(key), self._began + timedelta(minutes=number)
        event = an_event(
            event_id=f"{of.recipient}-{number}",
            brand_code=of.brand_code,
            recipient=of.recipient,
            status=status,
            consent_date=at,
            received_at=at,
        )
        decision = decide(state, as_admitted(event, datetime.now(UTC)))
        assert decision.kind is DecisionKind.APPLY
        return decision

    @cached_property
    def _producer(self) -> Producer:
        return clients.producer(self.settings, **{"queue.buffering.max.messages": 1_000_000})

    @cached_property
    def _templates(self) -> list[_Template]:
        found = []
        for brand in self.brands:
            key = str(a_key(brand_code=brand, recipient=_PLACEHOLDER))
            decision = self._decision(key, "ONAY", 1, None)
            _, tail = self._cut(decision, 0)
            found.append(_Template(consent=decision.consent, tail=tail))
        return found

    @cached_property
    def _heads(self) -> list[bytes]:
        """The bytes of a template before the event's offset, by partition."""
        decision = self._decision(self.key(0), "ONAY", 1, None)
        return [self._cut(decision, number)[0] for number in range(self.settings.partitions)]

    def _cut(self, decision: Decision, partition: int) -> tuple[bytes, bytes]:
        """Return the bytes of ``decision`` before and after the offset, which is one byte here."""
        one, other = (
            self._codec.encode(
                "Decision", a_decision_record(decision, partition=partition, offset=offset)
            )
            for offset in (0, 1)
        )
        (place,) = (at for at, byte in enumerate(one) if byte != other[at])
        return one[:place], one[place + 1 :]

    def _next_offset(self, partition: int, lane: str) -> int:
        self._offsets[lane, partition] += 1
        return self._offsets[lane, partition]

    def _produce(self, key: str, partition: int, value: bytes) -> None:
        self.published += 1
        self._producer.produce(self.topic, key=key.encode(), value=value, partition=partition)

    def _flush(self) -> None:
        assert self._producer.flush(60) == 0


@dataclass(kw_only=True)
class Traffic:
    """Publishes decisions until it is cancelled.

    There are always ``keys`` opt-ins outstanding, or so many recipients at all where
    ``is_refilled`` is False. Of the opt-outs half concern keys that are in flight at that moment,
    where there are any. Some recipients opt in again after a while, or at once where there are few.
    """

    source: DecisionSource
    database_url: str
    keys: int
    opt_outs: float
    """A second."""
    is_refilled: bool
    random: Random
    recipients: int = 0
    """How many there are so far."""
    outstanding: int = 0
    """The opt-ins that İYS had not judged yet when they were last counted."""
    unread: int = 1
    """The decisions of which the ledger did not know then."""

    _opted_out: list[tuple[float, str]] = field(default_factory=list)

    async def load(self) -> None:
        """Return when all opt-ins are in the ledger, from where nothing is submitted yet."""
        while self.unread or self.outstanding < self.keys:
            await self._count()
            await asyncio.sleep(_TICK)

    async def run(self) -> None:
        """Publish opt-outs, opt-ins after them, and refill the backlog, until cancelled."""
        began, published, counted_at = time.monotonic(), 0, time.monotonic()
        while True:
            due = int((time.monotonic() - began) * self.opt_outs) - published
            published += due
            in_flight = await self._ask(_IN_FLIGHT, count=due // 2 + due % 2)
            events = self._opt_outs(due, [key for (key,) in in_flight]) + self._opt_ins(due)
            await asyncio.to_thread(self.source.publish, *events)
            if time.monotonic() - counted_at > _LIMIT:
                counted_at = time.monotonic()
                await self._count()
            await asyncio.sleep(_TICK)

    async def _count(self) -> None:
        """Count what is outstanding, and refill it."""
        for pending, ingested in await self._ask(_PENDING, topic=self.source.topic):
            self.unread = self.source.published - ingested
            self.outstanding = pending + self.unread
            if self.is_refilled and self.outstanding < self.keys:
                await self.refill(self.keys - self.outstanding + _CHUNK)

    def _opt_outs(self, count: int, in_flight: list[str]) -> list[tuple[str, str]]:
        others = count - len(in_flight)
        anyone = [self.source.key(self.random.randrange(self.recipients)) for _ in range(others)]
        keys = {key for key in (*in_flight, *anyone) if self.source.states[key].status == "ONAY"}
        now = time.monotonic()
        self._opted_out += [(now, key) for key in keys]
        return [(key, "RET") for key in sorted(keys)]

    def _opt_ins(self, count: int) -> list[tuple[str, str]]:
        """Return opt-ins of a tenth as many recipients who have opted out."""
        again = _AGAIN if self.is_refilled else _TICK
        chosen: list[tuple[str, str]] = []
        while (
            self._opted_out
            and time.monotonic() - self._opted_out[0][0] > again
            and len(chosen) < (count + 9) // 10
        ):
            _, key = self._opted_out.pop(0)
            chosen.append((key, "ONAY"))
        return chosen

    async def refill(self, count: int) -> None:
        """Have so many more recipients opt in."""
        until = self.recipients + count
        await asyncio.to_thread(self.source.opt_in, range(self.recipients, until))
        self.recipients = until

    async def _ask(self, query: LiteralString, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none while PostgreSQL is away."""
        try:
            async with (
                asyncio.timeout(_LIMIT),
                await psycopg.AsyncConnection.connect(
                    self.database_url, autocommit=True, connect_timeout=2
                ) as connection,
            ):
                return await (await connection.execute(query, values)).fetchall()
        except (psycopg.Error, TimeoutError):
            return []
