"""The options of ``izin import``, and what they say."""

from pathlib import Path
from typing import Annotated

import typer

from izin.producers.mapping.dates import ExcelEpoch

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="A table: CSV, or the first sheet of an .xlsx workbook.",
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="COLUMN=field: what a column holds; repeat it for each."),
]
IgnoreOption = Annotated[
    list[str] | None, typer.Option("--ignore", help="A column to skip; repeat it for each.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="field=value for every row; repeat it for each."),
]
EpochOption = Annotated[ExcelEpoch | None, typer.Option(help="First year of Excel's date numbers.")]
OriginOption = Annotated[str, typer.Option(help="Which of your systems wrote the file.")]
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
ReversalsOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Accept up to N opt-ins (ONAY) that reverse an opt-out (RET). "
        "Default: IZIN_IMPORT_REVERSALS, or IZIN_IMPORT_REVERSALS_PERCENT of the opt-ins.",
    ),
]
SkipReversalsOption = Annotated[
    bool,
    typer.Option("--skip-reversals", help="Publish none of them; the report has their rows."),
]


def pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    """Return what comes before and behind the first ``=`` of each of ``texts``."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            example = "COLUMN=field" if option == "--map" else "field=value"
            raise typer.BadParameter(f"{text} has no =; write {example}", param_hint=option)
        found[name] = value
    return found
