"""The command line on real servers, as its environment names them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.kafka.clients import ensure_topics
from izin.runtime.settings import KafkaSettings
from tests.integration.sinks.sink_harness import ended, kafka_environment, set_environment
from tests.support.published import publish_brand

__all__ = ["ended"]
RUNNER = CliRunner()
Izin = Callable[..., Result]


@pytest.fixture
def izin() -> Izin:
    """Return a function that runs a command and returns its exit code and output."""

    def run(*words: str | Path) -> Result:
        return RUNNER.invoke(app, [str(word) for word in words], catch_exceptions=False)

    return run


@pytest.fixture
def broker(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """Put a broker with a prefix of its own, without topics, into the environment."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=2)
    set_environment(monkeypatch, kafka_environment(settings))
    return settings


@pytest.fixture
def topics(broker: KafkaSettings) -> KafkaSettings:
    """Return the settings of the broker with our topics."""
    ensure_topics(broker)
    return broker


@pytest.fixture
def ledger(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a database without a ledger into the environment."""
    monkeypatch.setenv("DATABASE_URL", empty_database)
    return empty_database


@pytest.fixture
def brand(topics: KafkaSettings) -> int:
    """Publish a brand, so that producers know it."""
    return put_brand(topics, 100001)


def put_brand(topics: KafkaSettings, code: int) -> int:
    """Publish a brand of a customer, active since 2020, and return its code."""
    publish_brand(topics, brand_code=code, activated_at=datetime(2020, 1, 1, tzinfo=UTC))
    return code


def execute(ledger: str, statement: LiteralString, *values: object) -> list[Any]:
    """Execute a statement on the ledger, as no command does; return its rows."""
    with psycopg.connect(ledger, autocommit=True) as connection:
        done = connection.execute(statement, values or None)
        return [] if done.description is None else done.fetchall()


def acts(ledger: str) -> list[dict[str, Any]]:
    """Return every act in the history, in order."""
    ordered = "SELECT data FROM history WHERE kind = 'act' ORDER BY recorded_at, place"
    return [data for (data,) in execute(ledger, ordered)]
