"""``izin up``: the local stack, until Ctrl-C.

``izin demo``: the main job, end to end, on real servers, and the proof that it was done.
"""

import shlex
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.panel import Panel
from rich.text import Text

from izin.console.local_stack.settings import Delays, Ports, example_brands
from izin.console.local_stack.stack import LocalStack
from izin.console.terminal.interrupts import exit_on_signals, raising_on_signals
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

PortOption = Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Remove what earlier runs stored, and start empty.")
]
ResultDelayOption = Annotated[
    float, typer.Option(help="Seconds until İYS has the results of a batch (İYS: 300).")
]
HiddenWindowOption = Annotated[
    float, typer.Option(help="Seconds for which İYS's pull hides a change (İYS: 3600).")
]
SEED = 2026
ROWS = 20_000
_KILLS_WITHIN_SECONDS = 18.0


def up(
    *,
    state_dir: Annotated[
        Path, typer.Option(help="Folder of data and logs.", envvar="IZIN_STATE_DIR")
    ] = Path(".izin/up"),
    kafka_port: PortOption = 19092,
    postgres_port: PortOption = 15432,
    fresh: FreshOption = False,
    registry: Annotated[
        bool, typer.Option("--registry", help="Start a schema registry (Apicurio) too.")
    ] = False,
    registry_port: PortOption = 18080,
    intake_port: PortOption = 8081,
    intake_operations_port: PortOption = 8091,
    feeds_port: PortOption = 8084,
    feeds_operations_port: PortOption = 8094,
    gate_port: PortOption = 8087,
    gate_operations_port: PortOption = 8097,
    sink_port: PortOption = 8082,
    sink_operations_port: PortOption = 8092,
    webhooks_port: PortOption = 8086,
    webhooks_operations_port: PortOption = 8096,
    order_port: PortOption = 8083,
    simulator_port: PortOption = 8085,
    result_delay: ResultDelayOption = 5.0,
    hidden_window: HiddenWindowOption = 5.0,
) -> None:
    """Run the whole system on this machine, with a simulator of İYS, until Ctrl-C.

    It has two brands: 100001 is active and pushes, 100002 is in first loading. What was stored
    (topics, ledger, the simulated register) is there again at the next run; --fresh removes it. A
    server or worker that dies is started again, on its port. A server that the environment names is
    used instead of one of our own. Exit code 4 if a part cannot start, or a server keeps dying.
    """
    ports = _ports(
        kafka=kafka_port,
        postgres=postgres_port,
        registry=registry_port if registry else 0,
        intake=intake_port,
        intake_operations=intake_operations_port,
        feeds=feeds_port,
        feeds_operations=feeds_operations_port,
        gate=gate_port,
        gate_operations=gate_operations_port,
        sink=sink_port,
        sink_operations=sink_operations_port,
        webhooks=webhooks_port,
        webhooks_operations=webhooks_operations_port,
        order=order_port,
        simulator=simulator_port,
    )
    delays = Delays(result=timedelta(seconds=result_delay), hidden=timedelta(seconds=hidden_window))
    with suppress(KeyboardInterrupt), raising_on_signals(), exit_on_error(LocalError):
        _keep_up(state_dir, ports, delays, registry=registry, fresh=fresh)


def _keep_up(
    state_dir: Path, ports: Ports, delays: Delays, *, registry: bool, fresh: bool
) -> NoReturn:
    stack = LocalStack(
        state_dir,
        brands=example_brands(),
        ports=ports,
        delays=delays,
        registry=registry,
        fresh=fresh,
        on_progress=say,
    )
    with stack:
        out.print(_panel(stack))
        stack.wait()


def _ports(**given: int) -> Ports:
    """Return the ports as they were given; 0 is any."""
    ports = Ports(**{part: port or None for part, port in given.items()})
    _require_distinct(ports)
    return ports


def _require_distinct(ports: Ports) -> None:
    """Refuse one port for two parts, whose health checks would then be mixed up."""
    asked: dict[int, str] = {}
    for name, port in asdict(ports).items():
        part = name.replace("_", "-")
        if port in asked:
            both = f"--{asked[port]}-port and --{part}-port"
            raise typer.BadParameter(f"{both} both name {port}; give each a port of its own")
        if port is not None:
            asked[port] = part


def _panel(stack: LocalStack) -> Panel:
    registry = stack.environment.get("SCHEMA_REGISTRY_URL")
    lines = [
        f"intake     {stack.url('intake')}/v1/consents",
        f"           {stack.url('intake_operations')}/metrics",
        f"feeds      {stack.url('feeds')}/v1/opt-outs",
        f"           {stack.url('feeds_operations')}/metrics",
        f"gate       {stack.url('gate')}/v1/may-send",
        f"           {stack.url('gate_operations')}/metrics",
        f"sink       {stack.url('sink')}/health/ready",
        f"           {stack.url('sink_operations')}/metrics",
        f"webhooks   {stack.url('webhooks')}/health/ready",
        f"           {stack.url('webhooks_operations')}/metrics",
        f"order      {stack.url('order')}/health/ready",
        *([f"registry   {registry}"] if registry else []),
        f"simulator  {stack.url('simulator')}/__simulator__/health",
        f"citizen    {stack.url('simulator')}/citizen (opt in and out as a citizen does at İYS)",
        f"logs       {stack.logs}",
        "",
        "In another terminal (the file also has a key for intake, feeds and gate):",
        f"  set -a; . {shlex.quote(str(stack.environment_file))}; set +a",
        "  izin doctor",
        "  izin publish --brand 100001 --type MESAJ --recipient '0555 000 00 01' \\",
        "      --status ONAY --source HS_WEB",
        "  izin explain '0555 000 00 01'",
        "  izin may-send '0555 000 00 01' --brand 100001 --type MESAJ",
        f"  curl {stack.url('intake')}/v1/consents \\",
        '      -H "Authorization: Bearer $IZIN_API_KEY" \\',
        "      -d phone=05550000001 -d type=SMS -d status=RET \\",
        "      -d source=HS_WEB -d brand_code=100001",
        f"  curl '{stack.url('feeds')}/v1/opt-outs?wait=10' \\",
        '      -H "Authorization: Bearer $IZIN_API_KEY"',
        f"  curl {stack.url('gate')}/v1/may-send \\",
        '      -H "Authorization: Bearer $IZIN_API_KEY" \\',
        "      -H 'Content-Type: application/json' \\",
        '      -d \'{"brand_code": 100001, "type": "MESAJ",',
        '           "recipients": ["05550000001"]}\'',
    ]
    return Panel(Text("\n".join(lines)), title="izin is up; Ctrl-C stops it", expand=False)


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
