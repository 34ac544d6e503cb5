"""A ledger that takes decisions, as the sink worker has it do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.record import TopicMessages
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.ingester import Ingester


@asynccontextmanager
async def ingesting(ledger: Ledger, settings: KafkaSettings) -> AsyncIterator[None]:
    """Have the ledger take decisions meanwhile."""
    codec = Codec()
    ingester = Ingester(
        ledger=ledger,
        topic_messages=TopicMessages(codec, settings.topics),
        codec=codec,
        settings=settings,
        clock=lambda: datetime.now(UTC),
        wait=timedelta(seconds=0.1),
    )
    task = asyncio.create_task(ingester.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ingest_all(ledger: Ledger, settings: KafkaSettings) -> None:
    """Have the ledger take every decision that there is."""
    topic = settings.topics.decisions.name
    ends = kafka.committed_ends(settings, topic)
    async with ingesting(ledger, settings), asyncio.timeout(30):
        while True:
            taken = await reads.ingested(ledger)
            if all(taken.get((topic, number), 0) >= end for number, end in ends.items()):
                return
            await asyncio.sleep(0.05)
