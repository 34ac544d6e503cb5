"""The benchmark ``connect``: permissions and opt-outs in a subscriber's tables, by Kafka Connect.

The worker, its sink and its converter are others', set as docs/connect.md shows. The topics are
filled from a ledger first; then the worker starts, and its tables are compared with the ledger, row
by row. At last some keys are erased, whose tombstones delete rows.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import psycopg
import typer
from psycopg.rows import class_row
from rich.table import Table

from benchmarks.connect import page
from benchmarks.connect.publishing import publishing_ledger, registered_codec
from benchmarks.results import RunReport, progress
from izin.local import LocalServers, StartError
from izin.local.servers import DATABASE, KAFKA, REGISTRY
from izin.runtime.settings import KafkaSettings
from tests.support.servers.connect import KafkaConnect

SCHEMA = "subscriber"
"""Where the tables are, in the ledger's database, so that one statement compares them."""

_COUNTS = (
    f"SELECT (SELECT count(*) FROM {SCHEMA}.permissions), count(*) FROM {SCHEMA}.consent_opt_outs"  # noqa: S608  # a constant
)
_POLL = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many recipients are collected, and of these opt out, and of these are erased."""

    rows: int
    opt_outs: int
    erased: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """The rows of the tables, and how many of them differ from the ledger's."""

    permissions: int
    differing_permissions: int
    opt_outs: int
    differing_opt_outs: int
    opt_outs_of_erased: int
    """Rows of keys that the ledger does not have."""

    @property
    def differing(self) -> int:
        """All rows that differ."""
        return self.differing_permissions + self.differing_opt_outs


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesInStep:
    """The tables once they had all records, and once some keys were erased."""

    before: Differences
    seconds: float
    """From the start of the worker until the tables had all records."""
    erased: int
    after: Differences

    @property
    def rows_a_second(self) -> float:
        """Rows written a second, the start of the worker included."""
        return (self.before.permissions + self.before.opt_outs) / self.seconds


def connect(
    rows: Annotated[int, typer.Option(min=100, help="Permissions.")] = 1_000_000,
    opt_outs: Annotated[int, typer.Option(min=1, help="Of these recipients opt out.")] = 50_000,
    erased: Annotated[int, typer.Option(min=1, help="Of these are erased.")] = 1_000,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of every topic.")] = 6,
    limit: Annotated[int, typer.Option(min=10, help="Seconds that the tables may take.")] = 1200,
) -> RunReport:
    """Compare the tables that Kafka Connect writes with the ledger."""
    with (
        TemporaryDirectory(prefix="izin-bench-", ignore_cleanup_errors=True) as folder,
        progress().status("starting") as status,
        LocalServers(Path(folder), registry=True, environ={}) as servers,
    ):
        found = asyncio.run(
            _measured(
                servers,
                Path(folder),
                Counts(rows=rows, opt_outs=opt_outs, erased=erased),
                partitions=partitions,
                limit=limit,
                on_progress=status.update,
            )
        )
    return RunReport(tables=[_table(found)], data={"tables": asdict(found)}, figures=figures(found))


def figures(found: TablesInStep) -> Mapping[str, float]:
    """Return the figure that has a bar."""
    return {"connect": found.before.differing + found.after.differing}


def _table(found: TablesInStep) -> Table:
    table = Table(title="Tables written by Kafka Connect")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, figure in (
        ("permissions", f"{found.before.permissions:,}"),
        ("that differ from the ledger", f"{found.before.differing_permissions:,}"),
        ("opt-outs", f"{found.before.opt_outs:,}"),
        ("that differ from the ledger", f"{found.before.differing_opt_outs:,}"),
        (f"that differ once {found.erased:,} keys are erased", f"{found.after.differing:,}"),
        ("seconds, the start of the worker included", f"{found.seconds:,.1f}"),
        ("rows a second", f"{found.rows_a_second:,.0f}"),
    ):
        table.add_row(name, figure)
    return table


def settings_of(servers: LocalServers, *, partitions: int) -> KafkaSettings:
    """Return the settings of an installation on ``servers``."""
    given = servers.environment()
    return KafkaSettings(
        bootstrap_servers=given[KAFKA], registry_url=given[REGISTRY], partitions=partitions
    )


async def _measured(  # noqa: PLR0913  # the options
    servers: LocalServers,
    folder: Path,
    counts: Counts,
    *,
    partitions: int,
    limit: float,
    on_progress: Callable[[str], None],
) -> TablesInStep:
    url = servers.environment()[DATABASE]
    settings = settings_of(servers, partitions=partitions)
    create_schema(url)
    worker = KafkaConnect(
        folder,
        page.files(),
        environment=page.environment(servers, url, schema=SCHEMA),
        heap="1g",
        java_options=(),
        on_progress=on_progress,
    )
    await asyncio.to_thread(worker.prepare)
    with registered_codec(settings) as codec:
        async with publishing_ledger(url, settings, codec) as ledger:
            on_progress("filling the topics")
            opted_out = (await ledger.collect(counts.rows))[: counts.opt_outs]
            await ledger.opt_out(opted_out)
            on_progress("writing the tables")
            began = time.perf_counter()
            await asyncio.to_thread(worker.start)
            try:
                written = Subscriber(worker=worker, url=url, limit=limit)
                found = await written.differences(counts.rows, counts.opt_outs)
                seconds = time.perf_counter() - began
                on_progress("erasing keys")
                await ledger.erase(opted_out[: counts.erased])
                left = await written.differences(counts.rows - counts.erased, counts.opt_outs)
            finally:
                await asyncio.to_thread(worker.stop)
    return TablesInStep(before=found, seconds=seconds, erased=counts.erased, after=left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A subscriber's tables beside a ledger, and the worker that writes them."""

    worker: KafkaConnect
    url: str
    limit: float
    """Seconds that the tables may take."""

    async def differences(self, permissions: int, opt_outs: int) -> Differences:
        """Return how the tables differ from the ledger, at once when they have so many rows and
        none differs, else at the limit.

        Raises StartError where a task of the worker has failed.
        """
        ends = time.monotonic() + self.limit
        while True:
            fail_with(self.worker)
            is_late = time.monotonic() > ends
            if is_late or _counts(self.url) == (permissions, opt_outs):
                found = _differences(self.url)
                if is_late or not found.differing:
                    return found
            await asyncio.sleep(_POLL)


def create_schema(url: str) -> None:
    """Create the schema of the subscriber's tables in a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {SCHEMA}".encode())


def fail_with(worker: KafkaConnect) -> None:
    """Raise StartError where a task of ``worker`` has failed."""
    failed = [name for name, state in worker.states().items() if state == "FAILED"]
    if failed:
        raise StartError(
            name=worker.name,
            why=f"{', '.join(failed)} failed",
            log=worker.log,
            log_tail=worker.log_tail(),
        )


def _differences(url: str) -> Differences:
    statement = (resources.files("benchmarks.connect") / "differences.sql").read_text("utf-8")
    with psycopg.connect(url, row_factory=class_row(Differences)) as connection:
        found = connection.execute(statement.encode()).fetchone()
    if found is None:
        raise RuntimeError("the comparison returned no row")
    return found


def _counts(url: str) -> tuple[int, int] | None:
    """Return how many permissions and opt-outs the tables have, None while there are no tables."""
    try:
        with psycopg.connect(url) as connection:
            row = connection.execute(_COUNTS.encode()).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return None if row is None else (row[0], row[1])
