"""A ledger of a given size to measure the sinks on, and what fills it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any

import psycopg
from pydantic import SecretStr

from izin.consent.admission import Refusal, admit
from izin.consent.clocks import BrandClock, terms
from izin.consent.model import ConsentEvent, ConsentKey, Status
from izin.consent.ordering import decide
from izin.runtime.settings import LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro, event_to_avro
from izin.schemas.topics import Topics
from izin.sinks.ingest.ingester import BATCH, Ingester, most_after
from izin.sinks.ledger import brands, offsets
from izin.sinks.ledger.brands import Brand
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.migrate import migrate
from izin.sinks.record.messages import Announcer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from izin.runtime.settings import KafkaSettings

BRANDS = (100001, 100002)
_ACTIVATED = datetime(2020, 1, 1, tzinfo=UTC)
_MOMENTS = 3600
_CUSTOMER = "acme"
_TOPIC = "consent-decisions"
_IDENTITY = {"cluster_id": "bench", "topic_id": "bench"}

_SQL = resources.files("izin.bench")


@dataclass(kw_only=True)
class Filled:
    """A ledger with its brands and ``keys`` settled keys, and what tells decisions to it."""

    ledger: Ledger
    announcer: Announcer
    codec: Codec
    ingester: Ingester
    said: int = 0
    owed: int = 0
    offset: int = 0
    _began: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    )

    def decisions(self, count: int) -> list[bytes]:
        """Return so many decisions on recipients nobody has spoken of, as the topic holds them."""
        return [self._decision(number) for number in self._numbers(count)]

    def changes(self, count: int) -> list[bytes]:
        """Return so many decisions on the first settled keys: each says no, and yes again."""
        keys = [
            f"{code}/MESAJ/BIREYSEL/+9054{number:08d}"
            for number in range(1, count // 4 + 1)
            for code in BRANDS
        ]
        return [
            self._decided(_said(key, status, self._began + timedelta(seconds=later)), place)
            for later, status in enumerate(("RET", "ONAY"))
            for place, key in enumerate(keys, start=self.said + later * len(keys))
        ]

    async def ingest(self, values: Sequence[bytes]) -> None:
        """Read and ingest decisions, as many a transaction as the ingester takes, the next read
        while one is written, as it does.
        """
        place = most = BATCH
        coming = asyncio.create_task(self.ingester.read(values[:place]))
        while reads := await coming:
            following = values[place : place + most]
            place += len(following)
            coming = asyncio.create_task(self.ingester.read(following))
            before, self.offset = self.offset, self.offset + len(reads)
            ruled = await self.ingester.keep(_TOPIC, "bench", reads, {0: (before, self.offset)})
            most = most_after(ruled, len(reads))

    async def say_no(self, key: str, at: datetime) -> None:
        """Have the recipient of ``key`` say no now, decided and ingested."""
        await self.ingest([self._decided(_said(key, "RET", at), self.offset)])

    async def owe(self, url: str, count: int) -> None:
        """Have the ledger owe İYS so many consents, as if they had been ingested."""
        each = count // len(BRANDS)
        first, self.owed = self.owed + 1, self.owed + each
        statement, said = (_SQL / "owe.sql").read_text("utf-8"), moments()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for code in BRANDS:
                values = {"brand": code, "first": first, "last": self.owed} | said
                await connection.execute(statement.encode(), values)
            await connection.execute("VACUUM ANALYZE consents")

    async def begin(self) -> None:
        """Make the topic known, so that its offsets can move."""
        await offsets.positions(self.ledger, _TOPIC, [0], **_IDENTITY)

    def _numbers(self, count: int) -> Iterator[int]:
        self.said += count
        yield from range(self.said - count, self.said)

    def _decision(self, number: int) -> bytes:
        event = ConsentEvent(
            event_id=f"bench-{number}",
            customer_id=_CUSTOMER,
            brand_code=BRANDS[number % len(BRANDS)],
            type="MESAJ",
            recipient_type="BIREYSEL",
            recipient=f"+90555{number:07d}",
            status="ONAY",
            source="HS_WEB",
            consent_date=self._began,
            received_at=self._began + timedelta(seconds=2),
            origin="crm",
            origin_ref=f"row-{number}",
            notice_version="2026-1",
            evidence={"ip": "192.0.2.1", "agent": "example"},
        )
        return self._decided(event, number)

    def _decided(self, event: ConsentEvent, offset: int) -> bytes:
        claim = admit(event, appended_at=datetime.now(UTC))
        if isinstance(claim, Refusal):
            raise TypeError(f"the course is not lawful: {claim.violations}")
        decision = decide(None, claim)
        record = {
            "kind": decision.kind,
            "reason": decision.reason,
            "opted_out": decision.opted_out,
            "effective_at": claim.effective_at,
            "violations": [],
            "topic": "consent-events",
            "partition": 0,
            "offset": offset,
            "consent": consent_to_avro(decision.consent),
            "event": event_to_avro(claim.event),
        }
        return self.codec.encode("Decision", record)


def moments() -> dict[str, Any]:
    """Return the seconds of an hour of today, and the terms of what is said in each."""
    now = datetime.now(UTC).replace(microsecond=0)
    said = [now - timedelta(seconds=_MOMENTS - number) for number in range(_MOMENTS)]
    clock = BrandClock(activated_at=_ACTIVATED)
    ends = [terms(at, clock, status=Status.ONAY, now=now) for at in said]
    return {
        "moments": _MOMENTS,
        "said": said,
        "due": [due for due, _ in ends],
        "expires": [expires for _, expires in ends],
    }


def _said(key: str, status: str, at: datetime) -> ConsentEvent:
    """Return what the recipient of ``key`` says at ``at``."""
    whose = ConsentKey.parse(key)
    return ConsentEvent(
        event_id=f"{status}-{key}",
        customer_id=_CUSTOMER,
        brand_code=whose.brand_code,
        type=whose.channel,
        recipient_type=whose.recipient_type,
        recipient=whose.recipient,
        status=status,
        source="HS_WEB",
        consent_date=at,
        received_at=at,
        origin="web",
        notice_version="2026-1",
    )


@asynccontextmanager
async def filled(url: str, settings: KafkaSettings, *, keys: int) -> AsyncIterator[Filled]:
    """Give a migrated ledger at ``url`` with so many settled keys."""
    await migrate(url)
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        codec = Codec()
        announcer = Announcer(codec, Topics())
        for code in BRANDS:
            brand = Brand(
                brand_code=code,
                iys_code=BRANDS[0],
                customer_id=_CUSTOMER,
                name="Örnek",
                activated_at=_ACTIVATED,
            )
            await brands.upsert(ledger, announcer, brand, now=datetime.now(UTC))
        statement = (_SQL / "fill.sql").read_text("utf-8")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for code in BRANDS:
                values = {"brand": code, "count": keys // len(BRANDS)}
                await connection.execute(statement.encode(), values)
            await connection.execute("VACUUM ANALYZE consents")
        ingester = Ingester(
            ledger=ledger,
            announcer=announcer,
            codec=codec,
            settings=settings,
            clock=lambda: datetime.now(UTC),
            wait=timedelta(seconds=0.1),
        )
        found = Filled(ledger=ledger, announcer=announcer, codec=codec, ingester=ingester)
        await found.begin()
        yield found
