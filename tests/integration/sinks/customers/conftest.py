"""Forty customers with a hundred brands: a whole installation."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from izin.cli.terminal import exit_codes, output
from izin.consent import Channel
from izin.ledger.db import Ledger
from izin.local import free_port
from izin.runtime.settings import IysSettings, KafkaSettings
from tests.integration.sinks.inbound.test_push import Worker, url_of
from tests.integration.sinks.sink_harness import Clock, Izin, SinkHarness, sinks_over
from tests.support.customers import cuts, installation
from tests.support.customers.installation import Installation, of_others
from tests.support.simulator import SimulatorAdmin

_WIDE = 400
"""Columns of a terminal on which no line is broken, so that words are found."""


@pytest.fixture
async def with_topics(
    ledger: Ledger,
    iys: SimulatorAdmin,
    iys_settings: IysSettings,
    clock: Clock,
    kafka_settings: KafkaSettings,
) -> AsyncIterator[SinkHarness]:
    """Give the sinks over an empty ledger and empty topics."""
    async with sinks_over(ledger, iys, iys_settings, clock, kafka_settings) as harness:
        yield harness


@pytest.fixture
async def installed(
    with_topics: SinkHarness, izin: Izin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """Give an installation of forty customers, which ``izin`` finds by the environment."""
    assert izin
    brands = await installation.fill_ledger(with_topics)
    await installation.fill_days(with_topics, brands)
    await with_topics.ingest(*(one.event() for one in of_others(brands)))
    await asyncio.to_thread(installation.fill_topics, with_topics.settings, brands)
    await installation.note_ingested(with_topics)
    installation.fill_simulator(with_topics.iys, brands)
    found = Installation(harness=with_topics, brands=brands)
    found.places |= installation.fill_files(tmp_path)
    found.places |= await installation.names(with_topics, brands)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)
    monkeypatch.setattr(exit_codes, "_NUMBERS", ())  # signals come to the main thread alone
    for console in (output.out, output.err):
        monkeypatch.setattr(console, "_width", _WIDE)
    return found


@pytest.fixture
def worker(installed: Installation, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Give our receiver of İYS's pushes, which the settings of commands name."""
    one = Worker(installed.harness, free_port(), cuts.PUSH_PASSWORD)
    installed.places["push_url"] = url_of(one.port)
    given = {
        "IZIN_PUSH_URL": url_of(one.port),
        "IZIN_PUSH_USERNAME": "iys",
        "IZIN_PUSH_PASSWORD": cuts.PUSH_PASSWORD,
        "IZIN_PUSH_OLD_PASSWORD": cuts.PUSH_PASSWORD,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return one


@pytest.fixture
async def served(
    installed: Installation, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Mapping[str, str]]:
    """Serve the endpoints, of which commands ask the gate; yield the URL of each listener."""
    async with cuts.every(installed, worker) as urls:
        monkeypatch.setenv("IZIN_GATE_URL", urls["gate"])
        # Nobody takes webhooks there: that is an answer too.
        installed.places["hook"] = f"{urls['feeds']}/hook"
        await worker.register(Channel.MESAJ)
        yield urls
