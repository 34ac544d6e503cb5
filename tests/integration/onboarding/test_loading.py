"""What was published is awaited in the order stage, and then in the ledger."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from izin.cli.customers.offboarding import await_ingested
from izin.kafka.clients import ensure_topics
from izin.ledger.db import Ledger
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.streams.ownership import Positions
from izin.streams.ownership.positions import key_of
from tests.integration.cli.test_explain import store_history
from tests.support.builders import BRAND
from tests.support.published import produce

pytestmark = [pytest.mark.broker, pytest.mark.database]


def in_ledger(work: Callable[[Ledger], object]) -> object:
    """Run ``work`` on the ledger of the environment."""

    async def run() -> object:
        async with Ledger(LedgerSettings(), owner=1) as ledger:
            return await work(ledger)  # type: ignore[misc]

    return asyncio.run(run())


@pytest.fixture
def stored(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a ledger with a parked consent of a registered brand."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    store_history()
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO brands (brand_code, iys_code, customer_id, name, updated_at)"
            " VALUES (%s, 1, 'acme', 'One', now())",
            [BRAND],
        )
    return database_url


def test_events_are_awaited_in_order_stage_and_ledger(
    stored: str, kafka: str, topic_prefix: str
) -> None:
    """First until every event is decided, then until every decision is ingested."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=1)
    ensure_topics(settings)
    topics, codec = settings.topics, Codec()
    for topic in (topics.events, topics.decisions):
        produce(settings, topic.name, b"one", partition=0)
    seen: list[int] = []

    def go_on(behind: int) -> None:
        seen.append(behind)
        if len(seen) == 1:
            at = Positions(
                cluster_id="c",
                events_topic_id="e",
                express_topic_id="x",
                desired_consents_topic_id="d",
                events_offset=1,
            )
            produce(settings, topics.positions.name, at.encode(codec), key=key_of(0))
        else:
            with psycopg.connect(stored) as connection:
                connection.execute(
                    "INSERT INTO kafka_offsets VALUES (%s, 0, 'c', 't', 1)", [topics.decisions.name]
                )

    in_ledger(lambda ledger: await_ingested(ledger, settings, codec, on_behind=go_on, every=0))
    assert seen == [1, 1]
