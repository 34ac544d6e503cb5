"""What several rooms need: the İYS simulator in a process of its own, the sinks over it and a
migrated ledger, a sink worker as a process of its own, and who is trusted by TLS.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from pydantic import SecretStr
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.kafka.clients import ensure_topics
from izin.ledger.db import Ledger
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from tests.integration.sinks.sink_harness import (
    Clock,
    Izin,
    SinkHarness,
    set_environment,
    sinks_over,
)
from tests.support.secure import CLIENT_ID, SECRET, Authority, TokenEndpoint, running
from tests.support.simulator import (
    PASSWORD,
    USERNAME,
    SimulatorAdmin,
    SinkProcesses,
    running_simulator,
)


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorAdmin]:
    """Give the admin API of a running simulator, which all tests of a process share."""
    with running_simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that issued no certificate of the tests' servers."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture
def endpoint(authority: Authority) -> Iterator[TokenEndpoint]:
    """Yield a token endpoint that knows our client."""
    server = TokenEndpoint(authority.issue("endpoint"), client_id=CLIENT_ID, secret=SECRET)
    with running(server):
        yield server


@pytest.fixture
def iys(simulator: SimulatorAdmin) -> SimulatorAdmin:
    """Give the simulator, emptied, with one account and one brand, and no limit of calls."""
    simulator.configure(
        requestsPerSecond=0,
        tokenLimit=0,
        statusLimit=1000,
        resultDelay=300,
        hiddenWindow=0,
        pushHttpsRequired=False,
    )
    return simulator


@pytest.fixture
def iys_settings(simulator: SimulatorAdmin) -> IysSettings:
    """Give settings that lead to the simulator."""
    return IysSettings(
        base_url=simulator.address,
        username=USERNAME,
        password=SecretStr(PASSWORD),
        timeout=timedelta(seconds=5),
        requests_per_second=500,
    )


@pytest.fixture
def database_url(ledger_url: str) -> str:
    """Give the URL of a migrated ledger."""
    return ledger_url


@pytest.fixture
def ledger_settings(database_url: str) -> LedgerSettings:
    """Give settings that lead to a migrated ledger."""
    return LedgerSettings(database_url=SecretStr(database_url))


@pytest.fixture
async def ledger(ledger_settings: LedgerSettings) -> AsyncIterator[Ledger]:
    """Give an empty ledger."""
    async with Ledger(ledger_settings, owner=secrets.randbelow(2**31 - 1) + 1) as ledger:
        yield ledger


@pytest.fixture
def clock() -> Clock:
    """Give the clock of the sinks, which shows the real time until a test advances it."""
    return Clock()


@pytest.fixture
async def harness(
    ledger: Ledger, iys: SimulatorAdmin, iys_settings: IysSettings, clock: Clock
) -> AsyncIterator[SinkHarness]:
    """Give the sinks over an empty ledger and an empty İYS, with the brand known to both."""
    settings = KafkaSettings(topic_prefix="", partitions=1)
    async with sinks_over(ledger, iys, iys_settings, clock, settings) as harness:
        yield harness


@pytest.fixture
async def with_topics(
    ledger: Ledger,
    iys: SimulatorAdmin,
    iys_settings: IysSettings,
    clock: Clock,
    kafka_settings: KafkaSettings,
) -> AsyncIterator[SinkHarness]:
    """Give the sinks over an empty ledger and this test's topics."""
    async with sinks_over(ledger, iys, iys_settings, clock, kafka_settings) as harness:
        yield harness


@pytest.fixture
def izin(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Izin:
    """Give a function that runs a command on this test's ledger and returns its result."""
    given = {"DATABASE_URL": database_url, "IYS_USERNAME": "ada", "IYS_PASSWORD": "fake"}
    set_environment(monkeypatch, given)

    async def run(*words: object) -> Result:
        arguments = [str(word) for word in words]
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, catch_exceptions=False)

    return run


@pytest.fixture
def kafka_settings(kafka: str, topic_prefix: str) -> KafkaSettings:
    """Give a Kafka with this test's topics."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=2)
    ensure_topics(settings)
    return settings


@pytest.fixture
async def processes(
    harness: SinkHarness, database_url: str, kafka_settings: KafkaSettings, tmp_path: Path
) -> AsyncIterator[SinkProcesses]:
    """Give a sink worker that is not started; İYS processes batches at once."""
    harness.iys.post("settings", resultDelay=0.2)
    # The harness has published its brand to a topic without this test's prefix.
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=database_url,
        simulator=harness.iys,
        log=tmp_path / "sinks.log",
        result_delay=0.2,
        environment={"IYS_REQUESTS_PER_SECOND": "100"},
    )
    try:
        yield processes
    finally:
        await asyncio.to_thread(processes.end)
