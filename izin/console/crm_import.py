"""``izin import``: a CRM export into Kafka, with a report of the rows that are refused."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress as Bars

from izin.consent.errors import SourceError
from izin.console.publish import utc_now
from izin.console.terminal.arguments import TimeOfDayOption
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    err,
    exit_if,
    exit_on_error,
    kafka_settings,
    print_json,
    print_rows,
    warn,
)
from izin.producers.files.columns import (
    ColumnChoices,
    ColumnsError,
)
from izin.producers.files.import_report import ImportReport
from izin.producers.files.importer import Import, Progress, import_file
from izin.producers.mapping.dates import DateRules, ExcelEpoch
from izin.producers.publishing.kafka_publisher import BULK_LINGER, KafkaPublisher
from izin.projections.brand_directory import BrandReader
from izin.runtime.kafka import access_of


def import_(
    path: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A CSV file.")
    ],
    *,
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
    excel_epoch: Annotated[
        ExcelEpoch | None, typer.Option(help="First year of Excel's date numbers.")
    ] = None,
    time_of_day: TimeOfDayOption = None,
    origin: Annotated[str, typer.Option(help="Which of your systems wrote the file.")] = "file",
    report: Annotated[
        Path | None, typer.Option(help="Report of refused rows. Default: beside the file.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, publish nothing.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Publish the consents and opt-outs of a CSV export; write a report of refused rows.

    Importing a file again has no effect. Exit code 5 if opt-outs are among the refused rows, or may
    be because a status cannot be read; 1 if only other rows were refused; 3 if the file as a whole
    cannot be used.
    """
    with exit_on_error():
        columns = ColumnChoices(
            mapped=_pairs("--map", mapped), ignored=ignored or (), given=_pairs("--set", given)
        )
        how = Import(
            columns=columns,
            dates=DateRules(excel_epoch=excel_epoch, time_of_day=time_of_day),
            origin=origin,
            report_path=report,
            dry_run=dry_run,
        )
        done = _import(path, how)
    _print(done, output)
    if done.lost_opt_outs:
        raise typer.Exit(ExitCode.OPT_OUTS_REFUSED)
    exit_if(done.refused)


def _import(path: Path, how: Import) -> ImportReport:
    kafka = access_of(kafka_settings())
    encoder = kafka.codec()
    brands = BrandReader(kafka, encoder).load()
    with (
        KafkaPublisher(kafka, encoder, clock=utc_now, linger=BULK_LINGER) as publisher,
        Bars(console=err, transient=True) as bars,
    ):
        task = bars.add_task(escape(path.name))

        def show(done: Progress) -> None:
            bars.update(task, completed=done.position, total=done.size)

        try:
            return import_file(path, publisher, brands, clock=utc_now, how=how, progress=show)
        except ColumnsError as error:
            raise SourceError(f"{path.name}, {error}") from error


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            example = "COLUMN=field" if option == "--map" else "field=value"
            raise typer.BadParameter(f"{text} has no =; write {example}", param_hint=option)
        found[name] = value
    return found


def _print(done: ImportReport, output: OutputFormat) -> None:
    match output:
        case OutputFormat.JSON:
            counts = asdict(done)
            del counts["path"], counts["digest"]
            counts["report"] = counts.pop("report_path")
            print_json(counts | {"seconds": round(done.seconds, 2)})
        case OutputFormat.TABLE:
            if done.lost_opt_outs:
                warn(_lost_opt_outs(done))
            print_rows(output, ("what", "count", "note"), _rows(done))


def _lost_opt_outs(done: ImportReport) -> str:
    return (
        f"{done.refused_opt_outs} opt-outs (RET) were refused, and {done.refused_unclear} rows "
        "whose status cannot be read: these recipients still count as they did before. The report "
        "begins with them; correct those rows and import them."
    )


def _rows(done: ImportReport) -> Iterator[tuple[object, ...]]:
    ranked = sorted(done.reasons.items(), key=lambda one: -one[1])
    yield "rows", done.rows, f"{done.encoding}, delimiter {done.delimiter!r}"
    published = "would be published" if done.dry_run else "published"
    yield published, done.published, f"opt-outs among them: {done.opt_outs}"
    if done.past_term:
        note = "ONAY among them: void unless İYS holds them; they need a new consent"
        yield "past their term", done.past_term, note
    if done.not_registrable:
        yield "not registrable", done.not_registrable, "published opt-outs that İYS would not take"
    yield "refused", done.refused, ", ".join(f"{code} {count}" for code, count in ranked)
    if done.report_path is not None:
        yield "report", "", f"{done.report_path}: each refused row, its reason and its remedy"
    seconds = "nothing was published: --dry-run" if done.dry_run else ""
    yield "seconds", f"{done.seconds:.1f}", seconds
