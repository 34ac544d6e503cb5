"""A sink worker as a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings
from tests.integration.sinks.sink_harness import SinkHarness
from tests.support.simulator import SinkProcesses


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
