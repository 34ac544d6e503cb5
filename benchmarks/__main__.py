"""``python -m benchmarks NAME [OPTIONS]``: measure a figure, a run of several, or all of them.

NAME is a figure, a run, ``list`` or ``all``. Every run ends with the line
``<figure>: <value> (bar <bar>) ok`` or ``… short`` for each of its figures. Exit codes: 0 every
figure meets its bar, 1 one misses it or could not be measured, 2 wrong usage.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.bars import BARS, OTHER_RUNS, RUNS, FigureBar, bars_of
from benchmarks.before import before
from benchmarks.connect.command import connect
from benchmarks.console.command import console
from benchmarks.daily.command import daily_file
from benchmarks.demo import demo
from benchmarks.evidence.verification import verify_hostile
from benchmarks.gate.drain import gate_backlog
from benchmarks.gate.rate import gate
from benchmarks.gate.scrub import gate_scrub
from benchmarks.gate.start import gate_start
from benchmarks.idle import idle, list_of_commands
from benchmarks.imports.command import import_csv, import_xlsx
from benchmarks.inbound.push_latency import push_latency
from benchmarks.intake.rate import intake
from benchmarks.intake.sms_ret import sms_ret
from benchmarks.law import law
from benchmarks.light_install import light_install
from benchmarks.order.command import order
from benchmarks.outbox.commits import crm_outbox
from benchmarks.publisher import publisher
from benchmarks.reconcile.equal import reconcile
from benchmarks.replay.rebuild import rebuild
from benchmarks.results import RESULTS, register, tables
from benchmarks.simulator.command import simulator
from benchmarks.sink.command import sink
from benchmarks.sink.erasure import erasures
from benchmarks.sink.evidence import evidence
from benchmarks.sink.known_keys import known_keys
from benchmarks.sink.ledger_lost import ledger_lost
from benchmarks.sink.ledger_rebuild import ledger_rebuild
from benchmarks.sink.outbox import outbox
from benchmarks.sink.rate_limit import rate_limit
from benchmarks.sink.retention import legal_holds
from benchmarks.sink.sweep import sweep
from benchmarks.subscribers.permission_list import permission_list
from benchmarks.webhooks.latency import webhook_latency
from benchmarks.webhooks.memory import webhook_memory
from benchmarks.webhooks.throughput import webhook_throughput
from benchmarks.worker.cpu_profile import profile
from benchmarks.worker.feeds import feeds
from benchmarks.worker.latency import latency
from benchmarks.worker.poison import poison
from benchmarks.worker.redrive import redrive
from benchmarks.worker.replay import replay
from benchmarks.worker.restart import restart
from benchmarks.worker.state import state
from izin.runtime.logs import configure
from izin.runtime.settings import LogSettings

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
register(
    app,
    {
        "law": law,
        "state": state,
        "order": order,
        "profile": profile,
        "publisher": publisher,
        "light-install": light_install,
        "demo": demo,
        "before": before,
        "latency": latency,
        "feeds": feeds,
        "restart": restart,
        "passes": replay,
        "rebuild": rebuild,
        "poison": poison,
        "redrive": redrive,
        "sink": sink,
        "known-keys": known_keys,
        "outbox": outbox,
        "crm-outbox": crm_outbox,
        "connect": connect,
        "erasure": erasures,
        "retention": legal_holds,
        "daily-file": daily_file,
        "ledger-rebuild": ledger_rebuild,
        "sweep": sweep,
        "import-csv": import_csv,
        "import-xlsx": import_xlsx,
        "reconcile": reconcile,
        "evidence": evidence,
        "verify-hostile": verify_hostile,
        "ledger-lost": ledger_lost,
        "rate-limit": rate_limit,
        "simulator": simulator,
        "webhooks": webhook_latency,
        "webhook-throughput": webhook_throughput,
        "webhook-memory": webhook_memory,
        "permission-list": permission_list,
        "intake": intake,
        "sms-ret": sms_ret,
        "gate": gate,
        "gate-state": gate_start,
        "gate-scrub": gate_scrub,
        "gate-backlog": gate_backlog,
        "push-latency": push_latency,
        "console": console,
        "idle": idle,
        "help": list_of_commands,
    },
)


@app.command("list")
def list_figures() -> None:
    """List every figure with its bar and the command that measures it."""
    for bar in BARS.values():
        typer.echo(f"{bar.name:<28} {bar.bar:<20} {bar.command:<44} {bar.measures}")


@app.command("all")
def run_all(
    runs: Annotated[list[str] | None, typer.Argument(help="Only these runs.")] = None,
    results: Annotated[Path, typer.Option(help="Where each run writes a JSON file.")] = RESULTS,
) -> None:
    """Run everything, each run in a process of its own; end with a summary of all figures."""
    values: dict[str, float | None] = {}
    codes = []
    names = runs or list(RUNS)
    for name in names:
        if name not in RUNS:
            raise typer.BadParameter(f"{name} is none of {', '.join(RUNS)}", param_hint="RUNS")
    for name in names:
        file = results / f"{name}.json"
        file.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "benchmarks", name, "--results", str(file)]
        codes.append(subprocess.run(argv, check=False).returncode)  # noqa: S603 - our own command
        if file.exists():
            found = json.loads(file.read_text(encoding="utf-8"))["figures"]
            values |= {one["name"]: one["value"] for one in found}
    bars = [bar for name in names for bar in bars_of(name)]
    tables().print(_summary(bars, values))
    for bar in bars:
        typer.echo(bar.verdict(values.get(bar.name)))
    raise typer.Exit(int(any(codes)))


def _summary(bars: Sequence[FigureBar], values: Mapping[str, float | None]) -> Table:
    table = Table(title="Every figure and its bar")
    for heading in ("figure", "what it measures"):
        table.add_column(heading)
    for heading in ("value", "bar", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for bar in bars:
        value = values.get(bar.name)
        is_met = bar.is_met(value)
        table.add_row(
            bar.name,
            bar.measures,
            bar.show(value),
            bar.bar,
            "ok" if is_met else "short",
            style=None if is_met else "red",
        )
    return table


def arguments(argv: Sequence[str]) -> list[str]:
    """Return the arguments of ``app`` for ``argv``: a figure or a run becomes its command.

    Options of ``argv`` go last, so they replace those of the run.
    """
    name, *options = argv or ["--help"]
    bar = None if name in RUNS else BARS.get(name)
    if bar is not None and bar.run in OTHER_RUNS:
        typer.echo(f"{name} is measured by: {bar.command}", err=True)
        raise SystemExit(2)
    run = name if bar is None else bar.run
    if run not in RUNS:
        return [name, *options]
    bars, narrowed = ([bar], bar.options) if bar else (bars_of(run), ())
    judged = [word for one in bars for word in ("--figure", one.name)]
    file = ("--results", str(RESULTS / f"{run}.json"))
    return [*RUNS[run], *narrowed, *judged, *file, *options]


def main() -> None:
    """Run the command that this process's arguments name."""
    # To standard error: standard output is for results.
    configure(LogSettings(level="warning"))
    app(arguments(sys.argv[1:]), prog_name="python -m benchmarks")


if __name__ == "__main__":
    main()
