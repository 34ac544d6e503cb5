"""``python -m izin.bench limit``: a backlog told at İYS's ten requests a second, to its end.

Sink processes tell two brands' consents to the twin, whose limits are on and whose results come
after seconds instead of five minutes, so that they are asked for while others are told. In between
people say no whose consents stand at İYS, or are on their way there. The twin stands for another
machine and goes before all others for the CPU, where that is allowed.
"""

from __future__ import annotations

import asyncio
import sys
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
from benchmarks.sink.cpu_priority import put_elsewhere
from benchmarks.sink.fixture import filled
from benchmarks.sink.iys_account import SECRET, WHO
from benchmarks.sink.rate_limit_run import Pursuit, Weather, owe, pursue, set_up
from izin.local import Child, Command, Postgres
from izin.runtime.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT = 5


def limit(  # noqa: PLR0913, PLR0917 - an option is an argument
    consents: Annotated[
        int, typer.Option(min=2000, help="Consents owed at the start.")
    ] = 3_000_000,
    crews: Annotated[int, typer.Option(min=1, help="Sink processes.")] = 1,
    delay: Annotated[float, typer.Option(min=0.5, help="Seconds until results.")] = 10,
    jitter: Annotated[float, typer.Option(min=0, help="Requests arrive up to so late, s.")] = 0.08,
    refused: Annotated[float, typer.Option(min=0, max=0.5, help="Share of items refused.")] = 0,
    troubled: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of calls busy, failing or unanswered.")
    ] = 0,
    opt_outs: Annotated[int, typer.Option(min=0, help="People who say no in between.")] = 20,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Consents a batch.")] = 1000,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/limit.json"
    ),
) -> None:
    """Measure how much of İYS's pace is used, and how fast opt-outs pass a backlog."""
    console, where = Console(), machine()
    weather = Weather(jitter=jitter, refused=refused, troubled=troubled, slower=_TIMEOUT + 1)
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        console.status("setting up") as told,
        Postgres(Path(name)) as postgres,
        load.simulator(Path(name), None) as twin,
    ):
        address = load.url_of(twin)
        is_elsewhere = put_elsewhere(twin.pid or 0)
        children = [
            _crew(Path(name), postgres.url, address, number, delay=delay, batch=batch)
            for number in range(crews)
        ]
        try:
            found = asyncio.run(
                _measured(
                    postgres.url,
                    address,
                    children,
                    {"simulator": twin.pid or 0},
                    consents=consents,
                    weather=weather,
                    delay=delay,
                    batch=batch,
                    opt_outs=opt_outs,
                    progress=told.update,
                )
            )
        finally:
            for child in children:
                child.stop()
    where += f"; the simulator {'before' if is_elsewhere else 'as'} others for the CPU"
    console.print(_table(found, weather, where))
    keep(
        results,
        console,
        {"machine": where, "crews": crews, "weather": asdict(weather)} | asdict(found),
    )


async def _measured(  # noqa: PLR0913 - the options
    url: str,
    twin: str,
    crews: list[Child],
    others: dict[str, int],
    *,
    consents: int,
    weather: Weather,
    delay: float,
    batch: int,
    opt_outs: int,
    progress: Callable[[str], None],
) -> Pursuit:
    progress(f"setting up {consents:,} consents")
    async with filled(url, KafkaSettings(), keys=0) as ledger:
        await owe(url, consents, weather.refused)
        set_up(twin, consents, weather, delay=delay)
        for child in crews:
            child.start()
        progress(f"telling {consents:,} consents")
        return await pursue(ledger, twin, crews, others, batch=batch, opt_outs=opt_outs)


def _crew(  # noqa: PLR0913 - where everything is
    folder: Path, database: str, twin: str, number: int, *, delay: float, batch: int
) -> Child:
    environment = {
        "DATABASE_URL": database,
        "IYS_BASE_URL": twin,
        "IYS_USERNAME": WHO,
        "IYS_PASSWORD": SECRET,
        "IYS_TIMEOUT": f"PT{_TIMEOUT}S",
        # İYS answers once a batch is worked on, a moment after its delay.
        "IYS_RESULT_DELAY": f"PT{delay + 0.5}S",
        "IZIN_BATCH_SIZE": str(batch),
        "IZIN_LOG_LEVEL": "warning",
    }
    given = (f"{name}={value}" for name, value in environment.items())
    return Child(
        Command(
            name=f"crew {number}",
            argv=("env", *given, sys.executable, "-m", "benchmarks.sink.worker_process"),
            log=folder / f"crew-{number}.log",
        )
    )


def _table(found: Pursuit, weather: Weather, where: str) -> Table:
    form = weather.refused or weather.troubled
    bar = "90 %" if form else "95 %"
    table = Table(title=f"{found.consents:,} consents at İYS's limit\n{where}")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_column("bar", justify="right")
    rows = [
        ("seconds, until all was told / settled", _two(found.telling_seconds, found.seconds), ""),
        ("calls, until all was told / settled", f"{found.telling_calls:,} / {found.calls:,}", ""),
        ("share of İYS's ten a second used", f"{found.used:.1%}", bar),
        ("queries a batch", f"{found.queries_a_batch:.2f}", ""),
        ("consents settled a second", f"{found.settled_a_second:,.0f}", ""),
        ("share of what these queries let settle", f"{found.settled_of_possible:.1%}", bar),
        ("accepted / refused", f"{found.accepted:,} / {found.refused:,}", ""),
        ("H124 in 100,000 calls", f"{found.throttled_in_100k:.1f}", "1" if weather.jitter else "0"),
    ]
    for of in sorted({one.of for one in found.opt_outs}):
        mine = [one for one in found.opt_outs if one.of == of]
        slowest = max(one.seconds for one in mine)
        rows.append((f"opt-outs of {of}, the slowest told, s", f"{slowest:.2f}", "3"))
        ended = sum(one.registered for one in mine)
        rows.append((f"opt-outs of {of}, RET in the register", f"{ended} of {len(mine)}", "all"))
    rows += [(f"cores used by {name}", f"{share:.2f}", "") for name, share in found.cpu.items()]
    for row in rows:
        table.add_row(*row)
    return table


def _two(one: float, other: float) -> str:
    return f"{one:,.1f} / {other:,.1f}"
