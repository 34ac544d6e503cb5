"""A sink worker is killed or frozen amid its work; another one completes it.

A sink worker as a process: many scrapes while its ledger is silent.

A sink worker as a process whose İYS is away: what it logs is not endless.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from izin.iys.rate_limit import Pace
from izin.ledger.db import Ledger
from izin.ledger.db.leases import enter
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import LedgerUnavailableError
from izin.local import free_port
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret, until
from tests.integration.sinks.test_worker import a_worker, publish
from tests.support.http_clients import Reply, request
from tests.support.proxy import Proxy, proxy_to
from tests.support.published import a_receipt, publish_receipts
from tests.support.simulator import SinkProcesses

pytestmark = pytest.mark.database
RECIPIENTS = [a_phone(number) for number in range(120)]
KILLS, RECEIPTS = 2, 200


@pytest.mark.broker
@pytest.mark.timeout(240)
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
    await until(lambda: _has_receipts(harness.ledger, RECEIPTS + KILLS))
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
        "SELECT count(*) AS n, count(DISTINCT source) AS sources FROM history"
        " WHERE kind = 'receipt'"
    )
    assert row["n"] == row["sources"]
    return int(row["n"]) == count


@pytest.mark.broker
@pytest.mark.timeout(240)
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


async def is_ready(worker: SinkProcesses) -> bool:
    try:
        return (await get(worker, "/health/ready")).status == 200
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

    async def turned() -> bool:
        return (await get(worker, "/health/ready", for_operators=True)).status == 503

    await until(turned)
    assert json.loads((await get(worker, "/health/ready")).body) == {"status": "unavailable"}
    reasons = json.loads((await get(worker, "/health/ready", for_operators=True)).body)
    assert reasons == {"status": "unavailable", "ledger": "does not answer"}
    database.resume()
    await until(lambda: is_ready(worker))


@pytest.mark.broker
@pytest.mark.timeout(180)
async def test_iys_away_and_back_is_an_event_each(harness: SinkHarness, processes: SinkProcesses):
    """An opt-out is due meanwhile, so a person must know; what fails again says no more."""
    await harness.ingest_opt_out(*(onay(a_phone(number)) for number in range(5)))
    processes.environment = {"IZIN_LOG_LEVEL": "info", "IZIN_PULL_INTERVAL": "PT1S"}
    harness.iys.inject_fault("*", drop="before", times=None)
    processes.start()
    try:
        await until(lambda: "iys unreachable" in processes.log.read_text("utf-8"))
        known = harness.iys.requests()["total"]
        await until(lambda: harness.iys.requests()["total"] >= known + 5)
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
