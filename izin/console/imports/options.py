"""The options of ``izin import``, and what they say."""

from pathlib import Path
from typing import Annotated

import typer

from izin.console.terminal.arguments import ByIfKnownOption, TimeOfDayOption
from izin.console.terminal.output import exit_on_error
from izin.producers.files.columns import ColumnChoices
from izin.producers.files.importer import Import
from izin.producers.files.importing.reversals import ReversalRules, read_reversals
from izin.producers.files.saved_mapping import read_mapping
from izin.producers.mapping.dates import DateRules, DayOrder, ExcelEpoch

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="A table: CSV, or an .xlsx workbook.",
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="Report of refused rows, .csv or .xlsx; the import's journal is beside it. "
        "Default: beside FILE.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Read and check everything, publish nothing.")
]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Import a file that was imported to its end once more.")
]
PreviewOption = Annotated[
    bool,
    typer.Option("--preview", help="Show what each column holds, and how the first rows are read."),
]


MappingOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        readable=True,
        help="A TOML file of such choices, used again: [columns], ignore, [constants], "
        "[values], confirm. Those given here go before it.",
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
    words: Annotated[
        list[str] | None,
        typer.Option(
            "--value",
            help="WORD=value: what a word of the file means, as Mağaza=HS_FIZIKSEL_ORTAM; with a "
            "field before it (status:Pasif=RET) in that field alone; repeat it for each.",
        ),
    ] = None,
    confirmed: ConfirmOption = None,
    header_row: Annotated[
        int | None,
        typer.Option(
            min=1, help="The line or row that names the columns; those above are skipped."
        ),
    ] = None,
    day_order: Annotated[
        DayOrder | None,
        typer.Option(
            "--dates", help="What stands first in dates with slashes: the day, or the month."
        ),
    ] = None,
    excel_epoch: Annotated[
        ExcelEpoch | None, typer.Option(help="First year of Excel's date numbers.")
    ] = None,
    time_of_day: TimeOfDayOption = None,
    origin: Annotated[str, typer.Option(help="Which of your systems wrote the file.")] = "file",
) -> Import:
    """Return how a file is read, by these options."""
    with exit_on_error():
        saved = ColumnChoices() if mapping is None else read_mapping(mapping)
    return Import(
        columns=ColumnChoices(
            mapped={**saved.mapped, **_pairs("--map", "COLUMN=field", mapped)},
            ignored=(*saved.ignored, *(ignored or ())),
            given={**saved.given, **_pairs("--set", "field=value", given)},
            values={**saved.values, **_pairs("--value", "WORD=value", words)},
            confirmed=(*saved.confirmed, *(confirmed or ())),
            header_row=header_row,
        ),
        dates=DateRules(day_order=day_order, excel_epoch=excel_epoch, time_of_day=time_of_day),
        origin=origin,
    )


def reversal_options(
    *,
    reversals: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|N",
            help="Publish opt-ins (ONAY) that reverse an opt-out (RET), too: those in the list "
            "that an import has written, or all if there are exactly N.",
        ),
    ] = None,
    by: ByIfKnownOption,
) -> ReversalRules:
    """Return which opt-outs may be reversed, by these options."""
    if reversals is None:
        return ReversalRules()
    if not by.strip():
        raise typer.BadParameter("say who gives them back, with --by or IZIN_ACTOR")
    if reversals.isdecimal():
        return ReversalRules(count=int(reversals), by=by)
    path = Path(reversals)
    if not path.is_file():
        raise typer.BadParameter(f"{reversals} is neither a file nor a number")
    with exit_on_error():
        return ReversalRules(event_ids=read_reversals(path), by=by)


def _pairs(option: str, example: str, texts: list[str] | None) -> dict[str, str]:
    """Return what comes before and behind the first ``=`` of each of ``texts``."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text} has no =; write {example}", param_hint=option)
        found[name] = value
    return found
