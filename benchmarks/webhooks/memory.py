"""The benchmark ``webhook-memory``: the most memory of the webhooks process.

Permissions are published while it follows their topic for subscribers of every kind: one keeps up,
the others do not answer, so that all that the topic has waits for them. Then it is started again,
with all of it behind. Its peak counts, as the kernel has it, of both processes.
"""

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table

from benchmarks.gate.published import CUSTOMER, permissions, publish
from benchmarks.process_usage import peak_megabytes
from benchmarks.results import RunReport, progress
from benchmarks.webhooks.throughput import webhooks_process
from benchmarks.worker.installation import installation
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.registry import customers
from izin.ledger.webhooks import registry
from izin.ledger.webhooks.registry import EventFilter, NewSubscriber, WebhookType
from izin.local import Postgres, create_database
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.webhooks.partitions import cursors_at_end
from izin.webhooks.posting import new_secret

_PARTITIONS = 12
_NOBODY = "http://127.0.0.1:9/hook"
_KEEPING_UP = "keeping-up"
_WITHIN = 1800.0
_READ = """
SELECT coalesce(sum(c.next_offset), 0) AS read
FROM delivery_cursors AS c JOIN subscribers AS s ON s.id = c.subscriber_id
WHERE c.topic = %(topic)s AND s.name = %(name)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMemory:
    """The most resident memory of the process, in MiB."""

    while_published: float
    after_a_restart: float


def webhook_memory(
    keys: Annotated[int, typer.Option(min=1000, help="Permissions in the topic.")] = 5_000_000,
    failing: Annotated[int, typer.Option(min=1, help="Subscribers that do not answer.")] = 10,
) -> RunReport:
    """Measure the memory of the webhooks process with so many permissions in the topic."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status(f"publishing and reading {keys:,} permissions"),
        installation(Path(name), partitions=_PARTITIONS) as settings,
        Postgres(Path(name)) as postgres,
    ):
        database = create_database(postgres.url, "bench")
        found = asyncio.run(_measure(settings, database, Path(name), keys, failing))
    peak = max(found.while_published, found.after_a_restart)
    table = Table(title=f"Webhooks with {keys:,} permissions, {failing} failing subscribers")
    for heading in ("peak while published", "peak after a restart"):
        table.add_column(heading, justify="right")
    table.add_row(f"{found.while_published:.0f} MiB", f"{found.after_a_restart:.0f} MiB")
    return RunReport(tables=[table], data=asdict(found), figures={"webhook-memory": peak})


async def _measure(
    settings: KafkaSettings, database: str, folder: Path, keys: int, failing: int
) -> WebhookMemory:
    await migrate(database)
    async with Ledger(
        LedgerSettings(database_url=SecretStr(database), pool_size=1), owner=1
    ) as ledger:
        await _register(ledger, settings, failing)
        peaks = []
        for count in (keys, 0):
            process = webhooks_process(settings, database, folder)
            try:
                await asyncio.to_thread(process.start)
                await asyncio.to_thread(process.wait_ready)
                await asyncio.to_thread(
                    publish, settings, settings.topics.permissions, permissions(count)
                )
                await _until_read(ledger, settings, keys)
                peaks.append(peak_megabytes(process.pid or 0))
            finally:
                await asyncio.to_thread(process.stop)
    return WebhookMemory(while_published=peaks[0], after_a_restart=peaks[1])


async def _register(ledger: Ledger, settings: KafkaSettings, failing: int) -> None:
    """Register one subscriber that wants opt-outs alone, of which there are none, and others that
    want all and do not answer.
    """
    now = datetime.now(UTC)
    await customers.add(ledger, CUSTOMER, "Acme", by="bench", now=now)
    cursors = await asyncio.to_thread(cursors_at_end, settings)
    opt_outs = EventFilter(customer_id=CUSTOMER, types=frozenset({WebhookType.OPTED_OUT}))
    everything = EventFilter(customer_id=CUSTOMER)
    named = {_KEEPING_UP: opt_outs} | {f"failing-{one}": everything for one in range(failing)}
    for name, chosen in named.items():
        new = NewSubscriber(name=name, url=_NOBODY, filter=chosen, parallel=8, secret=new_secret())
        await registry.add(ledger, new, cursors, by="bench", now=now)


async def _until_read(ledger: Ledger, settings: KafkaSettings, keys: int) -> None:
    """Return once all permissions were read for the subscriber that keeps up."""
    asked = {"topic": settings.topics.permissions.name, "name": _KEEPING_UP}
    async with asyncio.timeout(_WITHIN):
        while (await ledger.fetch(_READ, asked))[0]["read"] < keys:  # noqa: ASYNC110  # of another process
            await asyncio.sleep(0.5)
