"""The benchmark ``rate-limit``: a backlog submitted at İYS's ten requests a second, to its end.

Sink processes submit two brands' consents to the simulator, whose limits are on and whose results
come after seconds instead of five minutes, so that they are polled while others are submitted.
Meanwhile recipients opt out whose consents İYS holds, or are in flight. The simulator stands for
another machine and has priority for the CPU, where that is allowed.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import ROOT
from benchmarks.results import RunReport, progress
from benchmarks.simulator.load import run_simulator, url_of
from benchmarks.sink.cpu_priority import give_priority
from benchmarks.sink.fixture import sink_fixture
from benchmarks.sink.iys_account import PASSWORD, USERNAME
from benchmarks.sink.rate_limit_run import (
    FaultRates,
    RateLimitRun,
    add_backlog,
    configure_simulator,
    submit_backlog,
)
from izin.local import Child, Command, Postgres
from izin.runtime.settings import KafkaSettings

_TIMEOUT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The options of a run."""

    consents: int
    delay: float
    batch: int
    opt_outs: int
    rates: FaultRates


def rate_limit(  # noqa: PLR0913, PLR0917 - an option is an argument
    consents: Annotated[
        int, typer.Option(min=2000, help="Consents in the backlog at the start.")
    ] = 3_000_000,
    workers: Annotated[int, typer.Option(min=1, help="Sink processes.")] = 2,
    delay: Annotated[float, typer.Option(min=0.5, help="Seconds until results.")] = 1,
    jitter: Annotated[float, typer.Option(min=0, help="Greatest network delay, s.")] = 0.08,
    refused: Annotated[float, typer.Option(min=0, max=0.5, help="Share of items refused.")] = 0,
    failing: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of calls busy, failing or unanswered.")
    ] = 0,
    opt_outs: Annotated[int, typer.Option(min=0, help="Opt-outs during the run.")] = 20,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Consents a batch.")] = 1000,
) -> RunReport:
    """Measure how much of İYS's limit is used, and how fast opt-outs overtake a backlog."""
    rates = FaultRates(jitter=jitter, refused=refused, failing=failing, slow_seconds=_TIMEOUT + 1)
    plan = _Plan(consents=consents, delay=delay, batch=batch, opt_outs=opt_outs, rates=rates)
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("setting up") as status,
        Postgres(Path(folder)) as postgres,
        run_simulator(Path(folder), None) as simulator,
    ):
        has_priority = give_priority(simulator.pid or 0)
        children = [
            _worker(Path(folder), postgres.url, url_of(simulator), number, plan)
            for number in range(workers)
        ]
        try:
            found = asyncio.run(_run(postgres.url, simulator, children, plan, status.update))
        finally:
            for child in children:
                child.stop()
    priority = f"the simulator {'before' if has_priority else 'as'} others for the CPU"
    return RunReport(
        tables=[_table(found), priority],
        data={"workers": workers, "simulator": priority, "rates": asdict(rates)} | asdict(found),
        figures=figures(found, rates),
    )


def figures(found: RateLimitRun, rates: FaultRates) -> Mapping[str, float | None]:
    """Return the figures of the calls, named after the faults, and those of the opt-outs."""
    if rates.refused or rates.failing:
        name = "rate-limit-degraded"
    else:
        name = "rate-limit" if rates.jitter else "rate-limit-steady"
    return {
        f"{name}-used": found.used * 100,
        f"{name}-settled": found.settled_of_possible * 100,
        f"{name}-h124": found.throttled_in_100k,
        "opt-out-seconds": max((one.seconds for one in found.opt_outs), default=None),
        "opt-outs-missing": sum(not one.registered for one in found.opt_outs)
        if found.opt_outs
        else None,
    }


async def _run(
    url: str,
    simulator: Child,
    children: list[Child],
    plan: _Plan,
    on_progress: Callable[[str], None],
) -> RateLimitRun:
    on_progress(f"setting up {plan.consents:,} consents")
    async with sink_fixture(url, KafkaSettings(), keys=0) as fixture:
        await add_backlog(url, plan.consents, plan.rates.refused)
        configure_simulator(url_of(simulator), plan.consents, plan.rates, delay=plan.delay)
        for child in children:
            child.start()
        on_progress(f"submitting {plan.consents:,} consents")
        return await submit_backlog(
            fixture,
            url_of(simulator),
            children,
            {"simulator": simulator.pid or 0},
            batch=plan.batch,
            opt_outs=plan.opt_outs,
        )


def _worker(folder: Path, database: str, simulator: str, number: int, plan: _Plan) -> Child:
    environment = {
        "DATABASE_URL": database,
        "IYS_BASE_URL": simulator,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IYS_TIMEOUT": f"PT{_TIMEOUT}S",
        # Results are available once a batch is processed, a moment after its delay.
        "IYS_RESULT_DELAY": f"PT{plan.delay + 0.5}S",
        "IZIN_BATCH_SIZE": str(plan.batch),
        "IZIN_LOG_LEVEL": "warning",
    }
    given = (f"{name}={value}" for name, value in environment.items())
    return Child(
        Command(
            name=f"worker {number}",
            argv=("env", *given, sys.executable, "-m", "benchmarks.sink.worker_process"),
            folder=ROOT,
            log=folder / f"worker-{number}.log",
        )
    )


def _table(found: RateLimitRun) -> Table:
    table = Table(title=f"{found.consents:,} consents at İYS's limit")
    table.add_column("what")
    table.add_column("figure", justify="right")
    seconds = f"{found.submitting_seconds:,.1f} / {found.seconds:,.1f}"
    rows = [
        ("seconds, until all was submitted / settled", seconds),
        (
            "calls, until all was submitted / settled",
            f"{found.submitting_calls:,} / {found.calls:,}",
        ),
        ("share of İYS's ten requests a second used", f"{found.used:.1%}"),
        ("polls a batch", f"{found.polls_a_batch:.2f}"),
        ("consents settled a second", f"{found.settled_a_second:,.0f}"),
        ("share of the most that these polls can settle", f"{found.settled_of_possible:.1%}"),
        ("accepted / refused", f"{found.accepted:,} / {found.refused:,}"),
        ("H124 in 100,000 calls", f"{found.throttled_in_100k:.1f}"),
    ]
    for state in sorted({one.state for one in found.opt_outs}):
        these = [one for one in found.opt_outs if one.state == state]
        slowest = max(one.seconds for one in these)
        registered = sum(one.registered for one in these)
        rows.append((f"opt-outs of {state}, the slowest submitted, s", f"{slowest:.2f}"))
        rows.append((f"opt-outs of {state}, RET in the register", f"{registered} of {len(these)}"))
    rows += [(f"cores used by {name}", f"{share:.2f}") for name, share in found.cpu.items()]
    for row in rows:
        table.add_row(*row)
    return table
