"""``izin reconcile``: compare İYS, the ledger and the topics for a brand, and repair by a plan."""

from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from izin.consent.model import Channel
from izin.console.reconcile.report import FIELDS, DifferenceReport
from izin.console.terminal.arguments import ByOption, instant
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.ledger_session import Look, run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
    print_json,
    print_rows,
    say,
)
from izin.console.terminal.private_files import private_csv
from izin.console.terminal.progress import showing
from izin.reconcile.asking import SINGLE, Asker, Estimate, iys_client
from izin.reconcile.comparing import Ask, Comparer, Scope
from izin.reconcile.executing import Executed, RepairExecution
from izin.reconcile.plan import KIND, RepairFile, counts_of, plan_of
from izin.reconcile.remedies import WORDS, Repair
from izin.runtime.kafka import codec
from izin.runtime.plan import Plan
from izin.runtime.settings import IysSettings, StreamSettings
from izin.sinks.ledger.brands import registered_brand
from izin.sinks.ledger.db.connection import Ledger

BrandOption = Annotated[
    int | None,
    typer.Option("--brand", min=1, max=2**31 - 1, help="Code of the brand at İYS (brandCode)."),
]
ChannelOption = Annotated[
    Channel | None,
    typer.Option(
        "--channel",
        "--type",
        case_sensitive=False,
        help="Only ARAMA (calls), MESAJ (text messages) or EPOSTA (e-mail).",
    ),
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        parser=instant,
        metavar="INSTANT",
        help="Only keys whose latest act, here or at İYS, was then or later: 2024-01-31T12:00, in "
        "Turkish time or with an offset.",
    ),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option("--until", parser=instant, metavar="INSTANT", help="Only those before."),
]
AskOption = Annotated[
    bool,
    typer.Option(
        "--ask",
        help="Ask İYS about every key, a thousand a call, in the slots that other calls leave. "
        "Without it, İYS is what the ledger has seen of it.",
    ),
]
SingleOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=SINGLE,
        help="With --ask: up to so many keys that differ are asked about one by one, with date "
        "and writer. An hour has room for so many in all.",
    ),
]
PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        metavar="FILE",
        dir_okay=False,
        help="Where the repairs are written, or with --execute the plan that is executed. It "
        "names recipients: delete it and its folder afterwards.",
    ),
]
ExecuteOption = Annotated[
    bool, typer.Option("--execute", help="Execute the plan in --plan FILE. Nothing is compared.")
]
CsvOption = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        dir_okay=False,
        help="Write all differences with recipients in full; only its owner may read the file.",
    ),
]
UnmaskedOption = Annotated[
    bool, typer.Option("--unmasked", help="Show recipients in full: personal data.")
]


def reconcile(
    *,
    brand: BrandOption = None,
    channel: ChannelOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ask: AskOption = False,
    single: SingleOption = SINGLE,
    plan: PlanOption = None,
    execute: ExecuteOption = False,
    csv: CsvOption = None,
    unmasked: UnmaskedOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Compare İYS, the ledger and the topics for a brand, and say what differs, of which kind.

    Nothing is changed without --execute, and then everything enters through admission: events on
    the input lanes, status queries, permissions published again. What may not be repaired is
    explained, with the next step. --since and --until choose keys by their latest act, here or at
    İYS. Exit code 0 if every difference is explained, 1 if not, 3 if the brand or the plan cannot
    be used, 4 if a server is at fault or the plan does not hold any more.
    """
    if execute:
        given = (brand, channel, since, until, csv)
        if plan is None or ask or any(one is not None for one in given):
            raise typer.BadParameter("--execute takes --plan FILE, --by and --output alone")
        with exit_on_signals(), exit_on_error(OSError):
            done = _execute(plan, by)
        _print(done, output)
        exit_if(done.moved)
        return
    if brand is None:
        raise typer.BadParameter("say which brand", param_hint="--brand")
    wish = _Wish(brand, channel, since, until, single if ask else None, plan, by)
    with exit_on_signals(), exit_on_error(OSError), ExitStack() as stack:
        rows = None if csv is None else stack.enter_context(private_csv(csv, FIELDS))
        report = DifferenceReport(output, unmasked=unmasked, csv=rows)
        repairs = run_on_ledger(
            lambda ledger: _compare(ledger, wish, report),
            look=Look(command="reconcile", by=by, brand=brand),
        )
    if repairs:
        say(f"nothing was changed; to repair: izin reconcile --plan {plan} --execute")
    exit_if(report.unexplained)


class _Wish(NamedTuple):
    """What is to be compared, and where the plan goes."""

    brand: int
    channel: Channel | None
    since: datetime | None
    until: datetime | None
    single: int | None
    """How many single queries; None: İYS is not asked."""
    plan: Path | None
    by: str


async def _compare(ledger: Ledger, wish: _Wish, report: DifferenceReport) -> int:
    """Compare, report, and write the plan; return how many keys it repairs."""
    kafka, brand = kafka_settings(), await registered_brand(ledger, wish.brand)
    scope = Scope(brand=brand, channel=wish.channel, since=wish.since, until=wish.until)
    async with AsyncExitStack() as stack:
        ask: Ask | None = None
        if wish.single is not None:
            iys = IysSettings()
            client = await stack.enter_async_context(iys_client(ledger, iys))
            ask = Asker(
                client=client,
                requests_per_second=iys.requests_per_second,
                clock=_now,
                single=wish.single,
                on_estimate=_say_estimate,
                on_single=_say_single,
            )
        shown = stack.enter_context(showing("records of topics"))
        comparer = Comparer(
            ledger=ledger,
            kafka=kafka,
            codec=codec(kafka),
            clock=_now,
            on_read=lambda read: shown(read, read),
        )
        comparison = await stack.enter_async_context(comparer.comparing(scope, ask))
        file = None if wish.plan is None else RepairFile(wish.plan)
        report.begin(comparison)
        async for one in comparison.differences():
            report.add(one)
            if file is not None:
                file.add(one)
        if file is None:
            report.end(comparison, None)
            return 0
        asked, now = wish.single is not None, comparison.began
        plan = plan_of(scope, kafka, asked=asked, now=now, by=wish.by)
        report.end(comparison, file.write(plan).digest)
        return file.keys


def _execute(path: Path, by: str) -> Executed:
    plan, kafka = Plan.read(path, kind=KIND), kafka_settings()
    with showing("keys repaired") as progress:

        async def execute(ledger: Ledger) -> Executed:
            execution = RepairExecution(
                ledger=ledger,
                kafka=kafka,
                codec=codec(kafka),
                secrets=StreamSettings().suppressions,
                clock=_now,
                progress=progress,
            )
            return await execution.execute(path, plan, by=by)

        done = run_on_ledger(execute)
    if done.repaired:
        for name, keys in sorted(counts_of(plan).items()):
            say(f"{name}, keys: {keys}: {WORDS[Repair(name)]}")
    return done


def _print(done: Executed, output: OutputFormat) -> None:
    rows = {name: getattr(done, name) for name in done.__slots__}
    match output:
        case OutputFormat.JSON:
            print_json(rows)
        case OutputFormat.TABLE:
            print_rows(output, tuple(rows), [tuple(rows.values())])
            if done.moved:
                say("what moved since was left alone: compare again")


def _say_estimate(found: Estimate) -> None:
    say(
        f"asking İYS: keys: {found.keys:,}; calls: {found.requests:,}; seconds: "
        f"{found.seconds:,.0f} at least, more while the workers call"
    )


def _say_single(asked: int, differing: int) -> None:
    if differing:
        say(
            f"keys that differ: {differing:,}; asked about one by one: {asked:,}; an hour has room "
            f"for {SINGLE}"
        )


def _now() -> datetime:
    return datetime.now(UTC)
