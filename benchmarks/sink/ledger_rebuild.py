"""The benchmark ``ledger-rebuild``: the rows of a ledger computed again from its history.

Every key has one decision, ingested as the sink worker does. Then its rows are folded from the
history into the shadow, in processes, and compared with the rows that stand, by digest and key by
key: the dry run of ``izin replay rebuild ledger``. The way through Kafka is left out.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table

from benchmarks.results import RunReport, progress
from benchmarks.sink.fixture import SinkFixture, sink_fixture
from izin.local import Postgres
from izin.replay.ledger.rebuild import LedgerRebuild
from izin.runtime.plan import Selection
from izin.runtime.settings import KafkaSettings, LedgerSettings

_PORTION = 100_000
"""Decisions that are encoded before they are ingested."""
_CALLS = """SELECT (SELECT count(*) FROM submissions)
    + (SELECT count(*) FROM history WHERE kind IN ('call', 'answer', 'delivery'))
    + (SELECT coalesce(sum(slot), 0) FROM rate_limits) AS calls"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildTimes:
    """What was rebuilt, and how long that took."""

    keys: int
    workers: int
    seconds: float
    is_equal: bool
    differences: int
    calls: int
    """Submissions, calls, deliveries and slots of the rate limit that the rebuild took."""


def ledger_rebuild(
    keys: Annotated[int, typer.Option(min=100, help="Keys of the ledger.")] = 1_000_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that fold.")] = 2,
) -> RunReport:
    """Rebuild the rows of a ledger from its history, and compare digests."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("filling the ledger"),
        Postgres(Path(folder)) as postgres,
    ):
        plan = Path(folder) / "plan.json"
        times = asyncio.run(measure_rebuild(postgres.url, plan, keys=keys, workers=workers))
    table = Table(title=f"{times.keys:,} keys rebuilt by {times.workers} processes")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_row("seconds", f"{times.seconds:.1f}")
    table.add_row("keys/s", f"{times.keys / times.seconds:,.0f}")
    table.add_row("digests equal", "yes" if times.is_equal else "no")
    table.add_row("keys that differ", f"{times.differences:,}")
    table.add_row("calls and deliveries", f"{times.calls:,}")
    failures = []
    if not times.is_equal or times.differences:
        failures.append(f"{times.differences} rows differ from what the history makes of them")
    if times.calls:
        failures.append(f"the rebuild made {times.calls} calls or deliveries")
    return RunReport(
        tables=[table],
        data={"rebuild": asdict(times)},
        figures={"ledger-rebuild": None if failures else times.seconds},
        failures=failures,
    )


async def measure_rebuild(url: str, plan: Path, *, keys: int, workers: int) -> RebuildTimes:
    """Rebuild a ledger at ``url`` with ``keys`` keys, of one decision each."""
    async with filled(url, KafkaSettings(), keys=keys) as fixture:
        before = await calls(fixture)
        began = time.perf_counter()
        found = await rebuild_of(fixture, url, workers).plan(plan, Selection(), by="benchmark")
        seconds = time.perf_counter() - began
        made = await calls(fixture) - before
    return RebuildTimes(
        keys=found.shadow_keys,
        workers=workers,
        seconds=seconds,
        is_equal=found.shadow == found.current and found.shadow_keys == keys,
        differences=sum(found.differences.values()),
        calls=made,
    )


@asynccontextmanager
async def filled(url: str, settings: KafkaSettings, *, keys: int) -> AsyncIterator[SinkFixture]:
    """Yield a new ledger at ``url`` that has ingested a decision on each of ``keys`` keys."""
    async with sink_fixture(url, settings, keys=0) as fixture:
        left = keys
        while left > 0:
            await fixture.ingest(fixture.decisions(min(left, _PORTION)))
            left -= _PORTION
        async with fixture.ledger.session() as connection:
            await connection.execute("VACUUM ANALYZE history, consents")
        yield fixture


def rebuild_of(fixture: SinkFixture, url: str, workers: int) -> LedgerRebuild:
    """Return the rebuilds of the ledger of ``fixture``, which is at ``url``."""
    return LedgerRebuild(
        ledger=fixture.ledger,
        settings=LedgerSettings(database_url=SecretStr(url)),
        clock=lambda: datetime.now(UTC),
        workers=workers,
    )


async def calls(fixture: SinkFixture) -> int:
    """Return how many calls to İYS and deliveries were made, or slots for them taken, so far."""
    (row,) = await fixture.ledger.fetch(_CALLS)
    return int(row["calls"])
