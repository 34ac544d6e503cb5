"""The benchmark ``outbox``: a read of the outbox under an old snapshot, to one of an empty outbox.

Another session keeps a snapshot from before, as a backup or a long report does, so that delivered
rows stay in the index. Rows are added, read and deleted as the relay does it, page by page. The
empty outbox is read in the same run, and so is the full one from its first id.
"""

import asyncio
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table

from benchmarks.results import RunReport, progress
from izin.ledger.db import Ledger, statements
from izin.ledger.db.migrate import migrate
from izin.local import Postgres
from izin.runtime.settings import LedgerSettings
from izin.sinks.publish.publisher import OutboxReader

_PAGE = 2000
_ADD = """INSERT INTO outbox (customer_id, topic, key, value, headers, occurred_at)
    SELECT 'acme', 'consent-outcomes', 'key-' || n, decode(repeat('00', 200), 'hex'), '{}', now()
    FROM generate_series(1, %(rows)s) AS n RETURNING id"""
_DELIVERED = statements("outbox")["delivered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxReads:
    """Medians of reads that find one row, in milliseconds."""

    delivered: int
    empty_ms: float
    """Nothing was ever delivered."""
    floor_ms: float
    """After the delivered rows, from the floor."""
    first_id_ms: float
    """The same from the first id, as a process reads once that takes over."""


def outbox(
    delivered: Annotated[int, typer.Option(min=_PAGE, help="Rows to deliver.")] = 1_000_000,
    trials: Annotated[int, typer.Option(min=3, help="Reads of each kind.")] = 200,
) -> RunReport:
    """Measure reads of the outbox while an old snapshot keeps delivered rows alive."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("delivering under an old snapshot"),
        Postgres(Path(folder)) as postgres,
    ):
        found = asyncio.run(measure_outbox_reads(postgres.url, delivered=delivered, trials=trials))
    table = Table(title=f"Reads of the outbox, {found.delivered:,} rows delivered")
    table.add_column("read")
    table.add_column("ms, median", justify="right")
    for name, took in (
        ("of an empty outbox", found.empty_ms),
        ("under an old snapshot, from the floor", found.floor_ms),
        ("under an old snapshot, from the first id", found.first_id_ms),
    ):
        table.add_row(name, f"{took:.2f}")
    return RunReport(
        tables=[table],
        data={"reads": asdict(found)},
        figures=figures(found),
    )


def figures(reads: OutboxReads) -> dict[str, float]:
    """Return the figure that has a bar."""
    return {"outbox-read": reads.floor_ms / reads.empty_ms}


async def measure_outbox_reads(url: str, *, delivered: int, trials: int) -> OutboxReads:
    """Return how long reads take before and after ``delivered`` rows, under an old snapshot."""
    await migrate(url)
    async with (
        Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger,
        ledger.session() as old,
    ):
        await old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await old.execute("SELECT FROM brands")
        reader = OutboxReader()
        await ledger.fetch(_ADD, {"rows": 1})
        empty = [await _read(ledger, reader) for _ in range(trials)]
        count = 0
        while count < delivered:
            await ledger.fetch(_ADD, {"rows": _PAGE})
            count += await _deliver(ledger, reader)
        while await _deliver(ledger, reader):
            pass
        await ledger.fetch(_ADD, {"rows": 1})
        floor = [await _read(ledger, reader) for _ in range(trials)]
        first = [await _read(ledger, OutboxReader()) for _ in range(3)]
    return OutboxReads(
        delivered=count,
        empty_ms=statistics.median(empty),
        floor_ms=statistics.median(floor),
        first_id_ms=statistics.median(first),
    )


async def _read(ledger: Ledger, reader: OutboxReader) -> float:
    """Read the row that waits; return how many milliseconds that took."""
    async with ledger.transaction() as connection:
        began = time.perf_counter()
        rows = await reader.next(connection, _PAGE)
        took = (time.perf_counter() - began) * 1000
    if len(rows) != 1:
        raise RuntimeError(f"{len(rows)} rows were read instead of one")
    return took


async def _deliver(ledger: Ledger, reader: OutboxReader) -> int:
    """Read a page and delete it; return its size."""
    async with ledger.transaction() as connection:
        rows = await reader.next(connection, _PAGE)
    if rows:
        await ledger.fetch(_DELIVERED, {"ids": [row["id"] for row in rows]})
    return len(rows)
