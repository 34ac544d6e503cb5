"""An installation of a few recipients, whose sides agree."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.reconcile import command
from izin.cli.subscribers import compare
from izin.ledger.db import Ledger
from izin.runtime.settings import IysSettings, KafkaSettings
from tests.integration.sinks.sink_harness import A_SECOND, Clock, a_phone, ended, sinks_over
from tests.support.reconcile.site import PLANTS, SECRET, Site
from tests.support.simulator import PASSWORD, USERNAME, SimulatorAdmin

Run = Callable[[str, int], Awaitable[str]]
"""Runs a command, checks its exit code, and returns what it prints."""
EACH = 2
"""Recipients of each plant."""


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave signals alone: they belong to the main thread, and commands run beside it here."""
    for module in (command, compare):
        monkeypatch.setattr(module, "exit_on_signals", nullcontext)


@pytest.fixture
async def site(
    ledger: Ledger,  # fixtures
    iys: SimulatorAdmin,  # the same
    iys_settings: IysSettings,  # the same
    clock: Clock,  # the same
    kafka_settings: KafkaSettings,  # the same
) -> AsyncIterator[Site]:
    """Give an installation in which consents stand everywhere, and some opted out."""
    async with sinks_over(ledger, iys, iys_settings, clock, kafka_settings) as harness:
        site = Site(harness=harness, kafka=kafka_settings)
        count = EACH * len(PLANTS) + 4
        await site.fill(
            [a_phone(one) for one in range(count)], [a_phone(one) for one in range(900, 904)]
        )
        yield site


@pytest.fixture
def run(
    site: Site,
    database_url: str,  # fixtures
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Give what runs a command in this installation, by its clock."""
    given = {
        "COLUMNS": "80",
        "DATABASE_URL": database_url,
        "IYS_BASE_URL": site.harness.iys.address,
        "IYS_PASSWORD": PASSWORD,
        "IYS_REQUESTS_PER_SECOND": "500",
        "IYS_USERNAME": USERNAME,
        "IZIN_SUPPRESSION_SECRETS": json.dumps([SECRET]),
        "IZIN_PARTITIONS": str(site.kafka.partitions),
        "IZIN_TOPIC_PREFIX": site.kafka.topic_prefix,
        "KAFKA_BOOTSTRAP_SERVERS": site.kafka.bootstrap_servers,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)
    monkeypatch.setattr(command, "utc_now", site.harness.clock)

    async def run(words: str, code: int) -> str:
        site.harness.advance(A_SECOND * 2)  # what was just changed is not changing any more
        result = ended(
            await asyncio.to_thread(CliRunner().invoke, app, words.split(), catch_exceptions=False),
            code,
        )
        return result.stdout if code in {0, 1} else result.output

    return run
