"""``izin import``: a CRM export into Kafka, with a report of the rows that are refused."""

from collections.abc import Collection
from pathlib import Path

import typer

from izin.consent.errors import SourceError
from izin.console.imports.options import (
    AgainOption,
    DryRunOption,
    EpochOption,
    FileArgument,
    IgnoreOption,
    MapOption,
    OriginOption,
    ReportOption,
    ReversalsOption,
    SetOption,
    SkipReversalsOption,
    pairs,
)
from izin.console.imports.result import print_result
from izin.console.publish import utc_now
from izin.console.terminal.arguments import TimeOfDayOption
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
)
from izin.console.terminal.progress import StepProgress, showing_steps
from izin.producers.files.columns import ColumnChoices, ColumnsError
from izin.producers.files.import_report import ImportReport
from izin.producers.files.importer import Import, Progress, import_file
from izin.producers.files.importing.reversals import ReversalRules
from izin.producers.mapping.dates import DateRules
from izin.producers.publishing.kafka_publisher import BULK_LINGER, KafkaPublisher
from izin.projections.brand_directory import BrandReader
from izin.projections.standing_opt_outs import StandingOptOuts
from izin.runtime.kafka import access_of
from izin.runtime.settings import ImportSettings


def import_(
    path: FileArgument,
    *,
    mapped: MapOption = None,
    ignored: IgnoreOption = None,
    given: SetOption = None,
    excel_epoch: EpochOption = None,
    time_of_day: TimeOfDayOption = None,
    origin: OriginOption = "file",
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    again: AgainOption = False,
    reversals: ReversalsOption = None,
    skip_reversals: SkipReversalsOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Publish the consents and opt-outs of a file; write a report of the rows that are refused.

    An import that was stopped, by whatever, goes on where it was when the command is repeated.
    Nothing is published where too many opt-ins (ONAY) would reverse an opt-out (RET) that stands.
    Importing a file again has no effect.

    Exit code 5 if opt-outs are among the refused rows, or may be because a status cannot be read; 1
    if only other rows were refused; 3 if the file as a whole cannot be used, or would reverse too
    many opt-outs.
    """
    with exit_on_signals(), exit_on_error():
        limits = ImportSettings()
        how = Import(
            columns=ColumnChoices(
                mapped=pairs("--map", mapped), ignored=ignored or (), given=pairs("--set", given)
            ),
            dates=DateRules(excel_epoch=excel_epoch, time_of_day=time_of_day),
            origin=origin,
            report_path=report,
            dry_run=dry_run,
            resumable=True,
            again=again,
            reversals=ReversalRules(
                least=limits.reversals,
                percent=limits.reversals_percent,
                accepted=reversals,
                skip=skip_reversals,
            ),
        )
        done = _import(path, how)
    print_result(done, output)
    if done.lost_opt_outs:
        raise typer.Exit(ExitCode.OPT_OUTS_REFUSED)
    if done.would_stop is not None:
        raise typer.Exit(ExitCode.SOURCE)
    exit_if(done.refused)


def _import(path: Path, how: Import) -> ImportReport:
    kafka = access_of(kafka_settings())
    encoder = kafka.codec()
    brands = BrandReader(kafka, encoder).load()
    with (
        showing_steps() as begin,
        KafkaPublisher(kafka, encoder, clock=utc_now, linger=BULK_LINGER) as publisher,
    ):
        steps: dict[str, StepProgress] = {}

        def standing(codes: Collection[int]) -> StandingOptOuts:
            found = StandingOptOuts(kafka, encoder, codes)
            found.load(begin("opt-outs read"))
            return found

        def show(done: Progress) -> None:
            what = "checked" if done.is_check or how.dry_run else "published"
            # How many rows there are is not known before the end: as many as the size lets expect.
            expected = done.rows * done.size // max(done.position, 1)
            if what not in steps:
                steps[what] = begin(what)
            steps[what](done.rows, max(done.rows, expected))

        try:
            return import_file(
                path,
                publisher,
                brands,
                clock=utc_now,
                how=how,
                progress=show,
                opt_outs=standing,
            )
        except ColumnsError as error:
            raise SourceError(f"{path.name}, {error}") from error
