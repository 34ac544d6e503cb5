"""A ledger, topics and a receiver, for tests of webhooks."""

from collections.abc import AsyncIterator

import pytest

from benchmarks.webhooks.receiver import WebhookReceiver
from izin.ledger.db import Ledger
from izin.runtime.settings import KafkaSettings
from izin.webhooks import process
from tests.support.webhooks import Hooks, TopicWriter, add_customer


@pytest.fixture
async def hooks(
    ledger: Ledger,
    kafka_settings: KafkaSettings,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Hooks]:
    """Give a ledger with a customer, its topics, and a receiver that takes everything."""
    # A process of the test looks ten times as often for what was ordered.
    monkeypatch.setattr(process, "LOOK", process.LOOK / 10)
    await add_customer(ledger)
    async with WebhookReceiver().listening() as receiver:
        yield Hooks(
            ledger=ledger,
            settings=kafka_settings,
            topics=TopicWriter(kafka_settings),
            receiver=receiver,
            database_url=database_url,
        )
