"""A ledger of a given size for the benchmarks of the sink, and decisions to ingest into it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from random import Random
from typing import Any

import psycopg
from pydantic import SecretStr

from izin.consent import (
    BrandTerms,
    ConsentEvent,
    ConsentKey,
    RefusedEvent,
    Status,
    admit,
    decide,
    due_and_expiry,
)
from izin.ledger import brands, offsets
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import Brand, TopicMessages
from izin.ledger.registry import customers
from izin.runtime.process import with_pauses
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro, event_to_avro
from izin.sinks.ingest.batch import FEW, most_after
from izin.sinks.ingest.decision_reader import IncomingDecision
from izin.sinks.ingest.ingester import Ingester

BRANDS = (100001, 100002)
_ACTIVATED = datetime(2020, 1, 1, tzinfo=UTC)
_INSTANTS = 3600
_CUSTOMER = "acme"
_TOPIC = "consent-decisions"
_IDENTITY = {"cluster_id": "bench", "topic_id": "bench"}


@dataclass(kw_only=True)
class SinkFixture:
    """A ledger with its brands and settled keys, and the decisions to ingest into it."""

    ledger: Ledger
    topic_messages: TopicMessages
    codec: Codec
    ingester: Ingester
    decided: int = 0
    pending: int = 0
    settled: int = 0
    """Settled keys of each brand."""
    offset: int = 0
    _began: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    )

    def keys(self, count: int) -> list[str]:
        """Return the keys of the first ``count`` new recipients."""
        return [
            f"{BRANDS[number % len(BRANDS)]}/MESAJ/BIREYSEL/{_recipient(number)}"
            for number in range(count)
        ]

    def decisions(self, count: int) -> list[bytes]:
        """Return ``count`` decisions about new recipients, as records of the topic."""
        return [self._decision(number) for number in self._numbers(count)]

    def changes(self, count: int) -> list[bytes]:
        """Return ``count`` decisions about the first settled keys: each opts out, then in again."""
        keys = [
            f"{code}/MESAJ/BIREYSEL/+9054{number:08d}"
            for number in range(1, count // 4 + 1)
            for code in BRANDS
        ]
        return [
            self._encode(event_of(key, status, self._began + timedelta(seconds=later)), place)
            for later, status in enumerate(("RET", "ONAY"))
            for place, key in enumerate(keys, start=self.decided + later * len(keys))
        ]

    def spread_keys(self, count: int, random: Random) -> list[str]:
        """Return ``count`` settled keys, spread at random over all of them."""
        numbers = random.sample(range(self.settled * len(BRANDS)), count)
        return [
            f"{BRANDS[number % len(BRANDS)]}/MESAJ/BIREYSEL/+9054{1 + number // len(BRANDS):08d}"
            for number in numbers
        ]

    def decisions_on(self, changes: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return decisions that set each key to its status, in this order, at instants of the last
        hour.
        """
        first = self.decided
        self.decided += len(changes)
        return [
            self._encode(
                event_of(key, status, self._began + timedelta(seconds=place % _INSTANTS)),
                first + place,
            )
            for place, (key, status) in enumerate(changes)
        ]

    async def ingest(self, values: Sequence[bytes]) -> None:
        """Read and ingest decisions, as many per transaction as the ingester takes.

        As in the worker, the next ones are read while the last are written.
        """
        place = most = FEW
        loop = asyncio.get_running_loop()
        coming = asyncio.create_task(self._read(values[:place]))
        while reads := await coming:
            following = values[place : place + most]
            place += len(following)
            coming = asyncio.create_task(self._read(following))
            before, self.offset = self.offset, self.offset + len(reads)
            began = loop.time()
            await self.ingester.store(_TOPIC, "bench", reads, {0: (before, self.offset)})
            most = most_after(most, len(reads), loop.time() - began)

    async def _read(self, values: Sequence[bytes]) -> list[IncomingDecision]:
        return [self.ingester.decisions.read(value) async for value in with_pauses(values)]

    async def opt_out(self, key: str, at: datetime) -> None:
        """Decide and ingest a RET of the recipient of ``key``."""
        await self.ingest([self._encode(event_of(key, "RET", at), self.offset)])

    async def add_pending(self, url: str, count: int) -> None:
        """Add ``count`` consents that are due to İYS, as if they had been ingested."""
        each = count // len(BRANDS)
        first, self.pending = self.pending + 1, self.pending + each
        values = {"first": first, "last": self.pending} | consent_instants()
        await for_each_brand(url, "pending_consents.sql", values)

    async def begin(self) -> None:
        """Register the topic, so that its offsets can be stored."""
        await offsets.positions(self.ledger, _TOPIC, [0], **_IDENTITY)

    def _numbers(self, count: int) -> Iterator[int]:
        self.decided += count
        yield from range(self.decided - count, self.decided)

    def _decision(self, number: int) -> bytes:
        event = ConsentEvent(
            event_id=f"bench-{number}",
            customer_id=_CUSTOMER,
            brand_code=BRANDS[number % len(BRANDS)],
            type="MESAJ",
            recipient_type="BIREYSEL",
            recipient=_recipient(number),
            status="ONAY",
            source="HS_WEB",
            consent_date=self._began,
            received_at=self._began + timedelta(seconds=2),
            origin="crm",
            origin_ref=f"row-{number}",
            notice_version="2026-1",
            evidence={"ip": "192.0.2.1", "agent": "example"},
        )
        return self._encode(event, number)

    def _encode(self, event: ConsentEvent, offset: int) -> bytes:
        admitted = admit(event, appended_at=datetime.now(UTC))
        if isinstance(admitted, RefusedEvent):
            raise TypeError(f"the event is not admissible: {admitted.violations}")
        decision = decide(None, admitted)
        record = {
            "kind": decision.kind,
            "reason": decision.reason,
            "opted_out": decision.opted_out,
            "effective_at": admitted.effective_at,
            "violations": [],
            "topic": "consent-events",
            "partition": 0,
            "offset": offset,
            "consent": consent_to_avro(decision.consent),
            "event": event_to_avro(admitted.event),
        }
        return self.codec.encode("Decision", record)


def _recipient(number: int) -> str:
    """Return the phone number of a new recipient."""
    return f"+90555{number:07d}"


def consent_instants() -> dict[str, Any]:
    """Return the seconds of the hour before now, and the terms of a consent given in each."""
    now = datetime.now(UTC).replace(microsecond=0)
    instants = [now - timedelta(seconds=_INSTANTS - number) for number in range(_INSTANTS)]
    clock = BrandTerms(activated_at=_ACTIVATED)
    ends = [due_and_expiry(at, clock, status=Status.ONAY, now=now) for at in instants]
    return {
        "instant_count": _INSTANTS,
        "instants": instants,
        "due": [due for due, _ in ends],
        "expires": [expires for _, expires in ends],
    }


async def for_each_brand(url: str, file: str, values: Mapping[str, Any]) -> None:
    """Execute the statement in ``file``, which takes a ``brand`` beside ``values``, for each."""
    statement = (resources.files("benchmarks.sink") / file).read_text("utf-8")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for code in BRANDS:
            await connection.execute(statement.encode(), {"brand": code, **values})
        await connection.execute("VACUUM ANALYZE consents")


def event_of(key: str, status: str, at: datetime) -> ConsentEvent:
    """Return the event that sets ``key`` to ``status`` at ``at``."""
    parsed = ConsentKey.parse(key)
    return ConsentEvent(
        event_id=f"{status}-{key}",
        customer_id=_CUSTOMER,
        brand_code=parsed.brand_code,
        type=parsed.channel,
        recipient_type=parsed.recipient_type,
        recipient=parsed.recipient,
        status=status,
        source="HS_WEB",
        consent_date=at,
        received_at=at,
        origin="web",
        notice_version="2026-1",
    )


@asynccontextmanager
async def sink_fixture(
    url: str, settings: KafkaSettings, *, keys: int, codec: Codec | None = None
) -> AsyncIterator[SinkFixture]:
    """Yield a migrated ledger at ``url`` with ``keys`` settled keys.

    A ``codec`` of None frames values for no schema registry.
    """
    await migrate(url)
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        codec = codec or Codec()
        topic_messages = TopicMessages(codec, settings.topics)
        await customers.add(ledger, _CUSTOMER, "Örnek", by="benchmark", now=datetime.now(UTC))
        for code in BRANDS:
            brand = Brand(
                brand_code=code,
                iys_code=BRANDS[0],
                customer_id=_CUSTOMER,
                name="Örnek",
                activated_at=_ACTIVATED,
            )
            await brands.upsert(
                ledger, topic_messages, brand, by="benchmark", now=datetime.now(UTC)
            )
        await for_each_brand(url, "settled_consents.sql", {"count": keys // len(BRANDS)})
        ingester = Ingester(
            ledger=ledger,
            topic_messages=topic_messages,
            codec=codec,
            settings=settings,
            clock=lambda: datetime.now(UTC),
            wait=timedelta(seconds=0.1),
        )
        fixture = SinkFixture(
            ledger=ledger,
            topic_messages=topic_messages,
            codec=codec,
            ingester=ingester,
            settled=keys // len(BRANDS),
        )
        await fixture.begin()
        yield fixture
