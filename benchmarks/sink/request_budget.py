"""Measure how many of İYS's ten requests a second one process uses, against the simulator."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
from pydantic import SecretStr

from benchmarks.sink.fixture import SinkFixture
from benchmarks.sink.iys_account import PASSWORD, USERNAME, register
from benchmarks.sink.outbound import BATCH_SIZE, outbound_steps
from izin.iys.client import IysClient
from izin.iys.rate_limit import Pace
from izin.iys.tokens import TokenAuth
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.rate_limits import LedgerPacer
from izin.runtime.settings import IysSettings
from izin.sinks.outbound.loops import keep_running

_RATE = 10.0
_LOOPS = (3, 2)
"""Of bulk and of results, as a worker has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """The use of İYS's ten requests a second."""

    seconds: float
    calls: int
    allowed: float
    """What İYS takes in that time."""
    used: float
    """The share of it."""
    settled: int
    settled_a_second: float
    throttled: int
    """H124."""


async def measure_budget_use(
    fixture: SinkFixture, url: str, simulator: str, *, seconds: float, delay: float
) -> BudgetUse:
    """Return the share of İYS's requests used during ``seconds`` with a large backlog."""
    _configure(simulator, delay=delay)
    await fixture.add_pending(url, int(_RATE * seconds * BATCH_SIZE))
    settings = IysSettings(base_url=simulator, username=USERNAME, password=SecretStr(PASSWORD))
    pacer = LedgerPacer(fixture.ledger, Pace(rate=_RATE), address="limit")
    await pacer.begin()
    store = LedgerTokenStore(ledger=fixture.ledger, account=USERNAME, address="limit")
    before = await _settled(fixture)
    async with IysClient(settings, auth=TokenAuth(settings, store), pacer=pacer) as client:
        scheduler, poller = outbound_steps(
            fixture,
            client,
            pacer,
            lambda: datetime.now(UTC),
            result_delay=timedelta(seconds=delay * 1.2),
        )
        stopping = asyncio.Event()
        bulk, result = _LOOPS
        began = time.perf_counter()
        steps = [scheduler.bulk] * bulk + [poller.settle] * result
        # As the worker's loops do: after a conflict with another loop a step is tried again.
        loops = [
            asyncio.create_task(keep_running("loop", partial(_until, stopping, step)))
            for step in steps
        ]
        await asyncio.sleep(seconds)
        calls, throttled = _counted(simulator)
        taken = time.perf_counter() - began
        settled = await _settled(fixture) - before
        stopping.set()
        await asyncio.gather(*loops)
    return BudgetUse(
        seconds=taken,
        calls=calls,
        allowed=taken * _RATE,
        used=calls / (taken * _RATE),
        settled=settled,
        settled_a_second=settled / taken,
        throttled=throttled,
    )


async def _until(stopping: asyncio.Event, step: Callable[[], Awaitable[bool]]) -> None:
    while not stopping.is_set():
        if not await step():
            await asyncio.sleep(0.05)


async def _settled(fixture: SinkFixture) -> int:
    (row,) = await fixture.ledger.fetch(
        "SELECT count(*) AS items FROM submission_items WHERE state = 'accepted'"
    )
    return int(row["items"])


def _configure(simulator: str, *, delay: float) -> None:
    def post(what: str, **fields: object) -> None:
        url = f"{simulator}/__simulator__/{what}"
        httpx.post(url, json=fields, trust_env=False).raise_for_status()

    post("reset", everything=True)
    post("settings", requestsPerSecond=int(_RATE), requestWindow="sliding", resultDelay=delay)
    register(post)


def _counted(simulator: str) -> tuple[int, int]:
    reply = httpx.get(f"{simulator}/__simulator__/requests", timeout=30, trust_env=False)
    counted: Any = reply.json()
    return int(counted["total"]), int(counted["codes"].get("H124", 0))
