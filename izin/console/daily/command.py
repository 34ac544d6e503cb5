"""``izin iys daily``: İYS's files of each day, how they compare with ours, and agreement."""

from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.brands.lookup import registered_brand
from izin.console.daily.checks import Findings, check
from izin.console.daily.evidence_files import write_files
from izin.console.daily.views import (
    COLUMNS,
    FINDING_COLUMNS,
    fields_of,
    needs_person,
    note_on,
    row_of,
    shortened,
)
from izin.console.terminal.arguments import ByOption, OneCustomerOption
from izin.console.terminal.customer_cut import run_cut
from izin.console.terminal.ledger_session import Look, run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_json,
    print_rows,
    say,
)
from izin.runtime.settings import SinkSettings
from izin.sinks.inbound.daily.loop import trusted_roots
from izin.sinks.ledger.daily import files
from izin.sinks.ledger.daily.files import REVIEWED_FOR, SHOWN_FOR, DailyFile
from izin.sinks.ledger.db.connection import Ledger

app = typer.Typer(
    help="Show İYS's files of each day (mutabakat), and agree with them.\n\n"
    "The sink workers fetch the file of a brand the next morning, check its hash and its time "
    "stamp, record what neither push nor pull brought, and compare it with our own of that day, "
    "which is made from the history.",
    no_args_is_help=True,
)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no day; write it as 2026-01-31") from None


BrandOption = Annotated[
    int, typer.Option("--brand", min=1, help="Code of the brand at İYS (brandCode).")
]
DayOption = Annotated[
    date, typer.Option("--day", parser=_day, metavar="YYYY-MM-DD", help="The day, Turkish time.")
]


@app.command("list")
def list_(
    *,
    customer: OneCustomerOption = None,
    brand: Annotated[
        int | None, typer.Option("--brand", min=1, help="Only the files of this brand.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="How many days back.")] = REVIEWED_FOR,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List the daily files: how far each is, and how it compares with ours.

    The column İYS/here has how many lines only İYS's file has, and only ours. Exit code 1 if one
    needs a person: it is late or lost, has lines that neither push nor pull brought, or a wrong
    time stamp.
    """
    now = datetime.now(UTC)
    since = files.today_in_turkey(now) - timedelta(days=days)
    with exit_on_error():
        found = run_cut(
            customer,
            lambda ledger: files.since(ledger, since, brand_code=brand),
            attrgetter("brand_code"),
            only=None if brand is None else [brand],
        )
    today = files.today_in_turkey(now)
    match output:
        case OutputFormat.JSON:
            print_json([dict(fields_of(one)) for one in found])
        case OutputFormat.TABLE:
            print_rows(output, COLUMNS, map(row_of, found))
            noted = [(f"{one.brand_code} {one.day}", note_on(one, today)) for one in found]
            for where, note in noted:
                if note is not None:
                    say(f"{where}: {note}")
    exit_if([one for one in found if needs_person(one, today)])


@app.command()
def show(
    *,
    brand: BrandOption,
    day: DayOption,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            metavar="FOLDER",
            help="Also write İYS's file, its time stamp and what is known of both into this "
            "folder. They have recipients in full.",
        ),
    ] = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show what is known of a daily file: counts, hashes, time stamp, agreement.

    Times are Turkish. Who wrote files is in the history. Exit code 1 if it needs a person, 3 if
    there is no file of that day.
    """
    with exit_on_error(OSError):
        file = run_on_ledger(lambda ledger: _found(ledger, brand, day))
        if write is not None:
            write.mkdir(mode=0o700, parents=True, exist_ok=True)
            written = run_on_ledger(
                lambda ledger: write_files(ledger, file, write),
                look=Look(command="iys daily show", by=by, brand=brand),
            )
            for one in written:
                say(f"wrote {one}")
    match output:
        case OutputFormat.JSON:
            print_json(dict(fields_of(file)))
        case OutputFormat.TABLE:
            rows = [
                (name.replace("_", " "), shortened(value))
                for name, value in fields_of(file)
                if value is not None
            ]
            print_rows(output, ("field", "value"), rows)
    exit_if(needs_person(file, files.today_in_turkey(datetime.now(UTC))))


@app.command()
def fetch(*, brand: BrandOption, day: DayOption) -> None:
    """Have a sink worker fetch a daily file now, or compare again one that is here.

    The file of a day is here once: İYS does not change it. Exit code 3 if the day is none that İYS
    shows, or the brand is not registered.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        run_on_ledger(lambda ledger: registered_brand(ledger, brand))
        today = files.today_in_turkey(now)
        if not today - timedelta(days=SHOWN_FOR) <= day < today:
            raise SourceError(
                f"İYS shows the files of {SHOWN_FOR} days that are over, and {day} is none of them"
            )
        state = run_on_ledger(lambda ledger: files.order_fetch(ledger, brand, day, now=now))
    does = "fetches" if state is files.FileState.WAITING else "compares"
    say(
        f"a sink worker {does} the file of {day} for brand {brand} within a minute; see: izin iys "
        f"daily show --brand {brand} --day {day}"
    )


@app.command()
def verify(
    *, brand: BrandOption, day: DayOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Check a stored daily file again: its hash, its time stamp, and each line against ours.

    Lines that only İYS's file or only ours has are printed with masked recipients. What only the
    daily file brought is no part of ours. Roots of time stamps are those of IZIN_TIMESTAMP_ROOTS.
    Exit code 1 if a check fails, 3 if the ledger does not have the file.
    """
    settings = SinkSettings()
    with exit_on_error():
        roots = trusted_roots(settings.timestamp_roots)

        async def checked(ledger: Ledger) -> Findings:
            file = await _found(ledger, brand, day)
            return await check(ledger, file, roots, empty_date=settings.daily_empty_date)

        findings = run_on_ledger(checked)
    match output:
        case OutputFormat.JSON:
            print_json(findings.to_json())
        case OutputFormat.TABLE:
            rows = [(one, result, shortened(detail)) for one, result, detail in findings.rows()]
            print_rows(output, FINDING_COLUMNS, rows)
            if findings.differences:
                print_rows(output, ("side", "line"), findings.differences)
    exit_if(findings.is_wrong)


@app.command()
def agree(
    *,
    brand: BrandOption,
    day: DayOption,
    execute: Annotated[
        bool, typer.Option("--execute", help="Do it. Without it the command only says so.")
    ] = False,
    by: ByOption,
) -> None:
    """Declare to İYS that we agree with a daily file (mutabakat).

    That cannot be taken back: İYS takes no other value. It is possible only where our own file of
    the day has the hash of İYS's, and a business partner needs agreementControl of the brand. A
    sink worker declares it within a minute. Who ordered it is written to the history. Exit code 3
    if both files differ, or agreement was declared or ordered before.
    """
    with exit_on_error():
        file = run_on_ledger(lambda ledger: _found(ledger, brand, day))
        _may_be_agreed(file)
        if not execute:
            say(
                f"would agree with the file of {day} for brand {brand} ({file.lines} lines), which "
                "cannot be taken back; add --execute to do it"
            )
            return
        ordered = run_on_ledger(lambda ledger: _order(ledger, file, by))
        if not ordered:
            raise SourceError("the file has changed meanwhile; see: izin iys daily show")
    say(f"a sink worker agrees with the file of {day} for brand {brand} within a minute")


async def _found(ledger: Ledger, brand_code: int, day: date) -> DailyFile:
    """Return the file of a day.

    Raises:
        UnregisteredBrandError: the brand is not registered.
        SourceError: there is none.
    """
    await registered_brand(ledger, brand_code)
    file = await files.one(ledger, brand_code, day)
    if file is None:
        raise SourceError(
            f"no file of {day} was fetched for brand {brand_code}; see izin iys daily list, or: "
            f"izin iys daily fetch --brand {brand_code} --day {day}"
        )
    return file


async def _order(ledger: Ledger, file: DailyFile, by: str) -> bool:
    brand = await registered_brand(ledger, file.brand_code)
    return await files.order_agreement(
        ledger, file, by=by, customer_id=brand.customer_id, now=datetime.now(UTC)
    )


def _may_be_agreed(file: DailyFile) -> None:
    """Raise SourceError where agreement with a file is not possible, or declared."""
    if file.agreed_at is not None or file.agree_ordered_by is not None:
        raise SourceError(f"agreement with the file of {file.day} was declared or ordered before")
    if file.lines is None:
        raise SourceError(f"there is no file of {file.day} to agree with; it is {file.state}")
    if not file.is_equal:
        raise SourceError(
            f"our own file of {file.day} does not have the hash of İYS's: {file.only_at_iys} lines "
            f"are only in İYS's, {file.only_here} only in ours; izin iys daily verify --brand "
            f"{file.brand_code} --day {file.day} prints them"
        )
