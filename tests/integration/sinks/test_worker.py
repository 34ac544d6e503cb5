"""The worker on a real Kafka: decisions, the outbox, push and pull.

It is killed or frozen amid its work, and another one completes it; its ledger is silent while it is
scraped; its İYS is away, and what it logs is not endless.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from izin.iys.rate_limit import Pace
from izin.kafka.bounded_reader import read_all
from izin.kafka.clients import producer
from izin.ledger import offsets, reads
from izin.ledger.db import Ledger, Notifications
from izin.ledger.db.leases import enter
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import LedgerUnavailableError, TopicMessages
from izin.local import free_port
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings, SinkSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest import batch
from izin.sinks.ingest.decision_reader import IncomingDecision
from izin.sinks.publish.publisher import OutboxReader, OutboxRelay
from izin.sinks.worker import serve
from tests.integration.sinks.sink_harness import Killed, SinkHarness, a_phone, onay, ret, until
from tests.support.builders import BRAND, PHONE
from tests.support.order.verdict import committed_records
from tests.support.proxy import Proxy, proxy_to
from tests.support.published import a_receipt, publish_receipts
from tests.support.servers.http import Reply, request
from tests.support.simulator import SimulatorAdmin, SinkProcesses

pytestmark = [pytest.mark.database, pytest.mark.broker]
PUSH = ("iys", "fake-password")


def published(settings: KafkaSettings) -> list[tuple[str, str]]:
    """Return recipient and status of each event on the express lane."""
    found = read_all(settings, Codec(), settings.topics.express)
    return [(one.value["recipient"], one.value["status"]) for one in found]


def publish(settings: KafkaSettings, *decisions: IncomingDecision) -> None:
    """Write decisions to the topic, as the order stage does."""
    client = producer(settings)
    for read in decisions:
        client.produce(settings.topics.decisions.name, key=read.key.encode(), value=read.value)
    assert client.flush(10) == 0


async def test_outbox_records_have_ids_that_outlive_a_crash(
    harness: SinkHarness, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """Changes of one instant have an id each; a page that is written again has the same ones."""
    messages = TopicMessages(harness.codec, kafka_settings.topics)
    harness.context = replace(harness.context, topic_messages=messages)
    await harness.ingest(*(onay(a_phone(number)) for number in range(50)))
    await harness.ingest(*(ret(a_phone(number)) for number in range(50)))
    await harness.opt_out()
    # The harness announces its brand to topics without a prefix.
    await harness.ledger.fetch("DELETE FROM outbox WHERE topic LIKE 'brands%' RETURNING id")
    relay = OutboxRelay(
        ledger=harness.ledger,
        settings=kafka_settings,
        notifications=Notifications(),
        clock=harness.clock,
        wait=timedelta(seconds=1),
    )
    with monkeypatch.context() as crash:
        crash.setattr("izin.ledger.history.append.append", AsyncMock(side_effect=Killed))
        with pytest.raises(Killed):
            await relay.deliver(await relay.open(), OutboxReader())
    await relay.deliver(await relay.open(), OutboxReader())
    topics = kafka_settings.topics
    found = [
        (one.topic(), dict(one.headers() or ())["ce_id"], one.value())
        for topic in (topics.permissions, topics.outcomes)
        for one in committed_records(kafka_settings, topic.name)
    ]
    assert len(found) > 2 * 100
    assert set(Counter(found).values()) == {2}
    assert len({record_id for _, record_id, _ in found}) == len(found) // 2
    history = await reads.history(harness.ledger, a_phone(1))
    assert "delivery" in {fact.kind for fact in history.facts}


@asynccontextmanager
async def a_worker(
    kafka_settings: KafkaSettings,
    ledger_settings: LedgerSettings,
    iys: IysSettings,
    *,
    operations_port: int,
    anchor_file: Path | None = None,
) -> AsyncIterator[str]:
    """Run a whole sink worker and give its address."""
    port = free_port()
    sink = SinkSettings(
        port=port,
        operations_port=operations_port,
        push_url=f"http://127.0.0.1:{port}/iys/push",
        push_username=PUSH[0],
        push_password=SecretStr(PUSH[1]),
        pull_interval=timedelta(seconds=1),
        poll_interval=timedelta(seconds=0.5),
        anchor_file=anchor_file,
    )
    stopping = asyncio.Event()
    listeners = HttpListeners(sink, server="the sink", variables="IZIN_SINK")
    worker = asyncio.create_task(
        serve(kafka_settings, ledger_settings, iys, sink, Codec(), listeners, stopping)
    )
    address = f"http://127.0.0.1:{port}"

    async def healthy() -> bool:
        assert not worker.done(), worker.exception()
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{address}/health/ready")).is_success
            except httpx.TransportError:
                return False

    await until(healthy)
    try:
        yield address
    finally:
        stopping.set()
        with closing(listeners):
            await worker


async def test_worker_submits_decisions_and_publishes_pushes(  # noqa: PLR0917 - fixtures
    harness: SinkHarness,
    ledger_settings: LedgerSettings,
    kafka_settings: KafkaSettings,
    iys_settings: IysSettings,
    iys: SimulatorAdmin,
    tmp_path: Path,
):
    """Everything together: an ONAY and a RET by Kafka, a citizen's RET by push, a prompt end. What
    fails beside it is told to operators alone: an anchor file that cannot be read, and lanes that
    were created again.
    """
    iys.post("settings", resultDelay=0.2)
    # The harness has published its brand to a topic without this test's prefix.
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    quick = iys_settings.model_copy(update={"result_delay": timedelta(seconds=0.3)})
    file, topics = tmp_path / "anchors", kafka_settings.topics
    file.write_text("no anchor\n")
    for topic in (topics.events.name, topics.express.name):
        await offsets.positions(
            harness.ledger, topic, [0, 1], cluster_id="former", topic_id="former"
        )
    port = free_port()
    operations = f"http://127.0.0.1:{port}"
    async with (
        a_worker(
            kafka_settings, ledger_settings, quick, operations_port=port, anchor_file=file
        ) as address,
        httpx.AsyncClient(base_url=address, trust_env=False) as client,
    ):

        async def failing() -> bool:
            answer = await client.get(f"{operations}/health/ready")
            found = answer.json().get("anchors", "")
            return answer.status_code == 503 and found.startswith("UnreadableAnchorError")

        await until(failing)
        publish(kafka_settings, *harness.decided(onay(), onay(a_phone(2))))
        await until(lambda: iys.register() == {PHONE: "ONAY", a_phone(2): "ONAY"})
        accepted = "SELECT FROM consents WHERE state = 'accepted' AND recipient = %(one)s"
        await until(lambda: harness.ledger.fetch(accepted, {"one": PHONE}))
        publish(kafka_settings, *harness.decided(ret()))
        await until(lambda: iys.register()[PHONE] == "RET")
        iys.citizen("RET", a_phone(2))
        await until(lambda: asyncio.to_thread(published, kafka_settings))
        assert published(kafka_settings) == [(a_phone(2), "RET")]
        await until(harness.is_settled)
        metrics = (await client.get(f"{operations}/metrics")).text
        for figure in ("izin_pushed_movements_total 1.0", "izin_forecast_lost_keys 0.0"):
            assert figure in metrics
        pushes: list[dict[str, Any]] = [
            {"json": {"list": []}},
            {"content": b"[", "auth": PUSH},
            {"json": {"list": [a_movement(brandCode=BRAND + 1), a_movement()]}, "auth": PUSH},
        ]
        answers = [(await client.post("/iys/push", **one)).status_code for one in pushes]
        assert answers == [401, 400, 200]
        assert (await client.get("/health/ready")).is_success
    assert not await harness.ledger.fetch("SELECT FROM kafka_offsets WHERE topic_id = 'former'")


def a_movement(**overrides: object) -> dict[str, object]:
    """Return an entry as İYS pushes it."""
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


async def test_ingester_reads_small_batches_where_they_take_long(
    harness: SinkHarness, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """Keys are locked as long, and an opt-out must not wait for seconds."""
    monkeypatch.setattr(batch, "FEW", 2)
    monkeypatch.setattr(batch, "_LASTS", 0.0)
    recipients = [a_phone(number) for number in range(40)]
    await harness.ingest(*(onay(one) for one in recipients))
    publish(kafka_settings, *harness.decided(*(ret(one) for one in recipients)))
    reader = await replace(harness.ingester, settings=kafka_settings).open()
    reader._most = 6
    batches: list[int] = []
    give_up_at = time.monotonic() + 20
    while sum(batches) < len(recipients):
        assert time.monotonic() < give_up_at
        batches += [count] if (count := await reader.step(timedelta(seconds=0.2))) else []
    await reader.close()
    assert batches[0] > batch.FEW
    assert max(batches[1:]) <= batch.FEW


RECIPIENTS = [a_phone(number) for number in range(120)]
KILLS, RECEIPTS = 2, 200
EACH_ONCE = """SELECT FROM history WHERE kind = 'receipt'
    HAVING (count(*), count(DISTINCT source)) = (%(all)s, %(all)s)"""


@pytest.mark.broker
async def test_killed_worker_loses_nothing_and_sends_nothing_twice(
    harness: SinkHarness,
    processes: SinkProcesses,
    kafka_settings: KafkaSettings,
):
    """Killed again and again, the sinks end with what İYS must hold, each entry once; each
    receipt of the gate is in the history once.
    """
    publish(kafka_settings, *harness.decided(*(onay(recipient) for recipient in RECIPIENTS)))
    withdrawn = RECIPIENTS[::4]
    publish_receipts(kafka_settings, [a_receipt(number) for number in range(RECEIPTS)])
    iys = harness.iys

    async def is_settled() -> bool:
        return (
            await harness.is_settled()
            and all(iys.register().get(one) in (None, "RET") for one in withdrawn)
            and len(iys.register()) >= len(RECIPIENTS) - len(withdrawn)
        )

    for kill in range(KILLS):
        processes.start()
        publish_receipts(kafka_settings, [a_receipt(RECEIPTS + kill)])
        if kill == 1:
            publish(kafka_settings, *harness.decided(*(ret(one) for one in withdrawn)))
        goal = (kill + 1) * 20
        await until(lambda goal=goal: len(iys.register()) >= goal, within=40)
        processes.kill(0)
    processes.start()
    await until(is_settled, within=60)
    await until(lambda: harness.ledger.fetch(EACH_ONCE, {"all": RECEIPTS + KILLS}))
    processes.end()
    assert processes.running[0].returncode == 0
    register = iys.register()
    assert {register[recipient] for recipient in RECIPIENTS if recipient not in withdrawn} == {
        "ONAY"
    }
    for recipient in RECIPIENTS:
        assert iys.movements(recipient) in (["ONAY"], ["ONAY", "RET"], []), recipient
        assert (await harness.row(recipient)).state in {"accepted", "not_needed"}


@pytest.mark.broker
async def test_worker_beside_a_frozen_one_goes_on(
    harness: SinkHarness,
    processes: SinkProcesses,
    kafka_settings: KafkaSettings,
):
    """What only one process does, and what it had claimed, passes to the other; the frozen one
    wakes, and sends and writes nothing twice.
    """
    iys = harness.iys

    publish(kafka_settings, *harness.decided(*(onay(one) for one in RECIPIENTS)))
    processes.start()
    await until(lambda: len(iys.register()) == len(RECIPIENTS), within=60)
    processes.count = 2
    processes.start()
    processes.freeze(0)
    publish(kafka_settings, *harness.decided(*(ret(one) for one in RECIPIENTS)))
    await until(lambda: set(iys.register().values()) == {"RET"}, within=60)
    await until(harness.is_settled, within=60)
    processes.thaw(0)
    processes.end()
    assert [one.returncode for one in processes.running.values()] == [0, 0]
    for recipient in RECIPIENTS:
        assert iys.movements(recipient) == ["ONAY", "RET"], recipient


@asynccontextmanager
async def frozen_amid_a_slot(settings: LedgerSettings) -> AsyncIterator[None]:
    """Have another process that makes no progress, in a transaction that takes a slot."""
    async with Ledger(settings, owner=7) as frozen, frozen.session() as shown:
        await enter(shown, frozen.owner)
        await shown.execute("INSERT INTO processes (owner, beats) VALUES ('7', 1)")
        async with frozen.transaction() as connection:
            await connection.execute("UPDATE rate_limits SET factor = factor")
            yield


@pytest.mark.broker
async def test_worker_starts_beside_one_frozen_amid_a_slot(
    harness: SinkHarness,
    ledger_settings: LedgerSettings,
    kafka_settings: KafkaSettings,
    iys_settings: IysSettings,
):
    """The frozen one has the row of the address locked: before the other waits for that, it watches
    for silent ones, and so ends its sessions.
    """
    await LedgerPacer(harness.ledger, Pace(rate=500), address=iys_settings.egress_address).begin()
    worker = a_worker(kafka_settings, ledger_settings, iys_settings, operations_port=free_port())
    with pytest.raises(LedgerUnavailableError):
        async with frozen_amid_a_slot(ledger_settings), worker:
            pass


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Proxy]:
    """Give a proxy to PostgreSQL, which can fall silent."""
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    async with proxy_to(str(parts["host"]), int(parts["port"] or 5432)) as proxy:
        yield proxy


async def is_ready(worker: SinkProcesses, *, expected: int = 200) -> bool:
    """Return whether the worker says that it is ready, or another status."""
    try:
        return (await get(worker, "/health/ready")).status == expected
    except OSError:
        return False


async def get(worker: SinkProcesses, path: str, *, for_operators: bool = False) -> Reply:
    """Get a page of the worker."""
    return await request(worker.ports[0][for_operators], "GET", path)


async def figure(worker: SinkProcesses, pattern: str) -> float:
    """Return the sum of the figures that match."""
    page = (await get(worker, "/metrics", for_operators=True)).body
    return sum(map(float, re.findall(rf"^{pattern} (\S+)$", page, re.MULTILINE)))


@pytest.mark.broker
async def test_scrapes_do_not_wait_for_the_ledger(processes: SinkProcesses, database: Proxy):
    """They show what was read last, and when; health turns, with the reason for operators."""
    worker = processes
    worker.database_url = make_conninfo(worker.database_url, host="127.0.0.1", port=database.port)
    worker.start()
    await until(lambda: is_ready(worker))
    await until(lambda: figure(worker, "izin_ledger_read_timestamp_seconds"))
    assert (await get(worker, "/metrics")).status == 404
    database.silence()
    pages = await asyncio.gather(*(get(worker, "/metrics", for_operators=True) for _ in range(100)))
    assert all('izin_ledger_keys{waits_for="to_send"}' in one.body for one in pages)
    await until(lambda: is_ready(worker, expected=503))
    assert json.loads((await get(worker, "/health/ready")).body) == {"status": "unavailable"}
    reasons = json.loads((await get(worker, "/health/ready", for_operators=True)).body)
    assert reasons == {"status": "unavailable", "ledger": "does not answer"}
    database.resume()
    await until(lambda: is_ready(worker))


@pytest.mark.broker
async def test_iys_away_and_back_is_an_event_each(harness: SinkHarness, processes: SinkProcesses):
    """An opt-out is due meanwhile, so a person must know; what fails again says no more."""
    await harness.ingest_opt_out(*(onay(a_phone(number)) for number in range(5)))
    processes.environment = {"IZIN_LOG_LEVEL": "info", "IZIN_PULL_INTERVAL": "PT1S"}
    harness.iys.inject_fault("*", drop="before", times=None)
    processes.start()
    try:
        await until(lambda: "iys unreachable" in processes.log.read_text("utf-8"))
        known = harness.iys.requests()["total"]
        await until(lambda: harness.iys.requests()["total"] >= known + 3)
    finally:
        harness.iys.clear_faults()
    await until(lambda: "iys reachable again" in processes.log.read_text("utf-8"))
    await asyncio.to_thread(processes.end)
    lines = processes.logged()
    events = Counter(one["event"] for one in lines)
    assert (events["iys unreachable"], events["iys reachable again"]) == (1, 1)
    (away,) = (one for one in lines if one["event"] == "iys unreachable")
    assert away["level"] == "critical"
    calls = re.compile("did not reach İYS|not answered|circuit of")
    failed = [one for one in lines if one is not away and calls.search(str(one.get("error")))]
    assert len(failed) <= 5, failed
