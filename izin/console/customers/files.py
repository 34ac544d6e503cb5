"""The files of a first loading, read as ``izin import`` reads them."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from izin.consent.business_days import Calendar
from izin.console.imports.command import Begin, ImportSession, import_session
from izin.console.terminal.progress import showing_steps
from izin.onboarding.address_book import AddressBook
from izin.onboarding.review import BookReview
from izin.producers.files.importer import FindOptOuts, Import
from izin.producers.files.importing.report import ImportReport


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingFiles:
    """Files with what reads and publishes them."""

    paths: Sequence[Path]
    how: Import
    session: ImportSession

    def note(
        self, book: AddressBook, *, now: datetime, calendar: Calendar
    ) -> tuple[ImportReport, ...]:
        """Note in ``book`` what would be published; publish nothing, and leave no report."""
        directory = self.session.directory
        review = BookReview(book=book, directory=directory, now=now, calendar=calendar)
        with TemporaryDirectory() as folder:
            how = replace(self.how, review=review, dry_run=True)
            found = self._read(how, Path(folder), lambda _begin: None)
        book.finish()
        return found

    def read(
        self, how: Import, folder: Path | None, *, brands: Collection[int]
    ) -> tuple[ImportReport, ...]:
        """Import every file ``how``, with consents of ``brands`` alone; its report goes into
        ``folder``, None: beside the file. The opt-outs that stand are read once for all files.
        """

        def standing(begin: Begin) -> FindOptOuts:
            found = cache(lambda: self.session.opt_outs(brands, begin))
            return lambda _brands: found()

        return self._read(how, folder, standing)

    def _read(
        self, how: Import, folder: Path | None, find: Callable[[Begin], FindOptOuts | None]
    ) -> tuple[ImportReport, ...]:
        with showing_steps() as begin:
            opt_outs = find(begin)
            return tuple(
                self.session.run(path, _reported(how, path, folder), begin, opt_outs=opt_outs)
                for path in self.paths
            )


def _reported(how: Import, path: Path, folder: Path | None) -> Import:
    if folder is None:
        return how
    return replace(how, report_path=folder / how.report_of(path).name)


@contextmanager
def loading_files(paths: Sequence[Path], how: Import) -> Iterator[LoadingFiles]:
    """Provide the files with a publisher and the brands that are known."""
    with import_session() as session:
        yield LoadingFiles(paths=paths, how=how, session=session)
