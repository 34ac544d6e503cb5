"""The HTTP endpoints of an installation, served in the loop of the test by what serves them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from types import MappingProxyType

import httpx

from izin.gate import server as gate_server
from izin.local import free_port
from izin.producers.intake import server as intake_server
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.settings import GateSettings, IntakeSettings, KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.feeds import conftest as feeds
from tests.integration.sinks.inbound.test_push import Worker
from tests.support.customers.installation import Installation

PUSH_PASSWORD = "our-fake-password"
OPERATIONS = "operations of "
"""Begins the names of the listeners of operators."""


@asynccontextmanager
async def gate(kafka: KafkaSettings) -> AsyncIterator[Mapping[str, str]]:
    """Serve the gate; yield the URL of each listener."""
    settings = GateSettings(port=free_port(), operations_port=free_port())
    with closing(HttpListeners(settings, server="the gate", variables="IZIN_TEST")) as listeners:
        how = partial(gate_server.run, kafka, settings, Codec(), listeners)
        async with _served("gate", settings, how) as urls:
            yield urls


@asynccontextmanager
async def intake(kafka: KafkaSettings) -> AsyncIterator[Mapping[str, str]]:
    """Serve the intake; yield the URL of each listener."""
    settings = IntakeSettings(port=free_port(), operations_port=free_port())
    with closing(HttpListeners(settings, server="the intake", variables="IZIN_TEST")) as listeners:
        how = partial(intake_server.run, kafka, settings, Codec(), listeners)
        async with _served("intake", settings, how) as urls:
            yield urls


@asynccontextmanager
async def every(installed: Installation, worker: Worker) -> AsyncIterator[Mapping[str, str]]:
    """Serve all of them; yield the URL of each listener."""
    async with AsyncExitStack() as stack:
        found: dict[str, str] = {}
        for serve in (gate, intake):
            found |= await stack.enter_async_context(serve(installed.kafka))
        fed = await stack.enter_async_context(feeds.serving(installed.kafka))
        found |= {"feeds": str(fed.client.base_url), f"{OPERATIONS}feeds": fed.operations}
        await stack.enter_async_context(worker.serving())
        found["sink"] = f"http://127.0.0.1:{worker.port}"
        found[f"{OPERATIONS}sink"] = f"http://127.0.0.1:{worker.operations_port}"
        yield found


@asynccontextmanager
async def _served(
    name: str,
    settings: GateSettings | IntakeSettings,
    run: Callable[[asyncio.Event], Awaitable[None]],
) -> AsyncIterator[Mapping[str, str]]:
    stopping = asyncio.Event()
    running = asyncio.ensure_future(run(stopping))
    url = f"http://127.0.0.1:{settings.port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            await feeds.until_ready(client, running)
        operations = f"http://127.0.0.1:{settings.operations_port}"
        yield MappingProxyType({name: url, f"{OPERATIONS}{name}": operations})
    finally:
        stopping.set()
        await running
