"""The benchmark ``console``: how long a screen takes over a large ledger, whether any scans one of
its tables, and what people who watch the overview cost.

Screens are asked for one after the other, from the same machine; what a browser does with a page is
left out. A statement scans where its plan reads a table of many rows from end to end.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import httpx
import typer
from pydantic import SecretStr
from rich.table import Table

from benchmarks.console.filling import fill_large, fill_little
from benchmarks.console.watching import WatchCost, watch_cost
from benchmarks.results import RunReport, progress
from benchmarks.worker.installation import installation
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.history.reports import quantile
from izin.local import Postgres
from izin.runtime.settings import KafkaSettings, LedgerSettings
from tests.support.console.data import ADMIN
from tests.support.console.harness import Browser, console_over
from tests.support.console.plans import recorded, scans
from tests.support.console.reachable import PageRequest, pages_of
from tests.support.console.site import Site, console as running

_LARGE = 100_000
"""Rows of a table that no screen may read from end to end: more than a day's history has, which the
overview reads, and which is all of a month that has just begun.
"""
_BACKLOG, _PARKED = 20_000, 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenTime:
    """How long a screen took, in milliseconds."""

    name: str
    p50: float
    p95: float
    statements: int
    scans: Sequence[str]
    """The tables that it reads whole."""


def console(  # noqa: PLR0913, PLR0917  # options
    keys: Annotated[int, typer.Option(min=1000, help="Settled keys in the ledger.")] = 5_000_000,
    entries: Annotated[int, typer.Option(min=1000, help="Entries of its history.")] = 10_000_000,
    rounds: Annotated[int, typer.Option(min=3, help="How often each screen is asked for.")] = 40,
    watchers: Annotated[int, typer.Option(min=1, help="People who watch the overview.")] = 50,
    seconds: Annotated[float, typer.Option(min=1, help="For how long they watch.")] = 60,
    backlog: Annotated[int, typer.Option(min=0, help="Keys that are due to İYS.")] = _BACKLOG,
    parked: Annotated[int, typer.Option(min=0, help="Keys that wait for a person.")] = _PARKED,
) -> RunReport:
    """Measure every screen of the console on a large ledger, and people who watch it."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status("filling the ledger") as status,
        Postgres(Path(name)) as postgres,
        installation(Path(name), partitions=2) as kafka,
    ):
        folder = Path(name)
        asyncio.run(migrate(postgres.url))
        fill_little(postgres.url, kafka, folder)
        asyncio.run(
            fill_large(
                postgres.url,
                keys=keys,
                entries=entries,
                backlog=backlog,
                parked=parked,
                on_progress=status.update,
            )
        )
        with running(postgres.url, kafka, folder) as site:
            times = asyncio.run(_screens(site, kafka, rounds, status.update))
            status.update(f"{watchers} people watch the overview")
            servers = (site.pid, postgres.pid or 0)
            watched = asyncio.run(watch_cost(site, servers, watchers=watchers, seconds=seconds))
    return RunReport(
        tables=[_times(times, keys, entries), *([] if watched is None else [_cost(watched)])],
        data={
            "keys": keys,
            "entries": entries,
            "screens": [asdict(one) for one in times],
            "watching": None if watched is None else asdict(watched),
        },
        figures=figures(times, watched),
    )


def figures(times: Sequence[ScreenTime], watched: WatchCost | None) -> dict[str, float | None]:
    """Return the figures that have a bar."""
    return {
        "console-p95": max(one.p95 for one in times),
        "console-scans": sum(len(one.scans) for one in times),
        "console-watchers": None if watched is None else watched.share * 100,
    }


async def _screens(
    site: Site, kafka: KafkaSettings, rounds: int, on_progress: Callable[[str], None]
) -> list[ScreenTime]:
    async with AsyncExitStack() as stack:
        settings = LedgerSettings(database_url=SecretStr(site.database_url))
        ledger = await stack.enter_async_context(Ledger(settings, owner=1))
        here = await stack.enter_async_context(console_over(ledger, kafka=kafka))
        client = httpx.AsyncClient(base_url=site.url, timeout=120, trust_env=False)
        browser = Browser(client=await stack.enter_async_context(client), origin=site.url)
        answer = await browser.post(await here.link(ADMIN))
        answer.raise_for_status()
        browser.name = ADMIN
        ours = await here.signed_in(name=ADMIN)
        found = []
        for one in await pages_of(browser):
            on_progress(one.name)
            with recorded() as statements:
                (await one.ask(ours)).raise_for_status()
            read = scans(site.database_url, statements, rows=_LARGE)
            p50, p95 = await _timed(browser, one, rounds)
            tables = sorted(
                f"{table} by {statement[:200]}"
                for statement, some in read.items()
                for table in some
            )
            found.append(
                ScreenTime(
                    name=one.name, p50=p50, p95=p95, statements=len(statements), scans=tables
                )
            )
        return found


async def _timed(browser: Browser, one: PageRequest, rounds: int) -> tuple[float, float]:
    token = await browser.csrf()
    taken = []
    for _ in range(rounds):
        if one.form is None:
            request = browser.client.build_request("GET", one.path)
        else:
            request = browser.client.build_request(
                "POST",
                one.path,
                data={**one.form, "csrf": token},
                headers={"Origin": browser.origin},
            )
        began = time.perf_counter()
        answer = await browser.client.send(request)
        taken.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
    ordered = sorted(taken)
    return quantile(ordered, 0.5), quantile(ordered, 0.95)


def _times(times: Sequence[ScreenTime], keys: int, entries: int) -> Table:
    table = Table(title=f"Screens over {keys:,} keys and {entries:,} entries of history")
    table.add_column("screen")
    for heading in ("p50, ms", "p95, ms", "statements"):
        table.add_column(heading, justify="right")
    table.add_column("reads whole")
    for one in sorted(times, key=lambda each: -each.p95):
        table.add_row(
            one.name, f"{one.p50:.1f}", f"{one.p95:.1f}", str(one.statements), "\n".join(one.scans)
        )
    return table


def _cost(watched: WatchCost) -> Table:
    table = Table(title=f"{watched.watchers} people who watch the overview")
    for heading in ("what", "of a core"):
        table.add_column(heading, justify="right" if heading == "of a core" else "left")
    table.add_row("nobody watches", f"{watched.idle:.2%}")
    table.add_row("they watch", f"{watched.busy:.2%}")
    table.add_row("their share", f"{watched.share:.2%}")
    table.add_row("updates that each was sent", f"{watched.updates:.1f}")
    return table
