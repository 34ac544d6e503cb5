"""``izin import``: a CRM export into Kafka, with a report of the rows that are refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.imports.result import changes, print_result, show_preview
from izin.cli.terminal import (
    ByIfKnownOption,
    ExitCode,
    OutputFormat,
    OutputOption,
    TableArgument,
    TimeOfDayOption,
    exit_if,
    exit_on_signals,
    group_with,
    kafka_settings,
    say,
    showing_steps,
    takes,
    utc_now,
)
from izin.kafka.clients import access_of
from izin.kafka.tables.brand_directory import BrandReader
from izin.producers.files import (
    ColumnChoices,
    Import,
    ReversalRules,
    read_mapping,
    read_reversals,
)
from izin.producers.mapping.dates import DateRules, DayOrder, ExcelEpoch
from izin.producers.mapping.saved import FileMapping
from izin.runtime.process import tune_gc_for_batches
from izin.views.imports import ImportSession, importing

AgainOption = Annotated[
    bool, typer.Option("--again", help="Import a file that was imported to its end once more.")
]
PreviewOption = Annotated[
    bool,
    typer.Option("--preview", help="Show what each column holds, and read no row."),
]


MappingOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        readable=True,
        help="A TOML file of such choices, used again: its tables columns, constants and "
        "values, and ignore, confirm, header_row, day_order, excel_epoch, time_of_day, origin. "
        "Those given here go before it.",
    ),
]
ValueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--value",
        help="WORD=value: what a word of the file means, as Mağaza=HS_FIZIKSEL_ORTAM; with a "
        "field before it (status:Pasif=RET) in that field alone; repeat it for each.",
    ),
]
ConfirmOption = Annotated[
    list[str] | None,
    typer.Option(
        "--confirm",
        help="A column to skip that may have opt-outs, or a word of an opt-out that means a "
        "consent: on purpose; repeat it for each.",
    ),
]
_ONLY_SHOWN = (
    "it publishes nothing and writes no report: leave out --report, --dry-run, --again and "
    "--reversals"
)
_STOPPED = "stopped before its end; the same command goes on where it was"
_STOPPED_DRY = "stopped before its end; nothing was published: --dry-run"
_FILE = "file"


def reading_options(  # one option each
    *,
    mapping: MappingOption = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", help="COLUMN=field: what a column holds; repeat it for each."),
    ] = None,
    ignored: Annotated[
        list[str] | None, typer.Option("--ignore", help="A column to skip; repeat it for each.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value for every row; repeat it for each."),
    ] = None,
    words: ValueOption = None,
    confirmed: ConfirmOption = None,
    header_row: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The line or row that names the columns; those above are skipped. Default: the "
            "first that is not empty.",
        ),
    ] = None,
    day_order: Annotated[
        DayOrder | None,
        typer.Option(
            "--day-order", help="What stands first in dates with slashes: the day, or the month."
        ),
    ] = None,
    excel_epoch: Annotated[
        ExcelEpoch | None, typer.Option(help="First year of Excel's date numbers.")
    ] = None,
    time_of_day: TimeOfDayOption = None,
    origin: Annotated[
        str | None, typer.Option(help="Which of your systems wrote the file. Default: file.")
    ] = None,
) -> Import:
    """Return how a file is read, by these options."""
    saved = FileMapping() if mapping is None else read_mapping(mapping)
    return Import(
        columns=_over(
            saved.choices,
            ColumnChoices(
                mapped=_pairs("--map", "COLUMN=field", mapped),
                ignored=ignored or (),
                given=_pairs("--set", "field=value", given),
                values=_pairs("--value", "WORD=value", words),
                confirmed=confirmed or (),
                header_row=header_row,
            ),
        ),
        dates=saved.dates_or(
            DateRules(day_order=day_order, excel_epoch=excel_epoch, time_of_day=time_of_day)
        ),
        origin=origin or saved.origin,
    )


def _over(saved: ColumnChoices, given: ColumnChoices) -> ColumnChoices:
    """Return the choices of both; where they differ, those ``given``."""
    return ColumnChoices(
        mapped={**saved.mapped, **given.mapped},
        ignored=(*saved.ignored, *given.ignored),
        given={**saved.given, **given.given},
        values={**saved.values, **given.values},
        confirmed=(*saved.confirmed, *given.confirmed),
        header_row=given.header_row or saved.header_row,
    )


def reversal_options(
    *,
    reversals: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            exists=True,
            help="Publish the opt-ins (ONAY) of this list, too, which reverse an opt-out (RET): an "
            "import has written it.",
        ),
    ] = None,
    by: ByIfKnownOption,
) -> ReversalRules:
    """Return which opt-outs may be reversed, by these options."""
    if reversals is None:
        return ReversalRules()
    if not by.strip():
        raise typer.BadParameter("say who gives them back, with --by or IZIN_ACTOR")
    return ReversalRules(event_ids=read_reversals(reversals), by=by)


def _pairs(option: str, example: str, texts: list[str] | None) -> dict[str, str]:
    """Return what comes before and behind the first ``=`` of each of ``texts``."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text} has no =; write {example}", param_hint=option)
        found[name] = value
    return found


@contextmanager
def import_session() -> Iterator[ImportSession]:
    """Provide a session with the brands that are known."""
    kafka = access_of(kafka_settings())
    codec = kafka.codec()
    directory = BrandReader(kafka, codec).load()
    tune_gc_for_batches()
    with importing(kafka, codec, directory, clock=utc_now) as session:
        yield session


app = typer.Typer(
    cls=group_with(_FILE),
    invoke_without_command=True,
    help="Publish the consents and opt-outs of a file, and say what an import changed.",
)
app.command("changes")(changes)


@app.command(_FILE, hidden=True)
@takes("reading", reading_options)
@takes("reversals", reversal_options)
def import_(
    path: TableArgument,
    *,
    reading: Import,
    report: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Report of refused rows, .csv or .xlsx; the import's journal is beside it. "
            "Default: beside FILE.",
        ),
    ] = None,
    preview: PreviewOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, publish nothing.")
    ] = False,
    again: AgainOption = False,
    reversals: ReversalRules,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Publish the consents and opt-outs of a file; write a report of the rows that are refused.

    An import that was stopped, by whatever, goes on where it was when the command is repeated.
    The opt-outs (RET) of the file go first. An opt-in (ONAY) that would reverse one that stands is
    left out, and listed beside the report, to be looked through and given back (--reversals).
    Importing a file again has no effect. What it changed: izin import changes FILE.

    Exit code 5 if opt-outs are among the refused rows, or may be because a status cannot be read; 1
    if only other rows were refused, or left out; 3 if the file as a whole cannot be used, with
    --preview also if no row can be read with these columns.
    """
    imports = report or dry_run or again or reversals != ReversalRules()
    if preview and imports:
        raise typer.BadParameter(_ONLY_SHOWN, param_hint="--preview")
    with exit_on_signals():
        if preview:
            show_preview(path, reading, output)
            return
        how = replace(
            reading,
            report_path=report,
            dry_run=dry_run,
            resumable=True,
            again=again,
            reversals=reversals,
        )
        try:
            with import_session() as session, showing_steps() as begin:
                done = session.run(
                    path, how, begin, opt_outs=lambda brands: session.opt_outs(brands, begin)
                )
        except KeyboardInterrupt:
            say(f"{path.name}: {_STOPPED_DRY if dry_run else _STOPPED}")
            raise
    print_result(done, output)
    exit_if(done.lost_opt_outs, ExitCode.OPT_OUTS_REFUSED)
    exit_if(done.refused)
