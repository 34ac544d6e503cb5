"""Malformed files, imported one after the other: errors of their source alone, bounded memory."""

import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from izin.consent import SourceError
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.files import ColumnChoices, Import, import_file, preview_file
from tests.support.builders import BRAND, CUSTOMER
from tests.support.hostile.files import malformed_files
from tests.unit.producers.fakes import FakePublisher

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
MOST_MEGABYTES = 256
"""By which the memory of the process that imports may grow, all files together."""
_LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class FilesVerdict:
    """What became of the files."""

    files: int
    imported: int
    refused: int
    """As a whole, by an error that its source can act on."""
    kinds: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """Other errors: number and kind of the file, and the error."""
    megabytes: float = 0.0
    """By which the memory of this process grew at most."""
    reader_megabytes: float = 0.0
    """The most of a process that read a workbook."""

    @property
    def violations(self) -> int:
        """How many promises were broken."""
        return len(self.failures) + (self.megabytes > MOST_MEGABYTES)


def run(
    folder: Path,
    *,
    files: int,
    seed: int,
    book_every: int = 3,
    on_progress: Callable[[str], None] = lambda _: None,
) -> FilesVerdict:
    """Preview and import ``files`` malformed files in ``folder``; one of ``book_every`` is a
    workbook.
    """
    before = _peak(resource.RUSAGE_SELF)
    path, publisher, counts = folder / "malformed", FakePublisher(lambda: NOW), Counter[bool]()
    kinds, failures = Counter[str](), list[str]()
    for number, one in enumerate(malformed_files(files, seed=seed, book_every=book_every)):
        path.write_bytes(one.content)
        kinds[one.kind] += 1
        try:
            counts[_import(path, publisher, is_previewed=number % 10 == 0)] += 1
            publisher.events.clear()
            publisher.frames.clear()
        except Exception as error:  # noqa: BLE001  # which is what is looked for
            what = f"{type(error).__name__}: {error}"[:_LONGEST]
            failures.append(f"file {number} of seed {seed}, {one.kind}: {what}")
        if number % 100 == 0:
            on_progress(f"{number} files, {len(failures)} failures")
    return FilesVerdict(
        files=files,
        imported=counts[True],
        refused=counts[False],
        kinds=dict(kinds),
        failures=failures,
        megabytes=_peak(resource.RUSAGE_SELF) - before,
        reader_megabytes=_peak(resource.RUSAGE_CHILDREN),
    )


def _import(path: Path, publisher: FakePublisher, *, is_previewed: bool) -> bool:
    """Return whether the file could be imported, if only in part."""
    brand = RegisteredBrand(brand_code=BRAND, iys_code=200001, customer_id=CUSTOMER, name="Example")
    directory = BrandDirectory([brand])
    try:
        if is_previewed:
            preview_file(path, ColumnChoices())
        import_file(path, publisher, directory, clock=lambda: NOW, how=Import())
    except SourceError:
        return False
    return True


def _peak(who: int) -> float:
    """Return the most memory that was used so far, in MiB."""
    return resource.getrusage(who).ru_maxrss / 1024
