"""``izin up``: the local stack, until Ctrl-C; ``izin download`` has its servers without starting.

``izin demo``: the main job, end to end, on real servers, and the proof that it was done.
"""

import shlex
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel
from rich.text import Text

from izin.cli.terminal import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    exit_on_signals,
    out,
    print_rows,
    raising_on_signals,
    say,
    showing_steps,
)
from izin.kafka.clients import codec
from izin.local import LocalError, LocalServers
from izin.local.kafka import fetch_connect, fetch_plugins, place_plugins
from izin.stack.report import Report, verify
from izin.stack.scenario import Killer, LedgerView, Scenario
from izin.stack.stack import LocalStack
from izin.stack.stack_settings import PORTS, Delays, example_brands

StateOption = Annotated[
    Path, typer.Option("--state-dir", help="Folder of data and logs.", envvar="IZIN_STATE_DIR")
]
RegistryOption = Annotated[
    bool, typer.Option("--registry", help="With a schema registry (Apicurio) too.")
]
SEED = 2026
ROWS = 20_000
_KILLS_WITHIN_SECONDS = 18.0
_MOST_PORTS = 65_535
FirstPortOption = Annotated[
    int | None,
    typer.Option(
        "--ports",
        metavar="FIRST",
        min=1024,
        max=_MOST_PORTS - len(PORTS),
        help="Everything on consecutive ports, this one first.",
    ),
]


def up(
    *,
    state_dir: StateOption = Path(".izin/up"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Remove what earlier runs stored, and start empty.")
    ] = False,
    servers_only: Annotated[
        bool,
        typer.Option(
            "--servers-only", help="Kafka and PostgreSQL alone, for what needs workers stopped."
        ),
    ] = False,
    registry: RegistryOption = False,
    ports: Annotated[
        list[str] | None,
        typer.Option(
            "--port",
            metavar="PART=NUMBER",
            help=f"Where a part listens ({', '.join(PORTS)}); 0 is any free port; repeat it.",
        ),
    ] = None,
    first_port: FirstPortOption = None,
    any_ports: Annotated[
        bool,
        typer.Option("--any-ports", help="Any free ports, those of the last run where they are."),
    ] = False,
    result_delay: Annotated[
        float, typer.Option(help="Seconds until İYS has the results of a batch (İYS: 300).")
    ] = 5.0,
    hidden_window: Annotated[
        float, typer.Option(help="Seconds for which İYS's pull hides a change (İYS: 3600).")
    ] = 5.0,
) -> None:
    """Run the whole system on this machine, with a simulator of İYS, until Ctrl-C.

    It has two brands: 100001 is active and pushes, 100002 is in first loading. What was stored
    (topics, ledger, the simulated register) is there again at the next run; --fresh removes it. A
    server or worker that dies is started again, on its port. A server that the environment names is
    used instead of one of our own. Exit code 4 if a part cannot start, or a server keeps dying.
    """
    with suppress(KeyboardInterrupt), raising_on_signals(), exit_on_error(LocalError):
        stack = LocalStack(
            state_dir,
            brands=example_brands(),
            ports=ports_of(ports or (), first=first_port, any_ports=any_ports),
            delays=Delays(
                result=timedelta(seconds=result_delay), hidden=timedelta(seconds=hidden_window)
            ),
            registry=registry,
            fresh=fresh,
            servers_only=servers_only,
            on_progress=say,
        )
        with stack:
            out.print(_panel(stack, servers_only=servers_only))
            if not servers_only:
                # Below the panel, so that no frame or line break is copied with it.
                out.print(Text("Sign in to the console, once (again: izin accounts link local):"))
                out.print(Text(stack.sign_in_link()), soft_wrap=True)
            stack.wait()


def ports_of(
    texts: Iterable[str], *, first: int | None = None, any_ports: bool = False
) -> dict[str, int]:
    """Return the port that is asked for of each part, consecutive ones from ``first``; any is free
    to choose for those left out.

    Raises:
        BadParameter: a text names no part and port, or two parts have one port, whose health checks
            would then be mixed up.
    """
    asked = {} if any_ports else dict(PORTS)
    if first is not None:
        asked = {part: first + number for number, part in enumerate(PORTS)}
    for text in texts:
        part, _, number = text.partition("=")
        if part not in PORTS or not number.isdecimal() or int(number) > _MOST_PORTS:
            raise typer.BadParameter(
                f"{text} is no part and port, as intake=8081", param_hint="--port"
            )
        asked[part] = int(number)
    by_port: dict[int, str] = {}
    for part, port in asked.items():
        if port and by_port.setdefault(port, part) != part:
            raise typer.BadParameter(
                f"{by_port[port]} and {part} both have {port}; give each a port of its own",
                param_hint="--port",
            )
    return asked


def _panel(stack: LocalStack, *, servers_only: bool) -> Panel:
    registry = stack.environment.get("SCHEMA_REGISTRY_URL")
    lines = [
        f"intake     {stack.url('intake')}/v1/consents",
        f"           {stack.url('intake-operations')}/metrics",
        f"feeds      {stack.url('feeds')}/v1/opt-outs",
        f"           {stack.url('feeds-operations')}/metrics",
        f"gate       {stack.url('gate')}/v1/may-send",
        f"           {stack.url('gate-operations')}/metrics",
        f"sink       {stack.url('sink')}/health/ready",
        f"           {stack.url('sink-operations')}/metrics",
        f"webhooks   {stack.url('webhooks')}/health/ready",
        f"           {stack.url('webhooks-operations')}/metrics",
        f"api        {stack.url('api')}/v1/consents/lookup",
        f"           {stack.url('api-operations')}/metrics",
        f"console    {stack.url('console')} (sign in by the link below)",
        f"           {stack.url('console-operations')}/metrics",
        f"order      {stack.url('order')}/health/ready",
        f"           {stack.url('order')}/metrics",
        *([f"registry   {registry}"] if registry else []),
        f"simulator  {stack.url('simulator')}/__simulator__/health",
        f"citizen    {stack.url('simulator')}/citizen (opt in and out as a citizen does at İYS)",
        f"logs       {stack.logs}",
        "",
        "In another terminal (the file also has a key for intake, feeds, gate and api):",
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
    if servers_only:
        lines = [line for line in lines if "set -a" in line or "doctor" in line]
    return Panel(Text("\n".join(lines)), title="izin is up; Ctrl-C stops it", expand=False)


def demo(
    *,
    state_dir: StateOption = Path(".izin/demo"),
    export: Annotated[
        Path, typer.Option("--out", help="The file to write: the made-up CRM export.")
    ] = Path("demo/crm-export.csv"),
    rows: Annotated[int, typer.Option(min=8000, help="Rows of the CRM export.")] = ROWS,
    seed: Annotated[int, typer.Option(help="Seed of what is made up.")] = SEED,
    chaos: Annotated[
        bool, typer.Option("--chaos", envvar="CHAOS", help="Kill each worker once (kill -9).")
    ] = False,
    registry: RegistryOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Import, register at İYS and opt out 20,000 made-up consents, and check every one of them.

    It runs on real Kafka and PostgreSQL servers and a simulator of İYS, and compares topics, ledger
    and İYS key by key. Exit code 1 if any difference is unexplained.
    """
    with exit_on_signals(), exit_on_error(LocalError):
        report = _run(state_dir, export, rows=rows, seed=seed, chaos=chaos, registry=registry)
    print_rows(output, ("what", "count", "note"), report.rows(), as_json=report.as_json())
    exit_if(not report.is_good)


def _run(
    state_dir: Path, export: Path, *, rows: int, seed: int, chaos: bool, registry: bool
) -> Report:
    start = time.monotonic()
    stack = LocalStack(
        state_dir,
        brands=example_brands(),
        delays=Delays(pull=timedelta(seconds=1)),
        registry=registry,
        fresh=True,
        # Every event of a demo is one of its own.
        settings={"IZIN_SYNTHETIC_KEY": ""},
        on_progress=say,
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
            return verify(
                stack,
                encoder,
                ledger,
                scenario.run(export, rows, killer if chaos else None),
                start=start,
            )


def download(
    *,
    registry: RegistryOption = False,
    connect: Annotated[
        bool, typer.Option("--connect", help="With Kafka Connect and its plugins too.")
    ] = False,
    plugins: Annotated[
        Path | None,
        typer.Option(
            "--connect-plugins",
            metavar="FOLDER",
            help="The plugins of Kafka Connect alone, copied to this folder.",
        ),
    ] = None,
) -> None:
    """Download the servers of the local stack and start nothing: later starts need no network.

    With --connect-plugins there is a folder for a worker's plugin.path (docs/connect.md); what its
    subfolders of the two plugins had is replaced. Exit code 4 if a download fails.
    """
    with exit_on_error(LocalError):
        if plugins is not None:
            place_plugins(fetch_plugins(on_progress=say), plugins, shutil.copyfile)
            return
        for server in LocalServers(Path(), registry=registry, environ={}, on_progress=say).servers:
            server.prepare()
        if connect:
            fetch_connect(on_progress=say)
