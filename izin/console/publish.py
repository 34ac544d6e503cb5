"""``izin publish`` and ``izin import``: consent changes into Kafka, through the one door."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import Progress as Bars
from rich.text import Text

from izin.consent.clocks import TURKEY
from izin.consent.errors import SourceError
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    err,
    kafka_settings,
    print_json,
    print_rows,
    told,
)
from izin.producers.brands import BrandReader
from izin.producers.columns import (
    ClashingColumnsError,
    ColumnChoices,
    MissingColumnError,
    UnknownColumnError,
)
from izin.producers.dates import DateRules, ExcelEpoch
from izin.producers.files import Import, ImportReport, import_file
from izin.producers.identity import CHANCE_BYTES, message_event_id, new_event_id
from izin.producers.mappings import Origin, Refused, judge, read
from izin.producers.publish import BULK_LINGER, Publisher
from izin.producers.words import Field
from izin.runtime.registry import codec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from izin.consent.model import Violation
    from izin.producers.files import Progress
    from izin.producers.publish import Published

_ACKNOWLEDGED_WITHIN = timedelta(seconds=30)
_OPTIONS = {
    Field.BRAND_CODE: "--brand",
    Field.CONSENT_DATE: "--date",
    Field.ORIGIN_REF: "--reference",
}
"""Options that are not named as their field is."""


def _time_of_day(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no time of day; write HH:MM or HH:MM:SS") from None


TimeOfDay = Annotated[
    time | None,
    typer.Option(
        parser=_time_of_day,
        metavar="HH:MM",
        help="Turkish time of an ONAY whose date has none; without it such an ONAY is refused.",
    ),
]


def utc_now() -> datetime:
    """Return the instant it is now."""
    return datetime.now(UTC)


def publish(
    *,
    brand: Annotated[int, typer.Option(min=1, max=2**31 - 1, help="İYS brandCode.")],
    channel: Annotated[str, typer.Option("--type", help="ARAMA, MESAJ or EPOSTA.")],
    recipient: Annotated[str, typer.Option(help="Phone or e-mail, in any usual notation.")],
    status: Annotated[str, typer.Option(help="ONAY or RET.")],
    source: Annotated[str, typer.Option(help="İYS source, such as HS_WEB.")],
    recipient_type: Annotated[str, typer.Option(help="BIREYSEL or TACIR.")] = "BIREYSEL",
    date: Annotated[
        str | None, typer.Option(help="When the recipient said so; Turkish time. Default: now.")
    ] = None,
    time_of_day: TimeOfDay = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Your own reference: with the same --date the same again says nothing new."
        ),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Publish one consent change, and wait until Kafka has it.

    What would keep İYS from registering it as it stands is told beside it.
    """
    with told():
        kafka = kafka_settings()
        fields = {
            Field.BRAND_CODE: str(brand),
            Field.TYPE: channel,
            Field.RECIPIENT: recipient,
            Field.STATUS: status,
            Field.SOURCE: source,
            Field.RECIPIENT_TYPE: recipient_type,
            Field.CONSENT_DATE: date or "",
            Field.ORIGIN_REF: reference or "",
        }
        now = utc_now()
        statement = read(fields, DateRules(time_of_day=time_of_day))
        if reference is not None and not date:
            # Now is another instant each time: the repeat would be a second, later statement.
            raise typer.BadParameter(
                "it needs the --date of the statement, which the same again repeats; "
                f"now is --date {now.astimezone(TURKEY):'%Y-%m-%d %H:%M:%S'}",
                param_hint="--reference",
            )
        event_id = (
            new_event_id(now, secrets.token_bytes(CHANCE_BYTES))
            if reference is None or statement.consent_date is None
            else message_event_id("cli", reference, "|".join(statement.identity))
        )
        origin = Origin(event_id=event_id, origin="cli", received_at=now, is_live=True)
        words = codec(kafka)
        judged = judge(statement, BrandReader(kafka, words).load(), origin)
        if isinstance(judged, Refused):
            raise SourceError("\n".join(map(_placed, judged.violations)))
        with Publisher(kafka, words, clock=utc_now) as publisher:
            where = publisher.publish(judged.event, judged.key).result(
                _ACKNOWLEDGED_WITHIN.total_seconds()
            )
        _print_published(where, judged.violations, output)


def import_(
    path: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A CSV file.")
    ],
    *,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", help="COLUMN=field: what a column holds (repeatable)."),
    ] = None,
    ignored: Annotated[
        list[str] | None, typer.Option("--ignore", help="A column to leave out (repeatable).")
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option("--set", help="field=value for every row (repeatable).")
    ] = None,
    excel_epoch: Annotated[
        ExcelEpoch | None, typer.Option(help="Which count Excel's date numbers are in.")
    ] = None,
    time_of_day: TimeOfDay = None,
    origin: Annotated[str, typer.Option(help="Which of your systems wrote the file.")] = "file",
    report: Annotated[
        Path | None, typer.Option(help="Report file. Default: beside the file.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and judge everything, publish nothing.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Import a CRM export; good rows are published, the others stand in the report file.

    Importing a file again says nothing new. Exit code 1 when rows were refused, 3 when the file as
    a whole cannot be used.
    """
    with told():
        kafka = kafka_settings()
        words = codec(kafka)
        how = Import(
            columns=ColumnChoices(
                mapped=_pairs("--map", mapped), ignored=ignored or (), given=_pairs("--set", given)
            ),
            dates=DateRules(excel_epoch=excel_epoch, time_of_day=time_of_day),
            origin=origin,
            report_path=report,
            dry_run=dry_run,
        )
        brands = BrandReader(kafka, words).load()
        with (
            Publisher(kafka, words, clock=utc_now, linger=BULK_LINGER) as publisher,
            Bars(console=err, transient=True) as bars,
        ):
            task = bars.add_task(escape(path.name))

            def show(done: Progress) -> None:
                bars.update(task, completed=done.position, total=done.size)

            try:
                done = import_file(path, publisher, brands, clock=utc_now, how=how, progress=show)
            except (UnknownColumnError, ClashingColumnsError, MissingColumnError) as error:
                raise SourceError(f"{path.name}, {error}") from error
        _print(done, output)
        if done.refused:
            raise typer.Exit(ExitCode.WRONG)


def _placed(violation: Violation) -> str:
    """Return what is wrong, beginning with the option that holds it."""
    name = violation.field
    option = (
        _OPTIONS.get(Field(name), f"--{name.replace('_', '-')}") if name in set(Field) else name
    )
    return f"{option}: {violation.reason} ({violation.code})"


def _print_published(
    where: Published, violations: tuple[Violation, ...], output: OutputFormat
) -> None:
    columns = ("event_id", "topic", "partition", "offset")
    row = (where.event_id, where.topic, where.partition, where.offset)
    match output:
        case OutputFormat.JSON:
            told_of = [
                {"field": one.field, "code": one.code, "reason": one.reason} for one in violations
            ]
            print_rows(output, (*columns, "violations"), [(*row, told_of)])
        case OutputFormat.TABLE:
            print_rows(output, columns, [row])
            for one in violations:
                warned = ("published, but İYS would not register it", "yellow")
                err.print(Text.assemble(warned, f": {_placed(one)}"), soft_wrap=True)


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
    counts = {
        "rows": done.rows,
        "published": done.published,
        "opt_outs": done.opt_outs,
        "not_registrable": done.not_registrable,
        "past_term": done.past_term,
        "refused": done.refused,
        "reasons": dict(done.reasons),
        "encoding": done.encoding,
        "delimiter": done.delimiter,
        "report": done.report_path,
        "dry_run": done.dry_run,
        "seconds": round(done.seconds, 2),
    }
    match output:
        case OutputFormat.JSON:
            print_json(counts)
        case OutputFormat.TABLE:
            print_rows(output, ("what", "count", "note"), _rows(done))


def _rows(done: ImportReport) -> Iterator[tuple[object, ...]]:
    ranked = sorted(done.reasons.items(), key=lambda one: -one[1])
    yield "rows", done.rows, f"{done.encoding}, delimiter {done.delimiter!r}"
    yield (
        "would be published" if done.dry_run else "published",
        done.published,
        f"opt-outs among them: {done.opt_outs}",
    )
    if done.past_term:
        yield (
            "past their term",
            done.past_term,
            "of these ONAY: void unless İYS holds them; they need a new consent",
        )
    if done.not_registrable:
        yield "not registrable", done.not_registrable, "published opt-outs that İYS would not take"
    yield "refused", done.refused, ", ".join(f"{code} {count}" for code, count in ranked)
    if done.report_path is not None:
        yield "report", "", f"{done.report_path}: each such row, its reason and its cure"
    yield (
        "seconds",
        f"{done.seconds:.1f}",
        "nothing was published: --dry-run" if done.dry_run else "",
    )
