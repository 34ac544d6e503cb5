"""``python -m izin.bench sink``: what the ledger costs at size, and how much of İYS's pace is used.

Decisions are decoded and ingested; a thousand keys are claimed and told, and their results settled,
by İYS's answers without İYS, on a ledger that holds many more; then, against the twin at İYS's own
ten requests a second, with results after seconds instead of five minutes, the share of the pace
that is used and the consents that settle.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cpu_timing import machine
from benchmarks.results import keep
from benchmarks.simulator import load
from benchmarks.sink.fixture import filled
from benchmarks.sink.submission_cost import AtSize, AtTheLimit, at_size, at_the_limit
from izin.local import Postgres
from izin.runtime.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Callable


def sink(  # noqa: PLR0913, PLR0917 - an option is an argument
    keys: Annotated[int, typer.Option(min=0, help="Settled keys in the ledger.")] = 1_000_000,
    ingested: Annotated[int, typer.Option(min=1000, help="Decisions to ingest.")] = 20_000,
    laps: Annotated[int, typer.Option(min=1, help="Thousands to claim and settle.")] = 10,
    seconds: Annotated[float, typer.Option(min=5, help="How long at İYS's limit.")] = 60,
    delay: Annotated[float, typer.Option(min=0.5, help="Seconds until results.")] = 5,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/sink.json"
    ),
) -> None:
    """Measure ingest, claim and settle on a large ledger, and the pace at İYS's limit."""
    console, where = Console(), machine()
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        console.status("filling the ledger") as told,
        Postgres(Path(folder)) as postgres,
        load.simulator(Path(folder), None) as twin,
    ):
        size, limit = asyncio.run(
            _measured(
                postgres.url,
                load.url_of(twin),
                keys=keys,
                ingested=ingested,
                laps=laps,
                seconds=seconds,
                delay=delay,
                progress=told.update,
            )
        )
    console.print(_table(size, limit, where))
    keep(
        results,
        console,
        {"machine": where, "at_size": asdict(size), "at_the_limit": asdict(limit)},
    )


async def _measured(  # noqa: PLR0913 - the options
    url: str,
    twin: str,
    *,
    keys: int,
    ingested: int,
    laps: int,
    seconds: float,
    delay: float,
    progress: Callable[[str], None],
) -> tuple[AtSize, AtTheLimit]:
    async with filled(url, KafkaSettings(), keys=keys) as ledger:
        progress("ingesting, claiming and settling")
        size = await at_size(ledger, url, ingested=ingested, laps=laps, keys=keys)
        progress("at İYS's limit")
        limit = await at_the_limit(ledger, url, twin, seconds=seconds, delay=delay)
    return size, limit


def _table(size: AtSize, limit: AtTheLimit, where: str) -> Table:
    table = Table(title=f"The sinks, {size.keys:,} settled keys in the ledger\n{where}")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_column("bar", justify="right")
    rows = (
        ("decisions ingested a second, new keys", f"{size.ingested_a_second:,.0f}", "40,000"),
        ("CPU of the process, µs a decision", f"{size.ingest_cpu_us:,.0f}", ""),
        ("known keys ingested a second", f"{size.known_a_second:,.0f}", ""),
        ("CPU of the process, µs a decision", f"{size.known_cpu_us:,.0f}", ""),
        ("1,000 keys claimed, ms", f"{size.claimed_ms:,.0f}", ""),
        ("1,000 keys settled, ms", f"{size.settled_ms:,.0f}", ""),
        ("both, ms (median)", f"{size.claimed_and_settled_ms:,.0f}", "100"),
        ("both, ms (slowest)", f"{size.slowest_ms:,.0f}", ""),
        ("between them, İYS's receipt kept, ms", f"{size.taken_ms:,.0f}", ""),
        ("all three, CPU of the process, ms", f"{size.cpu_ms:,.0f}", ""),
        (f"bytes a movement, of {size.movements:,}", f"{size.movement_bytes:,.0f}", "450"),
        (f"calls in {limit.seconds:.0f} s at İYS's limit", f"{limit.calls:,}", ""),
        ("share of the pace used", f"{limit.used:.1%}", "95 %"),
        ("consents settled a second", f"{limit.settled_a_second:,.0f}", ""),
        ("H124", f"{limit.throttled}", "0"),
    )
    for row in rows:
        table.add_row(*row)
    return table
