"""The benchmark ``retention``: what ``izin retention`` lists and drops under very many legal holds.

Half of the holds are of customers, half of keys, and half of either concern nothing in the history.
"""

import asyncio
import time
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table

from benchmarks.results import RunReport, progress
from izin.ledger import retention
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.local import Postgres
from izin.runtime.settings import LedgerSettings

_FIRST = date(2014, 1, 1)
_MONTHS = 24
_CUSTOMERS = 100
_CREATE = """SELECT create_month((%(first)s::date + make_interval(months => n))::date)
    FROM generate_series(0, %(months)s::integer - 1) AS n"""
_FILL = """INSERT INTO history (
        recorded_at, occurred_at, place, shard, kind, link, salt, key, customer_id, source, data)
    SELECT at, at, n, n %% 16, 'act', '\\x00', decode(repeat('00', 16), 'hex'), 'key-' || n,
        'customer-' || n %% %(customers)s, 'fake', '{}'
    FROM generate_series(1, %(rows)s::bigint) AS n CROSS JOIN LATERAL (
        SELECT (%(first)s::timestamp + make_interval(months => (n %% %(months)s)::integer))
            AT TIME ZONE 'UTC' AS at) AS instant"""
_HOLD = """INSERT INTO legal_holds (customer_id, key, reason, since)
    SELECT 'customer-' || CASE WHEN n %% 4 = 0 THEN n %% %(customers)s ELSE -n END, NULL,
        'fake', now()
    FROM generate_series(1, %(holds)s::integer / 2) AS n
    UNION ALL
    SELECT 'customer-' || k.n %% %(customers)s,
        'key-' || CASE WHEN h %% 2 = 0 THEN k.n ELSE -k.n END, 'fake', now()
    FROM generate_series(1, %(holds)s::integer / 2) AS h CROSS JOIN LATERAL (
        SELECT h * (%(rows)s::bigint / %(holds)s::integer) AS n) AS k"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSteps:
    """How long each question took, in seconds."""

    rows: int
    holds: int
    listed: float
    expired: float

    @property
    def seconds(self) -> float:
        """The longer of both, for a person asks one of them."""
        return max(self.listed, self.expired)


def legal_holds(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of history.")] = 5_000_000,
    holds: Annotated[int, typer.Option(min=4, help="Legal holds in force.")] = 10_000,
) -> RunReport:
    """List the months of a large history, and what may be dropped, under many legal holds."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("filling the history"),
        Postgres(Path(folder)) as postgres,
    ):
        steps = asyncio.run(measure_retention(postgres.url, rows=rows, holds=holds))
    table = Table(title=f"{steps.holds:,} legal holds over {steps.rows:,} rows")
    table.add_column("question")
    table.add_column("seconds", justify="right")
    table.add_row("which months are held by what", f"{steps.listed:.2f}")
    table.add_row("which months may be dropped", f"{steps.expired:.2f}")
    return RunReport(tables=[table], data={"steps": asdict(steps)}, figures=figures(steps))


def figures(steps: RetentionSteps) -> dict[str, float]:
    """Return the figure that has a bar."""
    return {"retention": steps.seconds}


async def measure_retention(url: str, *, rows: int, holds: int) -> RetentionSteps:
    """Fill an empty ledger at ``url``, and ask it about its months."""
    await migrate(url)
    values = {
        "first": _FIRST,
        "months": _MONTHS,
        "customers": _CUSTOMERS,
        "rows": rows,
        "holds": holds,
    }
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        async with ledger.session() as connection:
            for statement in (_CREATE, _FILL, _HOLD):
                await connection.execute(statement, values)
            await connection.execute("ANALYZE")
        began = time.perf_counter()
        found = await retention.months(ledger)
        listed = time.perf_counter()
        await retention.expired(ledger, today=datetime.now(UTC).date())
        expired = time.perf_counter()
    held = {number for month in found for number in month.holds}
    if len(held) != holds // 8 + holds // 4:
        raise RuntimeError(f"{len(held)} holds concern something, and not an eighth and a quarter")
    return RetentionSteps(rows=rows, holds=holds, listed=listed - began, expired=expired - listed)
