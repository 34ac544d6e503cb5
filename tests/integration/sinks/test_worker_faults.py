"""A sink worker is killed or frozen amid its work; another one completes it.

A sink worker with a poisonous record among good ones: opt-outs settle, and it stays up.

A sink worker as a process: many pushes at once, idle connections, and many scrapes.

A sink worker as a process whose Kafka is away: what it logs can be read, and is not endless.
"""

import asyncio
import base64
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from izin.iys.rate_limit import Pace
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.db.leases import enter
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import LedgerUnavailableError
from izin.local import free_port
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from tests.integration.sinks.ingest.test_isolation import OTHER, THIRD, to_spoil, write
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret, until
from tests.integration.sinks.test_worker import PUSH, a_movement, a_worker, publish
from tests.support.builders import PHONE
from tests.support.gate.receipts import a_receipt, publish_receipts
from tests.support.http_clients import Reply, connected, request
from tests.support.poison import POISON
from tests.support.proxy import Proxy, proxy_to
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses

pytestmark = pytest.mark.database
RECIPIENTS = [a_phone(number) for number in range(120)]
KILLS, RECEIPTS = 3, 200
MANY = 500
IDLE = 256
BASIC = {"Authorization": f"Basic {base64.b64encode(':'.join(PUSH).encode()).decode()}"}


@pytest.mark.broker
@pytest.mark.timeout(240)
async def test_killed_worker_loses_nothing_and_sends_nothing_twice(  # noqa: PLR0917 - fixtures
    harness: SinkHarness,
    ledger: Ledger,
    database_url: str,
    kafka_settings: KafkaSettings,
    tmp_path: Path,
    iys: SimulatorAdmin,
):
    """Killed again and again, the sinks end with what İYS must hold, each movement once; each
    receipt of the gate is in the history once.
    """
    iys.post("settings", resultDelay=0.2)
    await ledger.fetch("DELETE FROM outbox RETURNING id")
    publish(kafka_settings, *harness.decided(*(onay(recipient) for recipient in RECIPIENTS)))
    withdrawn = RECIPIENTS[::4]
    publish_receipts(kafka_settings, [a_receipt(number) for number in range(RECEIPTS)])
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=database_url,
        simulator=iys,
        log=tmp_path / "sinks.log",
        result_delay=0.2,
        environment={"IYS_REQUESTS_PER_SECOND": "100"},
    )

    async def is_settled() -> bool:
        lag = await reads.lag(ledger, now=datetime.now(UTC))
        return (
            lag.is_settled
            and all(iys.register().get(one) in (None, "RET") for one in withdrawn)
            and len(iys.register()) >= len(RECIPIENTS) - len(withdrawn)
        )

    try:
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
        await until(lambda: _has_receipts(ledger, RECEIPTS + KILLS))
    finally:
        processes.end()
    assert processes.running[0].returncode == 0
    register = iys.register()
    for recipient in RECIPIENTS:
        assert iys.movements(recipient) in (["ONAY"], ["ONAY", "RET"], []), recipient
        if recipient not in withdrawn:
            assert register[recipient] == "ONAY"
        assert (await harness.row(recipient)).state in {"accepted", "not_needed"}


async def _has_receipts(ledger: Ledger, count: int) -> bool:
    """Whether the history has so many receipts, each once."""
    (row,) = await ledger.fetch(
        "SELECT count(*) AS n, count(DISTINCT source) AS sources FROM movements"
        " WHERE kind = 'receipt'"
    )
    assert row["n"] == row["sources"]
    return int(row["n"]) == count


@pytest.mark.broker
@pytest.mark.timeout(240)
async def test_worker_beside_a_frozen_one_goes_on(  # noqa: PLR0917 - fixtures
    harness: SinkHarness,
    ledger: Ledger,
    database_url: str,
    kafka_settings: KafkaSettings,
    tmp_path: Path,
    iys: SimulatorAdmin,
):
    """What only one process does, and what it had claimed, passes to the other; the frozen one
    wakes, and sends and writes nothing twice.
    """
    iys.post("settings", resultDelay=0.2)
    await ledger.fetch("DELETE FROM outbox RETURNING id")
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=database_url,
        simulator=iys,
        log=tmp_path / "sinks.log",
        result_delay=0.2,
        environment={"IYS_REQUESTS_PER_SECOND": "100"},
    )

    async def is_settled() -> bool:
        lag = await reads.lag(ledger, now=datetime.now(UTC))
        return lag.is_settled and set(iys.register().values()) == {"RET"}

    try:
        publish(kafka_settings, *harness.decided(*(onay(one) for one in RECIPIENTS)))
        processes.start()
        await until(lambda: len(iys.register()) == len(RECIPIENTS), within=60)
        processes.count = 2
        processes.start()
        processes.freeze(0)
        publish(kafka_settings, *harness.decided(*(ret(one) for one in RECIPIENTS)))
        await until(is_settled, within=60)
        processes.thaw(0)
    finally:
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
@pytest.mark.timeout(240)
async def test_worker_starts_beside_one_frozen_amid_a_slot(
    harness: SinkHarness,
    ledger_settings: LedgerSettings,
    kafka_settings: KafkaSettings,
    iys_settings: IysSettings,
):
    """The frozen one has the row of the address locked: before the other waits for that, it watches
    for silent ones, and so ends its sessions.
    """
    pacer = LedgerPacer(harness.ledger, Pace(rate=500), address=iys_settings.egress_address)
    await pacer.begin()
    worker = a_worker(kafka_settings, ledger_settings, iys_settings, operations_port=free_port())
    with pytest.raises(LedgerUnavailableError):
        async with frozen_amid_a_slot(ledger_settings), worker:
            pass


@pytest.mark.broker
async def test_worker_settles_opt_outs_behind_poison_and_restarts(  # noqa: PLR0917 - fixtures
    harness: SinkHarness,
    ledger: Ledger,
    database_url: str,
    kafka_settings: KafkaSettings,
    tmp_path: Path,
    iys: SimulatorAdmin,
):
    """Each fault once, an opt-out behind each; and after a restart nothing is stumbled over."""
    iys.post("settings", resultDelay=0.2)
    await ledger.fetch("DELETE FROM outbox RETURNING id")
    given = harness.decided(onay(PHONE), onay(OTHER), to_spoil(harness, recipient=THIRD))
    poison = [spoil(given[-1].value) for spoil in POISON.values()]
    first, second = harness.decided(ret(PHONE), ret(OTHER))
    write(kafka_settings, [given[0].value, *poison[:3], given[1].value])
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=database_url,
        simulator=iys,
        log=tmp_path / "sinks.log",
        result_delay=0.2,
    )
    try:
        processes.start()
        await until(lambda: len(iys.register()) == 2, within=40)
        write(kafka_settings, [*poison[3:], first.value])
        await until(lambda: iys.register().get(PHONE) == "RET", within=40)
        processes.kill(0)
        processes.start()
        write(kafka_settings, [second.value])
        await until(lambda: iys.register().get(OTHER) == "RET", within=40)
        assert processes.running[0].poll() is None
    finally:
        processes.end()
    assert processes.running[0].returncode == 0
    text = (tmp_path / "sinks.log").read_text(encoding="utf-8")
    assert text.count("decision quarantined") == len(poison)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Proxy]:
    """Give a proxy to PostgreSQL, which can fall silent."""
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    async with proxy_to(str(parts["host"]), int(parts["port"] or 5432)) as proxy:
        yield proxy


@pytest.fixture
async def worker(  # noqa: PLR0917 - fixtures
    harness: SinkHarness,
    database: Proxy,
    database_url: str,
    kafka_settings: KafkaSettings,
    iys: SimulatorAdmin,
    tmp_path: Path,
) -> AsyncIterator[SinkProcesses]:
    """Give a sink worker that is ready."""
    # The harness has published its brand to a topic without this test's prefix.
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=make_conninfo(database_url, host="127.0.0.1", port=database.port),
        simulator=iys,
        log=tmp_path / "sinks.log",
        result_delay=0.2,
        environment={"IZIN_PUSH_USERNAME": PUSH[0], "IZIN_PUSH_PASSWORD": PUSH[1]},
    )
    processes.start()
    try:
        await until(lambda: is_ready(processes))
        yield processes
    finally:
        await asyncio.to_thread(processes.end)


async def is_ready(worker: SinkProcesses) -> bool:
    try:
        return (await get(worker, "/health/ready")).status == 200
    except OSError:
        return False


async def get(worker: SinkProcesses, path: str, *, for_operators: bool = False) -> Reply:
    """Get a page of the worker."""
    return await request(worker.ports[0][for_operators], "GET", path)


async def push(worker: SinkProcesses, number: int) -> Reply:
    """Push an opt-out of the person of that number."""
    body = json.dumps({"list": [a_movement(recipient=a_phone(number))]}).encode()
    return await request(worker.ports[0][0], "POST", "/iys/push", body, BASIC)


async def figure(worker: SinkProcesses, pattern: str) -> float:
    """Return the sum of the figures that match."""
    page = (await get(worker, "/metrics", for_operators=True)).body
    return sum(map(float, re.findall(rf"^{pattern} (\S+)$", page, re.MULTILINE)))


@pytest.mark.broker
async def test_pushes_at_once_are_accepted_or_refused_as_problems(worker: SinkProcesses):
    """What was accepted is published, what was not is counted; health is answered meanwhile."""
    replies, live = await asyncio.gather(
        asyncio.gather(*(push(worker, number) for number in range(MANY))),
        get(worker, "/health/live"),
    )
    assert live.status == 200
    counts = Counter(one.status for one in replies)
    assert set(counts) <= {200, 429, 503}
    assert counts[200] >= MANY // 4
    for one in replies:
        if one.status != 200:
            assert one.headers["content-type"] == "application/problem+json"
            assert int(one.headers["retry-after"]) > 0
    assert await figure(worker, "izin_pushed_movements_total") == counts[200]
    refused = await figure(worker, 'izin_http_refused_total{reason="(?:full|client)"}')
    assert refused == MANY - counts[200]


@pytest.mark.broker
async def test_idle_connections_shut_nobody_out(worker: SinkProcesses):
    """Nor do connections with half a head."""
    async with AsyncExitStack() as stack:
        for sent in (b"", b"POST /iys/push HT"):
            for _ in range(IDLE):
                one = await stack.enter_async_context(
                    connected(worker.ports[0][0], source="127.0.0.2")
                )
                one.writer.write(sent)
            assert (await get(worker, "/health/live")).status == 200
            assert (await push(worker, 1)).status == 200


@pytest.mark.broker
async def test_scrapes_do_not_wait_for_the_ledger(worker: SinkProcesses, database: Proxy):
    """They show what was read last, and when; health turns, with the reason for operators."""
    await until(lambda: figure(worker, "izin_ledger_read_timestamp_seconds"))
    assert (await get(worker, "/metrics")).status == 404
    database.silence()
    pages = await asyncio.gather(*(get(worker, "/metrics", for_operators=True) for _ in range(100)))
    assert all('izin_ledger_keys{waits_for="to_send"}' in one.body for one in pages)

    async def turned() -> bool:
        return (await get(worker, "/health/ready", for_operators=True)).status == 503

    await until(turned)
    assert json.loads((await get(worker, "/health/ready")).body) == {"status": "unavailable"}
    reasons = json.loads((await get(worker, "/health/ready", for_operators=True)).body)
    assert reasons == {"status": "unavailable", "ledger": "does not answer"}
    database.resume()
    await until(lambda: is_ready(worker))


async def test_worker_without_kafka_logs_few_lines_of_json(
    harness: SinkHarness, database_url: str, iys: SimulatorAdmin, tmp_path: Path
):
    """What librdkafka repeats at each attempt of each client comes once, with a count later."""
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    log = tmp_path / "sinks.log"
    processes = SinkProcesses(
        count=1,
        settings=KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"),
        database_url=database_url,
        simulator=iys,
        log=log,
        result_delay=0.2,
        environment={"IZIN_KAFKA_LOG_LEVEL": "6", "IZIN_LOG_LEVEL": "info"},
    )
    processes.start()
    try:
        # After six seconds: each client has tried many times by then.
        await until(lambda: "kafka unreachable" in log.read_text("utf-8"), within=30)
    finally:
        await asyncio.to_thread(processes.end)
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    events = Counter((one["logger"], one["event"]) for one in lines)
    assert events["izin.runtime.broker_watch", "kafka unreachable"] == 1
    assert sum(count for (logger, _), count in events.items() if logger == "librdkafka") <= 10
    assert len(lines) <= 50


@pytest.mark.broker
@pytest.mark.timeout(180)
async def test_iys_away_and_back_is_an_event_each(
    harness: SinkHarness,
    database_url: str,
    kafka_settings: KafkaSettings,
    iys: SimulatorAdmin,
    tmp_path: Path,
):
    """An opt-out is due meanwhile, so a person must know; what fails again says no more."""
    await harness.ingest_opt_out(*(onay(a_phone(number)) for number in range(5)))
    log = tmp_path / "sinks.log"
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=database_url,
        simulator=iys,
        log=log,
        result_delay=0.2,
        environment={"IZIN_LOG_LEVEL": "info", "IZIN_PULL_INTERVAL": "PT1S"},
    )
    iys.inject_fault("*", drop="before", times=None)
    processes.start()
    try:
        await until(lambda: "iys unreachable" in log.read_text("utf-8"), within=30)
        known = iys.requests()["total"]
        await until(lambda: iys.requests()["total"] >= known + 10, within=60)
        iys.clear_faults()
        await until(lambda: "iys reachable again" in log.read_text("utf-8"), within=30)
    finally:
        iys.clear_faults()
        await asyncio.to_thread(processes.end)
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    events = Counter(one["event"] for one in lines)
    assert (events["iys unreachable"], events["iys reachable again"]) == (1, 1)
    (away,) = (one for one in lines if one["event"] == "iys unreachable")
    assert away["level"] == "critical"
    calls = re.compile("did not reach İYS|not answered|circuit of")
    failed = [one for one in lines if one is not away and calls.search(str(one.get("error")))]
    assert len(failed) <= 5, failed
