"""``izin demo``: the main job, end to end, on real parts, and the proof that it was done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from izin.console.local_stack.stack import LocalStack, example_brands
from izin.console.terminal.interrupts import interruptible
from izin.console.terminal.output import ExitCode, OutputFormat, OutputOption, err, out, told
from izin.demo.chaos import Killer
from izin.demo.ledger import LedgerView
from izin.demo.progress import Stages
from izin.demo.report import Report
from izin.demo.scenario import Story
from izin.demo.verify import judge
from izin.local import LocalError
from izin.runtime.registry import codec

SEED = 2026
ROWS = 20_000
_KILLING_SECONDS = 18.0


def demo(
    *,
    state_dir: Annotated[
        Path, typer.Option(help="Where data and logs are kept.", envvar="IZIN_STATE_DIR")
    ] = Path(".izin/demo"),
    export: Annotated[Path, typer.Option(help="Where the made-up CRM export is written.")] = Path(
        "demo/crm-export.csv"
    ),
    rows: Annotated[int, typer.Option(min=8000, help="Rows of the CRM export.")] = ROWS,
    seed: Annotated[int, typer.Option(help="The same seed tells the same story.")] = SEED,
    chaos: Annotated[
        bool, typer.Option("--chaos", envvar="CHAOS", help="kill -9 each worker once meanwhile.")
    ] = False,
    registry: Annotated[bool, typer.Option("--registry", help="With a schema registry.")] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Play the main job on real Kafka, PostgreSQL and İYS's twin, and compare all three.

    Exit code 1 if anything is unexplained.
    """
    with interruptible(), told(LocalError):
        report = _play(state_dir, export, rows=rows, seed=seed, chaos=chaos, registry=registry)
    match output:
        case OutputFormat.JSON:
            typer.echo(report.as_json())
        case OutputFormat.TABLE:
            out.print(report.as_table())
    if not report.is_good:
        raise typer.Exit(ExitCode.WRONG)


def _play(
    state_dir: Path, export: Path, *, rows: int, seed: int, chaos: bool, registry: bool
) -> Report:
    began = time.monotonic()
    stages = Stages(err)
    house = LocalStack(
        state_dir, brands=example_brands(), registry=registry, on_progress=stages.tell
    )
    with stages.shown(), house:
        words = codec(house.kafka_settings)
        delays = house.delays
        stages.tell(
            f"İYS's delays are shortened on both sides: results after "
            f"{delays.result.total_seconds():g} s (İYS: 300), pull hides "
            f"{delays.hidden.total_seconds():g} s (İYS: 3600)"
        )
        with LedgerView(house.environment["DATABASE_URL"], house.kafka_settings) as ledger:
            story = Story(house, words, ledger, stages, seed=seed)
            killer = Killer(house.supervisor, window=_KILLING_SECONDS, seed=time.time_ns())
            played = story.play(export, rows, killer if chaos else None)
            return judge(house, words, ledger, played, began=began)
