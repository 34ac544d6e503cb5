"""The benchmark ``webhook-throughput``: deliveries a second of a core, each acknowledged durably,
compared with what a bare httpx client posts to the same receiver.

A backlog of opt-outs of different recipients waits for one subscriber. Both processes are measured
by their own CPU time, for receiver, broker and database share the machine with them.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table

from benchmarks import ROOT
from benchmarks.process_usage import cpu_seconds
from benchmarks.results import RunReport, progress
from benchmarks.worker.installation import installation
from izin.kafka import clients
from izin.ledger import brands
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import Brand, TopicMessages
from izin.ledger.registry import customers
from izin.ledger.webhooks import registry
from izin.ledger.webhooks.registry import EventFilter, NewSubscriber
from izin.local import Child, Command, Postgres, create_database, free_port
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.records import headers
from izin.webhooks.partitions import cursors_at_end
from izin.webhooks.posting import new_secret

_PROCESS = "izin.webhooks"
_CUSTOMER, _BRAND = "acme", 100001
_WITHIN = 600.0
_COUNT = "SELECT count(*) AS n FROM deliveries"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingRate:
    """What one contender has posted."""

    name: str
    posts: int
    seconds: float
    cpu: float

    @property
    def of_a_core(self) -> float:
        """Posts for each second of CPU time."""
        return self.posts / self.cpu


def webhook_throughput(
    events: Annotated[int, typer.Option(min=100, help="Events of the backlog.")] = 20_000,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Requests at a time.")] = 32,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of every topic.")] = 4,
    trials: Annotated[int, typer.Option(min=1, help="Of each, in turn; the median counts.")] = 3,
) -> RunReport:
    """Measure how many deliveries a core makes, and compare with a bare HTTP client."""
    found: list[PostingRate] = []
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status("starting") as status,
        installation(Path(name), partitions=partitions) as settings,
        Postgres(Path(name)) as postgres,
        _receiving() as url,
    ):
        for number in range(trials):
            status.update(f"trial {number + 1} of {trials}")
            database = create_database(postgres.url, f"bench{number}")
            found.append(_bare(url, events, parallel))
            found.append(
                asyncio.run(_deliver(settings, database, url, Path(name), events, parallel))
            )
    bare, ours = (_median(found, name) for name in ("bare httpx", "webhooks"))
    table = Table(title=f"{events:,} posts, {parallel} at a time, median of {trials}")
    table.add_column("contender")
    for heading in ("posts/s of a core", "posts/s", "CPU µs a post"):
        table.add_column(heading, justify="right")
    for one in (bare, ours):
        rate = f"{one.posts / one.seconds:,.0f}"
        cost = f"{one.cpu / one.posts * 1e6:,.0f}"
        table.add_row(one.name, f"{one.of_a_core:,.0f}", rate, cost)
    return RunReport(
        tables=[table],
        data={"events": events, "contenders": [asdict(one) for one in found]},
        figures={"webhook-throughput": ours.of_a_core / bare.of_a_core * 100},
    )


def _median(found: list[PostingRate], name: str) -> PostingRate:
    some = sorted((one for one in found if one.name == name), key=lambda one: one.of_a_core)
    return some[len(some) // 2]


@contextmanager
def _receiving() -> Iterator[str]:
    argv = [sys.executable, "-m", "benchmarks.webhooks.receiver"]
    with subprocess.Popen(  # noqa: S603  # our own module
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        if process.stdout is None or process.stdin is None:
            raise OSError("the receiver has no pipes")
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/hook"
        process.stdin.close()


def _bare(url: str, count: int, parallel: int) -> PostingRate:
    body = json.dumps({"type": "consent.opted-out", "data": {"recipient": "x" * 700}}).encode()
    argv = [sys.executable, "-m", "benchmarks.webhooks.bare_client", url, str(count), str(parallel)]
    ended = subprocess.run(argv, input=body, capture_output=True, check=True, cwd=ROOT)  # noqa: S603  # our own
    taken = json.loads(ended.stdout)
    return PostingRate(name="bare httpx", posts=count, seconds=taken["seconds"], cpu=taken["cpu"])


async def _deliver(  # noqa: PLR0913, PLR0917  # where, and how much
    settings: KafkaSettings, database: str, url: str, folder: Path, count: int, parallel: int
) -> PostingRate:
    await migrate(database)
    ledger_settings = LedgerSettings(database_url=SecretStr(database), pool_size=1)
    async with Ledger(ledger_settings, owner=1) as ledger:
        now = datetime.now(UTC)
        await customers.add(ledger, _CUSTOMER, "Acme", by="bench", now=now)
        brand = Brand(brand_code=_BRAND, iys_code=_BRAND, customer_id=_CUSTOMER, name="Acme")
        messages = TopicMessages(Codec(), settings.topics)
        await brands.upsert(ledger, messages, brand, by="bench", now=now)
        new = NewSubscriber(
            name="bench",
            url=url,
            filter=EventFilter(customer_id=_CUSTOMER),
            parallel=parallel,
            secret=new_secret(),
        )
        cursors = await asyncio.to_thread(cursors_at_end, settings)
        await registry.add(ledger, new, cursors, by="bench", now=now)
        await asyncio.to_thread(_publish, settings, count)
        process = webhooks_process(settings, database, folder)
        try:
            await asyncio.to_thread(process.start)
            await asyncio.to_thread(process.wait_ready)
            return await _until_delivered(ledger, process, count)
        finally:
            await asyncio.to_thread(process.stop)


async def _until_delivered(ledger: Ledger, process: Child, count: int) -> PostingRate:
    """Return the rate from the first tenth until everything is acknowledged."""
    first: tuple[int, float, float] | None = None
    async with asyncio.timeout(_WITHIN):
        while True:
            done = int((await ledger.fetch(_COUNT))[0]["n"])
            at, cpu = monotonic(), cpu_seconds(process.pid or 0)
            if first is None and done >= count / 10:
                first = done, at, cpu
            if first is not None and done >= count:
                posts, begun, used = first
                return PostingRate(
                    name="webhooks", posts=done - posts, seconds=at - begun, cpu=cpu - used
                )
            await asyncio.sleep(0.02)


def webhooks_process(settings: KafkaSettings, database: str, folder: Path) -> Child:
    """Return a webhooks process of this installation, to be started."""
    port, operations = free_port(), free_port()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": str(settings.partitions),
        "DATABASE_URL": database,
        "IZIN_WEBHOOK_PORT": str(port),
        "IZIN_WEBHOOK_OPERATIONS_PORT": str(operations),
        "IZIN_WEBHOOK_ALLOWED": '["127.0.0.0/8"]',
        "IZIN_WEBHOOK_CATCH_UP_RATE": "1000000",
    }
    given = (f"{name}={value}" for name, value in environment.items())
    return Child(
        Command(
            name="webhooks",
            argv=("env", "-u", "SCHEMA_REGISTRY_URL", *given, sys.executable, "-m", _PROCESS),
            folder=ROOT,
            log=folder / "webhooks.log",
            ready=f"http://127.0.0.1:{port}/health/ready",
        )
    )


def _publish(settings: KafkaSettings, count: int) -> None:
    """Publish opt-outs of so many recipients, as the order stage writes them."""
    codec, client, now = Codec(), clients.producer(settings), datetime.now(UTC)
    for number in range(count):
        record = _consent(number, now)
        key = f"{_BRAND}/MESAJ/BIREYSEL/{record['recipient']}"
        client.produce(
            settings.topics.opt_outs.name,
            key=key.encode(),
            value=codec.encode("Consent", record),
            headers=headers(record="Consent", event_id=f"b-{number}", source="/bench", at=now),
        )
        client.poll(0)
    client.flush(_WITHIN)


def _consent(number: int, now: datetime) -> dict[str, object]:
    return {
        "customer_id": _CUSTOMER,
        "brand_code": _BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": f"+90555{number:07d}",
        "status": "RET",
        "previous_status": "ONAY",
        "effective_at": now,
        "origin_rank": 0,
        "event_id": f"bench-{number}",
        "origin": "web",
        "source": "HS_WEB",
        "consent_date": now,
        "registrable": True,
        "latest_onay_at": now,
        "latest_ret_at": now,
        "law_version": 2,
    }
