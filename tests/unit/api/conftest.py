"""An API over a ledger, a log and a publisher in memory."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from structlog.testing import capture_logs

from izin.api.endpoint import ApiEndpoint, routes_of
from izin.consent import ConsentEvent, ConsentKey, decide
from izin.feeds.protocol import LogRecord, Stretch
from izin.kafka.bounded_reader import OffsetGoneError
from izin.kafka.tables.api_keys import ApiKeyDirectory
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.ledger.history import history_codec
from izin.ledger.record import ConsentRow, LedgerUnavailableError
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import public_app
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.records import ID
from izin.schemas.topics import Topics
from tests.support.builders import (
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    a_key,
    an_api_key,
    an_event,
    as_admitted,
    kafka_message,
    known,
    usual,
)
from tests.unit.producers.conftest import FakePublisher

TOPICS = Topics()
CONFIRMED = "2026-03-02T09:04:00Z"
LATER = NOON + timedelta(minutes=5)
"""When requests come."""
FOREIGN_BRAND, FOREIGN = 200001, "beta"
BOTH = an_api_key(scopes=frozenset({Scope.PUBLISH.value, Scope.ASK.value}))


def a_row(**overrides: object) -> ConsentRow:
    """Return the row of the ONAY of ``an_event``, which waits to be sent."""
    return ConsentRow(
        **usual(
            overrides,
            key=str(a_key(brand_code=overrides.get("brand_code", BRAND))),
            customer_id=CUSTOMER,
            brand_code=BRAND,
            channel="MESAJ",
            recipient_type="BIREYSEL",
            recipient=PHONE,
            desired_status="ONAY",
            desired_at=NOON,
            desired_rank=0,
            desired_event_id="event-1",
            desired_origin="web",
            desired_source="HS_WEB",
            desired_consent_date=NOON,
            state="pending",
            due_at=NOON + timedelta(days=3),
            updated_at=NOON,
        )
    )


def a_fact(kind: str, data: Mapping[str, Any], **overrides: object) -> dict[str, Any]:
    """Return an entry of the history, as its query returns it."""
    return usual(
        overrides,
        shard=0,
        place=1,
        kind=kind,
        customer_id=CUSTOMER,
        key=str(a_key()),
        event_id="event-1",
        status="ONAY",
        source="any",
        occurred_at=NOON,
        recorded_at=NOON,
        data=orjson.loads(orjson.dumps(data)),
        decision=None,
    )


def a_decision(event: ConsentEvent) -> dict[str, Any]:
    """Return the entry of the decision on ``event``, the first of its key."""
    record = a_decision_record(decide(None, as_admitted(event, NOON)))
    encoded = history_codec().encode("Decision", record)
    return a_fact("decision", {}, event_id=None, status=None, source=None, decision=encoded)


@dataclass
class FakeLedger:
    """Rows and entries by key; it takes no writes, so no look is recorded, where no test asks for
    it.
    """

    rows: dict[str, ConsentRow] = field(default_factory=dict)
    facts: defaultdict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    is_away: bool = False
    takes_writes: bool = False
    asked: list[str] = field(default_factory=list)
    """The keys that were read."""

    def put(self, *rows: ConsentRow) -> None:
        """Store rows."""
        self.rows |= {row.key: row for row in rows}

    async def fetch(self, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows, or the entries, of keys."""
        if self.is_away:
            raise LedgerUnavailableError("away")
        self.asked += values["keys"]
        if "JOIN history" in query:
            return [fact for key in values["keys"] for fact in self.facts[key]]
        return [vars(self.rows[key]) for key in values["keys"] if key in self.rows]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Refuse to write."""
        if not self.takes_writes:
            raise LedgerUnavailableError("takes no writes")
        yield


@dataclass
class FakeLog:
    """The input topics: records by topic and partition."""

    records: defaultdict[tuple[str, int], list[LogRecord]] = field(
        default_factory=lambda: defaultdict(list)
    )
    error: Exception | None = None

    def write(self, event_id: str, key: ConsentKey | str) -> str:
        """Append an event; return its token."""
        log = self.records[TOPICS.events.name, 0]
        at = LogPosition(TOPICS.events.name, 0, len(log))
        headers = [(ID, event_id.encode())]
        log.append(
            LogRecord(kafka_message(offset=at.offset, key=str(key).encode(), headers=headers))
        )
        return token_of([at])

    async def read(
        self, topic: str, starts: Mapping[int, int], most: int, *, name: str
    ) -> Mapping[int, Stretch]:
        """Return the records from an offset on."""
        assert name
        if self.error is not None:
            raise self.error
        found = {}
        for number, offset in starts.items():
            log = self.records[topic, number]
            if offset > len(log):
                raise OffsetGoneError
            found[number] = Stretch(log[offset : offset + most], offset + most, is_last=True)
        return found


@dataclass
class Api:
    """What a test changes, and the client."""

    client: httpx.AsyncClient
    ledger: FakeLedger
    log: FakeLog
    publisher: FakePublisher
    brands: BrandDirectory
    endpoint: ApiEndpoint

    async def event(self, event_id: str, token: str) -> httpx.Response:
        """Ask what became of an event."""
        return await self.client.get(f"/v1/events/{event_id}", params={"token": token})

    async def lookup(self, **body: object) -> httpx.Response:
        """Look up a recipient."""
        return await self.client.post("/v1/consents/lookup", json={"recipient": PHONE} | body)

    async def confirm(self, **body: object) -> httpx.Response:
        """Report that the consent of an event was confirmed to the person."""
        given = {"recipient": PHONE, "event_id": "event-1", "confirmed_at": CONFIRMED} | body
        return await self.client.post("/v1/consents/confirmation", json=given)

    async def change(self, **body: object) -> httpx.Response:
        """Say that a recipient has changed."""
        given = {"recipient": PHONE, "new_recipient": "0555 000 00 02"} | body
        return await self.client.post("/v1/recipients/change", json=given)

    def decided(self, **overrides: object) -> str:
        """Store an event with its decision; return its token."""
        event, key = an_event(**overrides), a_key()
        self.ledger.facts[str(key)].append(a_decision(event))
        return self.log.write(event.event_id, key)

    def away(self) -> None:
        """Let Kafka answer no read."""
        self.log.error = BrokerError("away")


def a_brand(brand_code: int, customer_id: str) -> RegisteredBrand:
    """Return a brand of a customer."""
    return RegisteredBrand(
        brand_code=brand_code, iys_code=brand_code, customer_id=customer_id, name="Example"
    )


@asynccontextmanager
async def serving(
    *keys: ApiKey, clock: datetime = LATER, directory: ApiKeyDirectory | None = None
) -> AsyncIterator[Api]:
    """Serve an API to whoever has one of ``keys``, with a brand of theirs and a foreign one."""
    ledger, log, publisher = FakeLedger(), FakeLog(), FakePublisher(lambda: clock)
    brands = BrandDirectory([a_brand(BRAND, CUSTOMER), a_brand(FOREIGN_BRAND, FOREIGN)])
    endpoint = ApiEndpoint(
        ledger=ledger,  # type: ignore[arg-type]
        records=log,  # type: ignore[arg-type]
        publisher=publisher,
        brands=brands,
        keys=directory or known(*(keys or (BOTH,))),
        digests=SuppressionKeys(),
        via_a_day=3,
        partitions={TOPICS.events.name: 2, TOPICS.express.name: 2},
        clock=lambda: clock,
    )
    transport = httpx.ASGITransport(public_app(routes_of(endpoint), dict))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=AUTHORIZATION
    ) as client:
        yield Api(client, ledger, log, publisher, brands, endpoint)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """Give what is logged meanwhile, which has no recipient."""
    with capture_logs() as found:
        yield found
    assert not [one for one in found if PHONE[3:] in str(one)]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Serve an API to a key that may publish and ask."""
    async with serving() as one:
        yield one
