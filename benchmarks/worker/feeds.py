"""The benchmark ``feeds``: from a publisher's call until clients of the pull API have the opt-out.

Each client waits for the next page, as subscribers do. Order worker and feeds run as processes of
their own, and a probe counts once for each client.
"""

import asyncio
import operator
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import httpx
import typer
from rich.table import Table

from benchmarks import ROOT
from benchmarks.brands import register_brand
from benchmarks.results import RunReport
from benchmarks.worker.installation import BrokerOption, PartitionsOption, measuring
from benchmarks.worker.order_worker import order_worker
from benchmarks.worker.probe import BRAND, LatencySummary, Probe
from izin.kafka.clients import producer
from izin.local import Child, Command, free_port
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import ApiKey, Scope, new_api_key
from izin.schemas.codec import Codec

_INTERVAL = 0.2
_WITHIN = 60.0
_CUSTOMER = "bench"
_KEY_ID = "0a1b2c3d4e5f-1"
_POLL = 0.05


@dataclass(kw_only=True)
class Client:
    """A subscriber that always waits for the next page."""

    url: str
    headers: Mapping[str, str]
    is_waiting: threading.Event = field(default_factory=threading.Event)
    """Whether it has a cursor at the end."""
    seen: dict[bytes, float] = field(default_factory=dict)
    """When it had each opt-out, by its key."""

    async def run(self) -> None:
        """Read until cancelled."""
        async with httpx.AsyncClient(headers=self.headers, timeout=_WITHIN) as http:
            query: dict[str, str] = {"from": "now"}
            while True:
                response = await http.get(self.url, params=query)
                now = time.perf_counter()
                page = response.raise_for_status().json()
                for item in page["items"]:
                    self.seen.setdefault(item["key"].encode(), now)
                query = {"after": page["next"], "wait": "30"}
                self.is_waiting.set()


def feeds(
    probes: Annotated[int, typer.Option(min=20, help="Opt-outs, five a second.")] = 500,
    clients: Annotated[int, typer.Option(min=1, help="Clients that wait.")] = 20,
    partitions: PartitionsOption = 4,
    bootstrap_servers: BrokerOption = None,
) -> RunReport:
    """Measure how soon clients of the feeds have an opt-out."""
    with measuring(partitions, bootstrap_servers) as (settings, folder, show):
        show(f"publishing {probes} opt-outs")
        found = measure(settings, folder, probes=probes, clients=clients)
    table = Table(title=f"Published until returned, {probes:,} opt-outs, {clients:,} clients")
    for name in ("", "p50", "p99", "most"):
        table.add_column(name, justify="right")
    table.add_row("ms", *(f"{one:.1f}" for one in (found.p50, found.p99, found.most)))
    return RunReport(
        tables=[table],
        data={"unit": "ms", "clients": clients, "latencies": [asdict(found)]},
        figures={"feeds": found.p99},
    )


def measure(settings: KafkaSettings, folder: Path, *, probes: int, clients: int) -> LatencySummary:
    """Return the latencies of ``probes`` opt-outs at each of ``clients``.

    Raises:
        TimeoutError: a client did not get all of them.
    """
    text, secret_hash = new_api_key(_KEY_ID, bytes)
    _publish_key(settings, secret_hash)
    register_brand(settings, BRAND, _CUSTOMER)
    feed, url = _feeds_process(settings, folder)
    processes = (order_worker(settings, folder), feed)
    with _started(processes), Probe(settings, Codec()) as probe:
        waiting = [
            Client(url=f"{url}/v1/opt-outs", headers={"Authorization": f"Bearer {text}"})
            for _ in range(clients)
        ]
        with _running(waiting):
            for one in waiting:
                if not one.is_waiting.wait(_WITHIN):
                    raise TimeoutError("a client got no cursor")
            probe.run(
                settings.topics.express.name,
                every=_INTERVAL,
                random=Random(17),
                should_continue=partial(operator.gt, probes),
            )
            _wait_for_all(waiting, probe.sent)
    seconds = [at - probe.sent[key] for one in waiting for key, at in one.seen.items()]
    return LatencySummary.of("opt-outs", seconds)


@contextmanager
def _started(processes: Sequence[Child]) -> Iterator[None]:
    """Run ``processes``, which are ready from the start."""
    try:
        for one in processes:
            one.start()
        for one in processes:
            one.wait_ready()
        yield
    finally:
        for one in processes:
            one.kill()


def _wait_for_all(clients: Sequence[Client], sent: Mapping[bytes, float]) -> None:
    until = time.perf_counter() + _WITHIN
    while not all(one.seen.keys() >= sent.keys() for one in clients):
        if time.perf_counter() > until:
            raise TimeoutError(f"not every client got all opt-outs in {_WITHIN:.0f} s")
        time.sleep(_POLL)  # clients read in a thread; to look without a pause would use its CPU


@contextmanager
def _running(clients: Sequence[Client]) -> Iterator[None]:
    """Run ``clients`` in an event loop of a thread of their own."""
    over = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        tasks = [asyncio.create_task(one.run()) for one in clients]
        await over.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="clients")
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def _feeds_process(settings: KafkaSettings, folder: Path) -> tuple[Child, str]:
    """Return the process of the feeds, not yet started, and its URL."""
    port = free_port()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": settings.partitions,
        "IZIN_KAFKA_LOG_LEVEL": settings.client_log_level,
        "IZIN_FEEDS_PORT": port,
        "IZIN_FEEDS_OPERATIONS_PORT": free_port(),
    }
    given = (f"{name}={value}" for name, value in environment.items())
    url = f"http://127.0.0.1:{port}"
    command = Command(
        name="feeds",
        argv=("env", "-u", "SCHEMA_REGISTRY_URL", *given, sys.executable, "-m", "izin.feeds"),
        folder=ROOT,
        log=folder / "feeds.log",
        ready=f"{url}/health/ready",
    )
    return Child(command), url


def _publish_key(settings: KafkaSettings, secret_hash: bytes) -> None:
    key = ApiKey(
        id=_KEY_ID,
        name="bench",
        secret_hash=secret_hash,
        scopes=frozenset({Scope.SUBSCRIBE.value}),
        customers=frozenset({_CUSTOMER}),
        created_at=datetime.now(UTC),
    )
    client = producer(settings)
    value = Codec().encode("ApiKey", key.to_avro())
    client.produce(settings.topics.api_keys.name, key=_KEY_ID.encode(), value=value)
    client.flush(_WITHIN)
