"""The benchmark ``sink``: the cost of a large ledger, and how much of İYS's limit is used.

First, on a large ledger: decisions are ingested, and a thousand keys at a time are claimed,
submitted and settled with stubbed responses. Then, against the simulator at İYS's ten requests a
second, with results after seconds instead of five minutes: the share of the requests that is used,
and of the consents that settle.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.results import RunReport, progress
from benchmarks.simulator.load import run_simulator, url_of
from benchmarks.sink.fixture import sink_fixture
from benchmarks.sink.request_budget import BudgetUse, measure_budget_use
from benchmarks.sink.submission_cost import SubmissionCost, measure_submission_cost
from izin.local import Postgres
from izin.runtime.process import keep_memory_of_batches, tune_gc_for_batches
from izin.runtime.settings import KafkaSettings


def sink(
    keys: Annotated[int, typer.Option(min=0, help="Settled keys in the ledger.")] = 1_000_000,
    ingested: Annotated[int, typer.Option(min=1000, help="Decisions to ingest.")] = 100_000,
    trials: Annotated[int, typer.Option(min=1, help="Thousands to claim and settle.")] = 10,
    seconds: Annotated[float, typer.Option(min=5, help="Duration at İYS's limit.")] = 60,
    delay: Annotated[float, typer.Option(min=0.5, help="Seconds until results.")] = 5,
) -> RunReport:
    """Measure ingest, claim and settle on a large ledger, and the requests used at İYS's limit."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("filling the ledger") as status,
        Postgres(Path(folder)) as postgres,
        run_simulator(Path(folder), None) as simulator,
    ):
        tune_gc_for_batches()  # as the worker does
        keep_memory_of_batches()
        cost, budget = asyncio.run(
            _measured(
                postgres.url,
                url_of(simulator),
                keys=keys,
                ingested=ingested,
                trials=trials,
                seconds=seconds,
                delay=delay,
                on_progress=status.update,
            )
        )
    return RunReport(
        tables=[_table(cost, budget)],
        data={"at_size": asdict(cost), "at_the_limit": asdict(budget)},
        figures=figures(cost, budget),
    )


def figures(cost: SubmissionCost, budget: BudgetUse) -> Mapping[str, float]:
    """Return the figures that have a bar."""
    return {
        "ingest-rows": cost.ingested_a_second,
        "settle-rows": 1e6 / cost.settled_ms,
        "history-bytes": cost.entry_bytes,
        "request-budget": budget.used * 100,
        "request-budget-h124": budget.throttled,
    }


async def _measured(  # noqa: PLR0913 - the options
    url: str,
    simulator: str,
    *,
    keys: int,
    ingested: int,
    trials: int,
    seconds: float,
    delay: float,
    on_progress: Callable[[str], None],
) -> tuple[SubmissionCost, BudgetUse]:
    async with sink_fixture(url, KafkaSettings(), keys=keys) as fixture:
        on_progress("ingesting, claiming and settling")
        cost = await measure_submission_cost(
            fixture, url, ingested=ingested, trials=trials, keys=keys
        )
        on_progress("at İYS's limit")
        return cost, await measure_budget_use(fixture, url, simulator, seconds=seconds, delay=delay)


def _table(cost: SubmissionCost, budget: BudgetUse) -> Table:
    table = Table(title=f"The sink, {cost.keys:,} settled keys in the ledger")
    table.add_column("what")
    table.add_column("figure", justify="right")
    rows = (
        ("decisions on new keys ingested a second", f"{cost.ingested_a_second:,.0f}"),
        ("CPU of the process, µs a decision", f"{cost.ingest_cpu_us:,.0f}"),
        ("decisions on known keys ingested a second", f"{cost.known_a_second:,.0f}"),
        ("CPU of the process, µs a decision", f"{cost.known_cpu_us:,.0f}"),
        ("1,000 keys claimed, ms", f"{cost.claimed_ms:,.0f}"),
        ("1,000 keys settled, ms", f"{cost.settled_ms:,.0f}"),
        ("claim and settle, ms (median)", f"{cost.claimed_and_settled_ms:,.0f}"),
        ("claim and settle, ms (slowest)", f"{cost.slowest_ms:,.0f}"),
        ("between them, İYS's acknowledgement saved, ms", f"{cost.received_ms:,.0f}"),
        ("all three, CPU of the process, ms", f"{cost.cpu_ms:,.0f}"),
        (f"bytes an entry, of {cost.entries:,}", f"{cost.entry_bytes:,.0f}"),
        (f"calls in {budget.seconds:.0f} s at İYS's limit", f"{budget.calls:,}"),
        ("share of the requests used", f"{budget.used:.1%}"),
        ("consents settled a second", f"{budget.settled_a_second:,.0f}"),
        ("H124", f"{budget.throttled}"),
    )
    for row in rows:
        table.add_row(*row)
    return table
