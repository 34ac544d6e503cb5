"""What telling costs: by İYS's answers without İYS, and against the twin at its limit."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import SecretStr

from benchmarks.sink.iys_account import SECRET, WHO, register
from izin.iys import InProcessPacer, IysClient, Pace, TokenAuth
from izin.runtime.settings import IysSettings
from izin.sinks.ledger.access_tokens import LedgerTokenStore
from izin.sinks.ledger.rate_limits import LedgerPacer
from izin.sinks.outbound.batch_results import Settler
from izin.sinks.outbound.context import Tools
from izin.sinks.outbound.loops import persist
from izin.sinks.outbound.schedule import Submitter
from izin.sinks.outbound.send import Teller
from izin.sinks.outbound.status_query import Asker
from izin.sinks.record.lease import Holder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.sink.fixture import Filled

_BATCH = 1000
_LANES = (3, 2)
"""Of bulk and of results, as a worker has them."""
_WARM = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AtSize:
    """What the ledger costs; times in milliseconds a thousand keys, sizes in bytes a movement."""

    keys: int
    ingested_a_second: float
    """Of recipients nobody has spoken of."""
    ingest_cpu_us: float
    known_a_second: float
    """Of recipients that say no, and yes again."""
    known_cpu_us: float
    claimed_ms: float
    """Until the call reaches İYS, its intent kept."""
    taken_ms: float
    """From İYS's answer on, until its receipt is kept."""
    settled_ms: float
    """The question, its answer read, and what follows from it."""
    claimed_and_settled_ms: float
    slowest_ms: float
    cpu_ms: float
    """Of all three, the process's own; what PostgreSQL uses beside it is not in it."""
    movement_bytes: float
    movements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtTheLimit:
    """What became of İYS's ten requests a second."""

    seconds: float
    calls: int
    allowed: float
    """What İYS takes in that time."""
    used: float
    settled: int
    settled_a_second: float
    throttled: int


async def at_size(ledger: Filled, url: str, *, ingested: int, laps: int, keys: int) -> AtSize:
    """Return what ingesting, claiming and settling cost on the ledger as it is."""
    taken, used = await _ingested(ledger, ledger.decisions(ingested))
    await ledger.owe(url, (laps + _WARM) * _BATCH)
    settings = IysSettings(
        base_url="http://iys.example.com", username="bench", password=SecretStr("none")
    )
    clock = _Ahead()
    pacer = LedgerPacer(ledger.ledger, Pace(rate=1e6), address="none")
    await pacer.begin()
    claimed, taken_in, settled, spent = (list[float]() for _ in range(4))
    willing = _Willing()
    async with IysClient(
        settings,
        auth=httpx.Auth(),
        pacer=InProcessPacer(Pace(rate=1e6)),
        transport=httpx.MockTransport(willing),
    ) as client:
        tools = _tools(ledger, client, pacer, clock)
        submitter, settler = _lanes(tools, timedelta(seconds=1))
        for lap in range(laps + _WARM):
            first, used_before = willing.seconds(), willing.cpu_seconds()
            if not await submitter.bulk():
                raise RuntimeError("nothing to tell")
            second, reached = willing.seconds(), willing.reached
            clock.ahead += timedelta(seconds=2)
            third = willing.seconds()
            if not await settler.settle():
                raise RuntimeError("nothing to settle")
            if lap >= _WARM:
                claimed.append((reached - first) * 1000)
                taken_in.append((second - reached) * 1000)
                settled.append((willing.seconds() - third) * 1000)
                spent.append((willing.cpu_seconds() - used_before) * 1000)
    both = [one + other for one, other in zip(claimed, settled, strict=True)]
    (row,) = await ledger.ledger.fetch(
        """SELECT count(*) AS rows, (
            SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits
            WHERE inhparent = 'movements'::regclass) AS bytes FROM movements"""
    )
    changes = ledger.changes(min(ingested, keys))
    taken_again, used_again = await _ingested(ledger, changes)
    return AtSize(
        keys=keys,
        ingested_a_second=ingested / taken,
        ingest_cpu_us=used / ingested * 1e6,
        known_a_second=len(changes) / taken_again,
        known_cpu_us=used_again / len(changes) * 1e6,
        claimed_ms=statistics.median(claimed),
        taken_ms=statistics.median(taken_in),
        settled_ms=statistics.median(settled),
        claimed_and_settled_ms=statistics.median(both),
        slowest_ms=max(both),
        cpu_ms=statistics.median(spent),
        movement_bytes=float(row["bytes"]) / row["rows"],
        movements=row["rows"],
    )


async def _ingested(ledger: Filled, values: Sequence[bytes]) -> tuple[float, float]:
    """Ingest ``values``; return how many seconds that took, and how many of the process."""
    began, cpu = time.perf_counter(), time.process_time()
    await ledger.ingest(values)
    return time.perf_counter() - began, time.process_time() - cpu


async def at_the_limit(
    ledger: Filled, url: str, twin: str, *, seconds: float, delay: float
) -> AtTheLimit:
    """Return how much of İYS's pace is used while there is always something to tell."""
    rate = 10.0
    _set_up(twin, delay=delay)
    await ledger.owe(url, int(rate * seconds * _BATCH))
    settings = IysSettings(base_url=twin, username=WHO, password=SecretStr(SECRET))
    pacer = LedgerPacer(ledger.ledger, Pace(rate=rate), address="limit")
    await pacer.begin()
    store = LedgerTokenStore(ledger=ledger.ledger, account=WHO, address="limit")
    before = await _settled(ledger)
    async with IysClient(settings, auth=TokenAuth(settings, store), pacer=pacer) as client:
        tools = _tools(ledger, client, pacer, _Ahead())
        submitter, settler = _lanes(tools, timedelta(seconds=delay * 1.2))
        stopping = asyncio.Event()
        bulk, result = _LANES
        began = time.perf_counter()
        steps = [submitter.bulk] * bulk + [settler.settle] * result
        # As the worker's lanes do: what another lane changed meanwhile is begun anew.
        lanes = [
            asyncio.create_task(persist("lane", partial(_until, stopping, step))) for step in steps
        ]
        await asyncio.sleep(seconds)
        calls, throttled = _counted(twin)
        taken = time.perf_counter() - began
        settled = await _settled(ledger) - before
        stopping.set()
        await asyncio.gather(*lanes)
    allowed = taken * rate
    return AtTheLimit(
        seconds=taken,
        calls=calls,
        allowed=allowed,
        used=calls / allowed,
        settled=settled,
        settled_a_second=settled / taken,
        throttled=throttled,
    )


class _Ahead:
    """The real time, and what a measurement has had pass beside it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class _Willing:
    """İYS's answers without İYS: every batch is taken, and every item of it saved."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self._seconds = self._cpu_seconds = 0.0
        self.reached = 0.0
        """When the last call came, as ``seconds`` counts."""

    def seconds(self) -> float:
        """Return the time as it passes while İYS is not at work."""
        return time.perf_counter() - self._seconds

    def cpu_seconds(self) -> float:
        """Return the CPU time of this process but for İYS's work."""
        return time.process_time() - self._cpu_seconds

    def __call__(self, request: httpx.Request) -> httpx.Response:
        began, cpu = time.perf_counter(), time.process_time()
        self.reached = self.seconds()
        try:
            return self._answer(request)
        finally:
            self._seconds += time.perf_counter() - began
            self._cpu_seconds += time.process_time() - cpu

    def _answer(self, request: httpx.Request) -> httpx.Response:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        if request.method == "POST":
            items = json.loads(request.content)
            name = f"{len(self._taken):032x}"
            self._taken[name] = len(items)
            said = [
                {**item, "subRequestId": f"{name}-{n}", "creationDate": now}
                for n, item in enumerate(items)
            ]
            return httpx.Response(202, json={"requestId": name, "subRequests": said})
        name = request.url.path.rpartition("/")[2]
        saved = [
            {
                "subRequestId": f"{name}-{n}",
                "index": n,
                "status": "success",
                "transactionId": f"{n:064x}",
                "creationDate": now,
            }
            for n in range(self._taken[name])
        ]
        return httpx.Response(200, json=saved)


def _tools(
    ledger: Filled, client: IysClient, pacer: LedgerPacer, clock: Callable[[], datetime]
) -> Tools:
    return Tools(
        ledger=ledger.ledger,
        client=client,
        announcer=ledger.announcer,
        clock=clock,
        pacer=pacer,
        holder=Holder(owner="1", lease=timedelta(seconds=60), call_within=timedelta(seconds=20)),
        unforeseen=_nothing,
    )


def _nothing(_code: str) -> None:
    """Count nothing: what is measured is told elsewhere."""


def _lanes(tools: Tools, result_delay: timedelta) -> tuple[Submitter, Settler]:
    teller = Teller(tools=tools, result_delay=result_delay)
    submitter = Submitter(tools=tools, teller=teller, asker=Asker(tools=tools), batch_size=_BATCH)
    return submitter, Settler(tools=tools, result_delay=result_delay)


async def _until(stopping: asyncio.Event, step: Callable[[], Awaitable[bool]]) -> None:
    while not stopping.is_set():
        if not await step():
            await asyncio.sleep(0.05)


async def _settled(ledger: Filled) -> int:
    (row,) = await ledger.ledger.fetch(
        "SELECT count(*) AS items FROM submission_items WHERE state = 'accepted'"
    )
    return int(row["items"])


def _set_up(twin: str, *, delay: float) -> None:
    def order(what: str, **fields: object) -> None:
        httpx.post(f"{twin}/__simulator__/{what}", json=fields, trust_env=False).raise_for_status()

    order("reset", everything=True)
    order("settings", requestsPerSecond=10, requestWindow="sliding", resultDelay=delay)
    register(order)


def _counted(twin: str) -> tuple[int, int]:
    answer = httpx.get(f"{twin}/__simulator__/requests", timeout=30, trust_env=False)
    told: Any = answer.json()
    return int(told["total"]), int(told["codes"].get("H124", 0))
