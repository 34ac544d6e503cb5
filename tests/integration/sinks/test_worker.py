"""Kafka, push and pull: what İYS originates reaches the topics, and what it did is told."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from confluent_kafka import Producer
from pydantic import SecretStr

from izin.iys.wire_format.consents import Stream
from izin.runtime.kafka import consumer
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings, SinkSettings
from izin.schemas.codec import Codec
from izin.sinks.inbound.pull import Puller
from izin.sinks.ingest import ingester
from izin.sinks.ingest.decision_reader import Read
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.notifications import Notifications
from izin.sinks.publish.outbox_relay import OutboxRelay
from izin.sinks.publish.publisher import Publisher
from izin.sinks.record.messages import TopicMessages
from izin.sinks.worker import serve
from tests.integration.sinks.sink_harness import House, Twin, a_phone, onay, ret, until
from tests.support.builders import BRAND, PHONE

pytestmark = [pytest.mark.database, pytest.mark.broker]

PUSH = ("iys", "fake-password")


def written(
    settings: KafkaSettings, topic: str, record: str, count: int
) -> list[dict[str, object]]:
    """Return the first ``count`` records of a topic; fail if they do not come."""
    client = consumer(settings, f"test-{time.time_ns()}")
    client.subscribe([topic])
    found: list[dict[str, object]] = []
    give_up_at = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < give_up_at, f"{len(found)} of {count} records of {topic}"
        message = client.poll(0.2)
        if message is not None and message.error() is None:
            found.append(Codec().decode(record, message.value() or b""))
    client.close()
    return found


def put(settings: KafkaSettings, *reads_: Read) -> None:
    """Write decisions to the topic, as the order stage does."""
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    for read in reads_:
        producer.produce(settings.topics.decisions.name, key=read.key.encode(), value=read.value)
    producer.flush(10)


async def test_decisions_are_ingested_from_the_ledgers_own_offsets(
    house: House, kafka_settings: KafkaSettings
):
    """What is read once is not read again, by whichever reader; a rewind changes nothing."""
    reads_ = house.decided(onay(PHONE), onay(a_phone(2)), ret(PHONE))
    put(kafka_settings, *reads_)
    ingester = replace(house.ingester, settings=kafka_settings)
    reader = await ingester.open()
    seen = 0
    async with asyncio.timeout(20):
        while seen < 3:
            seen += await reader.step(timedelta(seconds=0.5))
    await reader.close()
    assert (await house.entry()).desired_status == "RET"
    again = await ingester.open()
    assert await again.step(timedelta(seconds=0.5)) == 0
    await again.close()


async def test_the_outbox_is_delivered_in_order_and_leaves_the_ledger(
    house: House, kafka_settings: KafkaSettings
):
    """Outcomes of a key arrive in the order in which they were reached."""
    tools = replace(house.tools, topic_messages=TopicMessages(house.codec, kafka_settings.topics))
    house.tools = tools
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    await house.scheduler.opt_out()
    await house.ledger.fetch("DELETE FROM outbox WHERE topic LIKE 'brands%' RETURNING id")
    relay = OutboxRelay(
        ledger=house.ledger,
        settings=kafka_settings,
        notifications=Notifications(),
        clock=tools.clock,
        wait=timedelta(seconds=1),
    )
    client = await relay.open()
    assert await relay.deliver(client)
    assert not await relay.deliver(client)
    outcomes = written(kafka_settings, kafka_settings.topics.outcomes.name, "Outcome", 2)
    assert [(one["status"], one["outcome"]) for one in outcomes] == [
        ("ONAY", "accepted"),
        ("RET", "accepted"),
    ]
    permissions = written(kafka_settings, kafka_settings.topics.permissions.name, "Permission", 3)
    assert [one["may_send"] for one in permissions] == [False, True, False]
    history = await reads.history(house.ledger, PHONE)
    assert "delivery" in {fact.kind for fact in history.facts}


async def test_pull_publishes_what_citizens_did_and_only_verifies_what_we_told(
    house: House, kafka_settings: KafkaSettings
):
    """A citizen's RET is published; the ONAY that we wrote ourselves is not."""
    await house.told_onay(PHONE)
    house.twin.citizen("RET", PHONE)
    async with Publisher(kafka_settings) as publisher:
        puller = Puller(
            tools=replace(
                house.tools, topic_messages=TopicMessages(house.codec, kafka_settings.topics)
            ),
            publisher=publisher,
            interval=timedelta(0),
        )
        brand = await house.brand()
        house.twin.order("clock", advance=2)
        assert await puller.pull_stream(brand, Stream.IYS, force=True)
        assert await puller.pull_stream(brand, Stream.HS, force=True)
    told = written(kafka_settings, kafka_settings.topics.express.name, "ConsentEvent", 1)
    assert [(one["status"], one["origin"]) for one in told] == [("RET", "iys")]
    entry = await house.entry()
    assert (entry.registered, entry.may_send) == ("RET", False)
    rows = await house.ledger.fetch("SELECT stream, after FROM stream_cursors ORDER BY stream")
    assert all(row["after"] for row in rows)


async def test_a_pull_that_is_refused_waits_for_its_turn(
    house: House, kafka_settings: KafkaSettings
):
    """A closed subscription is mended by a person: to ask every minute and a half of every brand
    would count against our address. What passes by itself is tried again at once.
    """
    turn = timedelta(minutes=15)
    await house.brand()
    async with Publisher(kafka_settings) as publisher:
        puller = Puller(tools=house.tools, publisher=publisher, interval=turn)
        house.twin.weather("changes", status=503, times=2)
        await puller.pull()
        house.twin.weather("changes", status=403, code="H521", times=2)
        await puller.pull()
        assert house.twin.calls("changes") == 4
        await puller.pull()
        assert house.twin.calls("changes") == 4
        house.passes(turn)
        await puller.pull()
        assert house.twin.calls("changes") == 6


@asynccontextmanager
async def a_worker(
    kafka_settings: KafkaSettings, ledger_settings: LedgerSettings, iys: IysSettings
) -> AsyncIterator[str]:
    """Run a whole sink worker and give its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sink = SinkSettings(
        port=port,
        push_url=f"http://127.0.0.1:{port}/iys/push",
        push_username=PUSH[0],
        push_password=SecretStr(PUSH[1]),
        pull_interval=timedelta(seconds=1),
        poll_interval=timedelta(seconds=0.5),
    )
    stopping = asyncio.Event()
    worker = asyncio.create_task(
        serve(kafka_settings, ledger_settings, iys, sink, Codec(), stopping=stopping)
    )
    address = f"http://127.0.0.1:{port}"

    async def healthy() -> bool:
        assert not worker.done(), worker.exception()
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{address}/health")).is_success
            except httpx.TransportError:
                return False

    await until(healthy)
    try:
        yield address
    finally:
        stopping.set()
        await worker


async def test_the_worker_carries_a_decision_to_iys_and_a_push_to_the_topic(  # noqa: PLR0917 - fixtures
    house: House,
    ledger: Ledger,
    ledger_settings: LedgerSettings,
    kafka_settings: KafkaSettings,
    iys_settings: IysSettings,
    twin: Twin,
):
    """Everything together: an ONAY and a RET by Kafka, a citizen's RET by push, a prompt end."""
    twin.order("settings", resultDelay=0.2)
    # The house has announced its brand to a topic without this test's prefix.
    await ledger.fetch("DELETE FROM outbox RETURNING id")
    quick = iys_settings.model_copy(update={"result_delay": timedelta(seconds=0.3)})
    async with a_worker(kafka_settings, ledger_settings, quick) as address:
        put(kafka_settings, *house.decided(onay(PHONE), onay(a_phone(2))))

        async def registered() -> bool:
            return twin.register() == {PHONE: "ONAY", a_phone(2): "ONAY"}

        await until(registered)

        async def settled() -> bool:
            return (await house.entry()).state == "accepted"

        await until(settled)
        began = time.monotonic()
        put(kafka_settings, *house.decided(ret(PHONE)))

        async def withdrawn() -> bool:
            return twin.register()[PHONE] == "RET"

        await until(withdrawn)
        assert time.monotonic() - began < 3
        twin.citizen("RET", a_phone(2))
        express = kafka_settings.topics.express.name
        told = await asyncio.to_thread(written, kafka_settings, express, "ConsentEvent", 1)
        assert [(one["recipient"], one["status"]) for one in told] == [(a_phone(2), "RET")]

        async def drained() -> bool:
            return (await reads.lag(ledger, now=datetime.now(UTC))).is_settled

        await until(drained)
        async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
            metrics = (await client.get("/metrics")).text
            assert "izin_pushed_movements_total 1.0" in metrics
            assert "izin_forecast_lost_keys 0.0" in metrics
            open_call = await client.post("/iys/push", json={"list": []})
            assert open_call.status_code == 401
            wrong = await client.post("/iys/push", content=b"[", auth=PUSH)
            assert wrong.status_code == 400
            strange = await client.post(
                "/iys/push",
                json={"list": [a_movement(brandCode=BRAND + 1)]},
                auth=PUSH,
            )
            assert (strange.status_code, strange.json()["error"]) == (
                400,
                "list[0].brandCode: no brand of ours",
            )
        began = time.monotonic()
    assert time.monotonic() - began < 5


def a_movement(**overrides: object) -> dict[str, object]:
    """Return a movement as İYS pushes it."""
    return {
        "iysCode": BRAND,
        "brandCode": BRAND,
        "consentDate": "2026-03-02 12:00:00",
        "creationDate": "2026-03-02 12:00:00",
        "source": "IYS_WEB",
        "recipient": PHONE,
        "recipientType": "BIREYSEL",
        "status": "RET",
        "type": "MESAJ",
        "transactionId": "0" * 64,
        **overrides,
    }


async def test_after_many_that_are_ruled_one_by_one_helpings_stay_small(
    house: House, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """What is ruled one by one holds its keys, and an opt-out must not wait for seconds."""
    monkeypatch.setattr(ingester, "BATCH", 6)
    monkeypatch.setattr(ingester, "FEW", 2)
    people = [a_phone(number) for number in range(40)]
    await house.ingest(*(onay(one) for one in people))
    put(kafka_settings, *house.decided(*(ret(one) for one in people)))
    reader = await replace(house.ingester, settings=kafka_settings).open()
    helpings: list[int] = []
    give_up_at = time.monotonic() + 20
    while sum(helpings) < len(people):
        assert time.monotonic() < give_up_at
        helpings += [count] if (count := await reader.step(timedelta(seconds=0.2))) else []
    await reader.close()
    assert helpings[0] > ingester.FEW
    assert max(helpings[1:]) <= ingester.FEW
