"""How the consumer of an order worker stops."""

import asyncio

import pytest
from faust.transport.drivers import aiokafka as driver

from izin.streams.engine import connecting
from izin.streams.engine.connecting import PatientConsumerThread


async def test_consumer_that_waits_for_its_group_is_stopped_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker would be killed meanwhile, with what is open in its transactions."""
    stopped: list[str] = []

    async def waiting(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("cut short")

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_thread_stop", waiting)
    monkeypatch.setattr(connecting, "_STOPPED_WITHIN", 0.01)
    thread = object.__new__(PatientConsumerThread)
    async with asyncio.timeout(20):
        await thread.on_thread_stop()
    assert stopped == ["cut short"]
