"""A gate over a state in memory.

A state of the gate that a test writes, and a topic of receipts in memory.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from izin.consent import Channel, ConsentKey
from izin.consent.may_send import PermissionReason, unregistered
from izin.gate.metrics import GateMetrics
from izin.gate.receipts import ReceiptRecord
from izin.gate.server import GateEndpoint, routes_of as gate_routes
from izin.gate.state import ForeignTokenError, KeyFacts
from izin.kafka.tables.api_keys import ApiKeyDirectory
from izin.kafka.tables.brand_directory import RegisteredBrand
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import public_app
from izin.runtime.settings import GateSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition
from izin.schemas.may_send_api import PATH
from izin.schemas.partitioning import partition_of
from izin.schemas.topics import Topics
from tests.support.builders import (
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_key,
    an_api_key,
    known,
)

SENDER = an_api_key(name="campaigns", scopes=frozenset({Scope.ASK.value}))
CODEC = Codec()
TOPICS = Topics()
FOREIGN_BRAND = 200001
"""Of the customer ``beta``."""
PARTITIONS = 4


def key_facts_of(
    reason: PermissionReason = PermissionReason.REGISTERED,
    *,
    opted_out: bool = False,
    retailers: Iterable[int] = (),
) -> KeyFacts:
    """Return what is known of a key: İYS holds a consent, unless a test says otherwise."""
    return KeyFacts(reason=reason, opted_out=opted_out, retailers=frozenset(retailers))


def a_brand(
    customer_id: str = CUSTOMER, status: str = "active", suspension: str | None = None
) -> RegisteredBrand:
    """Return a brand of which the gate uses these fields alone."""
    return RegisteredBrand(
        brand_code=0,
        iys_code=0,
        customer_id=customer_id,
        name="",
        status=status,
        suspension=suspension,
    )


@dataclass
class FakeState:
    """A state that is current, of two brands of two customers, and of no key."""

    states: dict[str, KeyFacts] = field(default_factory=dict)
    """By canonical key."""
    known_brands: dict[int, RegisteredBrand] = field(
        default_factory=lambda: {
            BRAND: a_brand(),
            FOREIGN_BRAND: a_brand("beta"),
        }
    )
    pulled: dict[tuple[int, Channel], datetime] = field(default_factory=dict)
    pulled_at: datetime | None = NOON
    """Of every channel that ``pulled`` lacks."""
    behind: set[int] = field(default_factory=set)
    """The partitions that are not current."""
    read: int = 7
    """The last offset of each lane's partitions."""
    waited: list[float] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    """Its faults."""

    def put(self, key_facts: KeyFacts, **of: object) -> None:
        """Set what is known of the key of ``of``."""
        self.states[str(a_key(**of))] = key_facts

    def of_key(self, key: ConsentKey) -> KeyFacts:
        """Return what is known of a key."""
        nothing = key_facts_of(unregistered(key.recipient_type))
        return self.states.get(str(key), nothing)

    def partition_of(self, key: ConsentKey) -> int:
        """Return the partition of a key."""
        return partition_of(key.encode(), PARTITIONS)

    def is_current(self, partition: int) -> bool:
        """Whether a partition is current."""
        return partition not in self.behind

    def brand(self, brand_code: int) -> RegisteredBrand | None:
        """Return a brand."""
        return self.known_brands.get(brand_code)

    def brands(self) -> Mapping[int, RegisteredBrand]:
        """Return every brand."""
        return self.known_brands

    def iys_pulled_at(self, brand_code: int, channel: Channel) -> datetime | None:
        """Return when İYS was pulled."""
        return self.pulled.get((brand_code, channel), self.pulled_at)

    def positions(self, partitions: Iterable[int] | None = None) -> list[LogPosition]:
        """Return how far both lanes were read."""
        numbers = range(PARTITIONS) if partitions is None else sorted(partitions)
        lanes = (TOPICS.events.name, TOPICS.express.name)
        return [LogPosition(lane, number, self.read) for lane in lanes for number in numbers]

    async def reached(self, token: Sequence[LogPosition], within: float) -> bool:
        """Return whether what a token names was read."""
        self.waited.append(within)
        if any(topic not in {TOPICS.events.name, TOPICS.express.name} for topic, _, _ in token):
            raise ForeignTokenError
        return all(offset <= self.read for _, _, offset in token)

    def faults(self) -> Mapping[str, str]:
        """Return the faults."""
        return self.said

    def counts(self) -> SimpleNamespace:
        """Return some counts."""
        return SimpleNamespace(keys=len(self.states), undecided=1, unreadable=0, bytes=25)


@dataclass
class FakeReceipts:
    """Keeps the receipts that are written."""

    written: list[dict[str, Any]] = field(default_factory=list)
    records: list[ReceiptRecord] = field(default_factory=list)
    is_away: bool = False

    async def write(self, records: Iterable[ReceiptRecord]) -> None:
        """Take receipts, or raise BrokerError."""
        if self.is_away:
            raise BrokerError("away")
        for one in records:
            self.records.append(one)
            self.written.append(dict(CODEC.decode("GateReceipt", one.value)))


LATER = NOON + timedelta(minutes=1)
"""When questions are asked."""


def a_question(**overrides: object) -> dict[str, object]:
    """Return a question about one recipient."""
    return {"brand_code": BRAND, "type": "MESAJ", "recipients": [PHONE]} | overrides


@dataclass
class Api:
    """What a test changes, and the client."""

    client: httpx.AsyncClient
    state: FakeState
    receipts: FakeReceipts
    gate: GateEndpoint
    now: list[datetime]
    loaded: list[bool]

    async def ask(self, **overrides: object) -> httpx.Response:
        """Ask a question."""
        return await self.client.post(PATH, json=a_question(**overrides))

    async def answer(self, **overrides: object) -> dict[str, Any]:
        """Return the answer to a question."""
        response = await self.ask(**overrides)
        assert response.status_code == 200, response.text
        return response.json()

    async def said(self, **overrides: object) -> tuple[bool, str]:
        """Return the verdict on one recipient."""
        (one,) = (await self.answer(**overrides))["verdicts"]
        return one["may_send"], one["reason"]

    def metric(self, name: str, **labels: str) -> float | None:
        """Return a metric."""
        return self.gate.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def serving(keys: ApiKeyDirectory | None = None, **settings: object) -> AsyncIterator[Api]:
    """Serve a gate to whoever has a key of ``keys``."""
    state, receipts, now, loaded = FakeState(), FakeReceipts(), [LATER], [True]
    given = GateSettings.model_validate(settings)
    gate = GateEndpoint(
        state=state,  # type: ignore[arg-type]
        is_loaded=lambda: loaded[0],
        keys=keys or known(SENDER),
        receipts=receipts,  # type: ignore[arg-type]
        codec=CODEC,
        settings=given,
        metrics=GateMetrics(state, given, lambda: now[0]),  # type: ignore[arg-type]
        clock=lambda: now[0],
        chance=bytes,
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(public_app(gate_routes(gate), state.faults)),
        base_url="http://gate",
        headers=AUTHORIZATION,
    ) as client:
        yield Api(client, state, receipts, gate, now, loaded)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Serve a gate to a sender."""
    async with serving() as one:
        yield one
