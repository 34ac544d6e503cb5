"""The benchmark ``daily-file``: İYS's file of a large day, fetched, checked and compared.

One process of a sink worker fetches it over HTTP, hashes and stores it, makes our own file from the
history of that day in PostgreSQL, and compares both line by line. Every line is known.
"""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.table import Table

from benchmarks import ROOT
from benchmarks.daily.day import BRAND, record, write_file, yesterday
from benchmarks.results import RunReport, progress
from izin.ledger import brands
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import Brand, TopicMessages
from izin.ledger.registry import customers
from izin.local import Child, Command, Postgres, free_port
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec

_DONE = """INSERT INTO daily_files (brand_code, day, state, noted_at, next_attempt_at)
    SELECT %(brand)s, %(day)s::date - n, 'empty', now(), now() FROM generate_series(1, 9) AS n"""


def daily_file(
    rows: Annotated[int, typer.Option(min=100, help="Movements of the day.")] = 1_000_000,
) -> RunReport:
    """Measure how long the file of a day takes, and the memory of the process."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status(f"comparing {rows:,} movements"),
        Postgres(Path(name)) as postgres,
    ):
        found = measure_daily_file(postgres.url, Path(name), rows=rows)
    table = Table(title=f"İYS's file of a day, {rows:,} lines")
    for heading in ("seconds", "CPU, s", "peak, MB", "lines/s"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{found['seconds']:.1f}",
        f"{found['cpu_seconds']:.1f}",
        f"{found['peak_megabytes']:.0f}",
        f"{rows / found['seconds']:,.0f}",
    )
    is_right = (found["lines"], found["is_equal"]) == (rows, True)
    return RunReport(
        tables=[table],
        data=found,
        figures={"daily-file": found["seconds"], "daily-file-memory": found["peak_megabytes"]},
        failures=[] if is_right else [f"the files differ: {found}"],
    )


def measure_daily_file(url: str, folder: Path, *, rows: int) -> dict[str, Any]:
    """Fetch and compare the file of a day with so many movements, into a new ledger at ``url``;
    return what that took.
    """
    file = folder / "day.csv"
    write_file(file, yesterday(), rows)
    asyncio.run(_fill(url, rows))
    return _look(folder, url, file)


async def _fill(url: str, rows: int) -> None:
    """Make a ledger with a brand and the movements of the day; the days before are done."""
    await migrate(url)
    now, messages = datetime.now(UTC), TopicMessages(Codec(), KafkaSettings().topics)
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        await customers.add(ledger, "acme", "Acme", by="benchmark", now=now)
        brand = Brand(brand_code=BRAND, iys_code=BRAND, customer_id="acme", name="Örnek")
        await brands.upsert(ledger, messages, brand, by="benchmark", now=now)
        await record(ledger, yesterday(), rows)
        async with ledger.session() as connection:
            await connection.execute(_DONE, {"brand": BRAND, "day": yesterday()})


def _look(folder: Path, url: str, file: Path) -> dict[str, Any]:
    """Run one look of a worker at the daily files; return what it took.

    Raises:
        CalledProcessError: it failed.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    server = Child(
        Command(
            name="iys",
            argv=(sys.executable, "-m", "benchmarks.daily.iys_server", str(port), str(file)),
            log=folder / "iys.log",
            ready=f"{address}/health/ready",
        )
    )
    given = (
        f"DATABASE_URL={url}",
        f"IYS_BASE_URL={address}",
        "IYS_USERNAME=ada@example.com",
        "IYS_PASSWORD=fake",
    )
    argv = ("env", *given, sys.executable, "-m", "benchmarks.daily.worker")
    server.start()
    try:
        server.wait_ready()
        done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  # our own command
    finally:
        server.kill()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
