"""A sink worker as a process: many pushes at once, idle connections, and many scrapes."""

import asyncio
import base64
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from izin.runtime.settings import KafkaSettings
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, until
from tests.integration.sinks.test_worker import PUSH, a_movement
from tests.support.http_clients import Reply, connected, request
from tests.support.proxy import Proxy, proxy_to
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses

pytestmark = [pytest.mark.database, pytest.mark.broker]

MANY = 500
IDLE = 256
BASIC = {"Authorization": f"Basic {base64.b64encode(':'.join(PUSH).encode()).decode()}"}


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
