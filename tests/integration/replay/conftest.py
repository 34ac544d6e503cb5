"""Installations with a real broker and a ledger: of one test, and of a module with an order worker
that runs.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.kafka.clients import ensure_topics
from izin.runtime.settings import KafkaSettings, LedgerSettings
from tests.integration.replay.rebuild_harness import RebuildHarness
from tests.integration.sinks.sink_harness import kafka_environment, set_environment
from tests.support.order.verdict import Worker, all_held, until
from tests.support.published import delete_topics, publish_brand
from tests.support.replay.dead_letters import LetterHarness, Run
from tests.support.servers.distribution import copy_database, drop_database

SECRETS = json.dumps(["a fake secret of thirty-two characters"])
PARTITIONS = 2


@pytest.fixture(scope="module")
def topics(kafka: str) -> Iterator[KafkaSettings]:
    """Yield topics that the tests of a module share."""
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=f"t{uuid4().hex[:8]}-", partitions=PARTITIONS
    )
    ensure_topics(settings)
    yield settings
    delete_topics(settings)


@pytest.fixture(scope="module")
def shared_ledger(postgres: str, ledger_template: str) -> Iterator[str]:
    """Yield the URL of a ledger that the tests of a module share."""
    name = f"t{uuid4().hex[:12]}"
    yield copy_database(postgres, name, ledger_template)
    drop_database(postgres, name)


@pytest.fixture(scope="module")
def worker(topics: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Yield an order worker that owns every partition."""
    log = tmp_path_factory.mktemp("order") / "worker.log"
    worker = Worker("a", topics, log, environment={"IZIN_SUPPRESSION_SECRETS": SECRETS})
    until(lambda: all_held([worker], PARTITIONS), within=60, what="worker")
    yield worker
    worker.kill()


@pytest.fixture(scope="module")
def brand(topics: KafkaSettings) -> None:
    """Publish a brand, so that producers know it."""
    publish_brand(topics)


@pytest.fixture(scope="module")
def letters(topics: KafkaSettings) -> LetterHarness:
    """Return the harness of the module's topics."""
    return LetterHarness(topics)


@pytest.fixture
def run(topics: KafkaSettings, shared_ledger: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in this installation."""
    given = {"DATABASE_URL": shared_ledger, "IZIN_SUPPRESSION_SECRETS": SECRETS}
    set_environment(monkeypatch, kafka_environment(topics) | given)
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(one) for one in words], catch_exceptions=False)


@pytest.fixture
def with_ledger(
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path, ledger_url: str
) -> RebuildHarness:
    """Return topics of one partition, with an empty ledger."""
    ledger = LedgerSettings(database_url=SecretStr(ledger_url))
    return RebuildHarness(make_settings(1), tmp_path, ledger)
