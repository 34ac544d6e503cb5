"""Whatever İYS shows, it costs no movement beside it, and no process."""

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route

from izin.iys.client import IysClient
from izin.iys.wire_format.consents import BrandPath, MovementPage, Stream
from izin.iys.wire_format.json_reader import JsonReader, parse_json
from izin.schemas.records import event_from_avro
from izin.sinks.inbound.push import AcceptedCredentials, BrandCache, Credentials, PushReceiver
from izin.sinks.record.errors import LedgerUnavailableError
from tests.integration.sinks.sink_harness import InMemoryTopic, SinkHarness, a_phone
from tests.support.builders import BRAND
from tests.support.hostile.movements import HostileMovements, a_movement

pytestmark = pytest.mark.database

PAGES, OF = 50, 100


@pytest.mark.parametrize("seed", [1, 2])
async def test_hostile_movements_cost_no_neighbour_of_a_pull(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Each page has one opt-out amid ninety-nine items that may be anything."""
    hostile, bodies, opted_out = HostileMovements(seed), [], []
    for number in range(PAGES):
        items = [hostile.movement(a_phone(50_000 + number * OF + place)) for place in range(OF - 1)]
        opted_out.append(a_phone(number))
        items.insert(hostile.random.randrange(OF), a_movement(opted_out[-1]))
        bodies.append(hostile.page(items, str(min(number + 1, PAGES - 1))))

    async def changes(
        _client: IysClient, _brand: BrandPath, _stream: Stream, after: str | None
    ) -> MovementPage:
        return MovementPage.read(JsonReader(parse_json(bodies[int(after or 0)])))

    monkeypatch.setattr(IysClient, "changes", changes)
    published = await harness.pull(Stream.IYS)
    assert {event.recipient for event in published} >= set(opted_out)
    rows = await harness.ledger.fetch("SELECT recipient, registered FROM consents")
    registered = {row["recipient"]: row["registered"] for row in rows}
    assert {registered.get(one) for one in opted_out} == {"RET"}


def a_client(harness: SinkHarness, brands: BrandCache, topic: InMemoryTopic) -> httpx.AsyncClient:
    """Return İYS as a client of a push receiver that publishes to ``topic``."""
    receiver = PushReceiver(
        credentials=AcceptedCredentials(
            Credentials(username="iys", password=SecretStr("fake")),
            harness.ledger,
            clock=harness.clock,
        ),
        brands=brands,
        publisher=topic,  # type: ignore[arg-type]
        topic_messages=harness.context.topic_messages,
        clock=harness.clock,
        count=lambda _: None,
        count_refused=lambda _: None,
    )
    app = Starlette(routes=[Route("/push", receiver.__call__, methods=["POST"])])
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://sink", auth=("iys", "fake")
    )


@pytest.mark.parametrize("seed", [1, 2])
async def test_hostile_movements_cost_no_neighbour_of_a_push(harness: SinkHarness, seed: int):
    """Whatever is beside an opt-out in a push, it is published; the rest is dead-lettered."""
    hostile, topic = HostileMovements(seed), InMemoryTopic()
    async with a_client(harness, BrandCache(harness.ledger), topic) as client:
        for number in range(PAGES):
            items = [hostile.movement(a_phone(50_000 + place)) for place in range(OF - 1)]
            items.insert(hostile.random.randrange(OF), a_movement(a_phone(number)))
            answer = await client.post("/push", content=hostile.page(items, "0"))
            assert answer.status_code == 200
    express = harness.context.topic_messages.topics.express.name
    published = {
        event_from_avro(harness.codec.decode("ConsentEvent", one.value)).recipient
        for one in topic.messages
        if one.topic == express
    }
    assert published >= {a_phone(number) for number in range(PAGES)}
    assert len(topic.messages) == PAGES * OF


async def test_push_of_a_known_brand_does_not_wait_for_the_ledger(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """A movement of a brand that may be new is pushed again; its neighbour is published."""
    brands, topic = BrandCache(harness.ledger), InMemoryTopic()
    await brands.refresh()

    async def away() -> None:
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(brands, "refresh", away)
    async with a_client(harness, brands, topic) as client:
        new = {**a_movement(a_phone(1)), "brandCode": BRAND + 1}
        items = [new, a_movement(a_phone(2)), "none"]
        answer = await client.post("/push", json={"list": items})
    assert answer.status_code == 503
    assert [one.topic for one in topic.messages] == [
        harness.context.topic_messages.topics.express.name
    ]
