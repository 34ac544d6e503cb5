"""The files of a first loading, read as ``izin import`` reads them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from izin.consent.business_days import Calendar
from izin.consent.errors import SourceError
from izin.console.publish import utc_now
from izin.console.terminal.arguments import TimeOfDayOption
from izin.console.terminal.output import kafka_settings
from izin.console.terminal.progress import StepProgress, showing_steps
from izin.onboarding.address_book import AddressBook
from izin.onboarding.review import BookReview
from izin.producers.files.columns import ColumnChoices, ColumnsError
from izin.producers.files.import_report import ImportReport
from izin.producers.files.importer import Import, Progress, import_file
from izin.producers.mapping.dates import DateRules, ExcelEpoch
from izin.producers.publishing.kafka_publisher import BULK_LINGER, KafkaPublisher
from izin.projections.brand_directory import BrandDirectory, BrandReader
from izin.runtime.kafka import access_of, codec


def file_options(
    *,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", help="COLUMN=field: what a column holds; repeat it for each."),
    ] = None,
    ignored: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="A column to skip; repeat it for each."),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value for every row; repeat it for each."),
    ] = None,
    excel_epoch: Annotated[
        ExcelEpoch | None, typer.Option(help="First year of Excel's date numbers.")
    ] = None,
    time_of_day: TimeOfDayOption = None,
    origin: Annotated[str, typer.Option(help="Which of their systems wrote the files.")] = "file",
) -> Import:
    """Return how files are read, by these options."""
    return Import(
        columns=ColumnChoices(
            mapped=_pairs("--map", mapped), ignored=ignored or (), given=_pairs("--set", given)
        ),
        dates=DateRules(excel_epoch=excel_epoch, time_of_day=time_of_day),
        origin=origin,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingFiles:
    """Files with what reads and publishes them."""

    paths: Sequence[Path]
    how: Import
    directory: BrandDirectory
    publisher: KafkaPublisher

    def note(self, book: AddressBook, *, now: datetime, calendar: Calendar) -> None:
        """Note in ``book`` what would be published; publish and report nothing."""
        review = BookReview(book=book, directory=self.directory, now=now, calendar=calendar)
        with TemporaryDirectory() as folder:
            self.read(replace(self.how, review=review, dry_run=True), Path(folder), "reading")
        book.finish()

    def read(self, how: Import, folder: Path | None, what: str) -> tuple[ImportReport, ...]:
        """Import every file ``how``; its report goes into ``folder``, None: beside the file."""
        with showing_steps() as begin:
            return tuple(
                self._read(
                    path,
                    replace(how, report_path=folder and folder / f"{path.name}.report.csv"),
                    _shown(begin(f"{what} {path.name}, bytes")),
                )
                for path in self.paths
            )

    def _read(self, path: Path, how: Import, progress: Callable[[Progress], None]) -> ImportReport:
        try:
            return import_file(
                path, self.publisher, self.directory, clock=utc_now, how=how, progress=progress
            )
        except ColumnsError as error:
            raise SourceError(f"{path.name}, {error}") from error


@contextmanager
def loading_files(paths: Sequence[Path], how: Import) -> Iterator[LoadingFiles]:
    """Provide the files with a publisher and the brands that are known."""
    kafka = kafka_settings()
    access, encoder = access_of(kafka), codec(kafka)
    directory = BrandReader(access, encoder).load()
    with KafkaPublisher(access, encoder, clock=utc_now, linger=BULK_LINGER) as publisher:
        yield LoadingFiles(paths=paths, how=how, directory=directory, publisher=publisher)


def _shown(step: StepProgress) -> Callable[[Progress], None]:
    return lambda done: step(done.position, done.size)


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            example = "COLUMN=field" if option == "--map" else "field=value"
            raise typer.BadParameter(f"{text} has no =; write {example}", param_hint=option)
        found[name] = value
    return found
