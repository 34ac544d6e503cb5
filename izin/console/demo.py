"""``izin demo``: the main job, end to end, on real servers, and the proof that it was done."""

import time
from pathlib import Path
from typing import Annotated

import typer

from izin.console.local_stack.settings import example_brands
from izin.console.local_stack.stack import LocalStack
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    out,
    say,
)
from izin.console.terminal.progress import showing_steps
from izin.demo.ledger import LedgerView
from izin.demo.report import Report
from izin.demo.scenario import Killer, Scenario
from izin.demo.verify import verify
from izin.local import LocalError
from izin.runtime.kafka import codec

SEED = 2026
ROWS = 20_000
_KILLS_WITHIN_SECONDS = 18.0


def demo(
    *,
    state_dir: Annotated[
        Path, typer.Option(help="Folder of data and logs.", envvar="IZIN_STATE_DIR")
    ] = Path(".izin/demo"),
    export: Annotated[Path, typer.Option(help="Where to write the made-up CRM export.")] = Path(
        "demo/crm-export.csv"
    ),
    rows: Annotated[int, typer.Option(min=8000, help="Rows of the CRM export.")] = ROWS,
    seed: Annotated[int, typer.Option(help="Seed of the made-up data.")] = SEED,
    chaos: Annotated[
        bool, typer.Option("--chaos", envvar="CHAOS", help="Kill each worker once (kill -9).")
    ] = False,
    registry: Annotated[bool, typer.Option("--registry", help="Use a schema registry.")] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Import, register at İYS and opt out 20,000 made-up consents, and check every one of them.

    It runs on real Kafka and PostgreSQL servers and a simulator of İYS, and compares topics, ledger
    and İYS key by key. Exit code 1 if any difference is unexplained.
    """
    with exit_on_signals(), exit_on_error(LocalError):
        report = _run(state_dir, export, rows=rows, seed=seed, chaos=chaos, registry=registry)
    match output:
        case OutputFormat.JSON:
            typer.echo(report.as_json())
        case OutputFormat.TABLE:
            out.print(report.as_table())
    exit_if(not report.is_good)


def _run(
    state_dir: Path, export: Path, *, rows: int, seed: int, chaos: bool, registry: bool
) -> Report:
    start = time.monotonic()
    stack = LocalStack(
        state_dir, brands=example_brands(), registry=registry, fresh=True, on_progress=say
    )
    with showing_steps() as begin, stack:
        encoder = codec(stack.kafka_settings)
        say(
            f"İYS's delays are shortened on both sides: results after "
            f"{stack.delays.result.total_seconds():g} s (İYS: 300), pull hides "
            f"{stack.delays.hidden.total_seconds():g} s (İYS: 3600)"
        )
        url = stack.environment["DATABASE_URL"]
        with LedgerView(url, stack.kafka_settings, encoder) as ledger:
            scenario = Scenario(stack, encoder, ledger, begin, seed=seed)
            killer = Killer(stack.supervisor, window=_KILLS_WITHIN_SECONDS, seed=time.time_ns())
            run = scenario.run(export, rows, killer if chaos else None)
            return verify(stack, encoder, ledger, run, start=start)
