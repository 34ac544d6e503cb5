"""``python -m tests.chaos.files``: 20,000 malformed files; ``make chaos STAGE=files``.

It ends with the line ``files: … ok`` or ``short``. Exit codes: 0 every file was imported or refused
with an error of its source, within the memory; 1 one was not; 2 wrong usage.
"""

import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from izin.consent import SourceError
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.files import ColumnChoices, Import, import_file, preview_file
from tests.chaos.command import counted, run_stage, start
from tests.support.builders import BRAND, CUSTOMER
from tests.support.hostile.files import malformed_files
from tests.unit.producers.conftest import FakePublisher

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


def main(
    files: Annotated[int, typer.Option(min=1, help="How many.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same files for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="The last file, and the result.")] = Path(
        ".izin/chaos-files"
    ),
) -> None:
    """Preview and import malformed files: damaged, mutated, or claiming too much memory."""
    raise run_stage(
        "files",
        folder,
        lambda show: run(folder, files=files, seed=seed, on_progress=show),
        lambda verdict, seconds: report(verdict, seed=seed, seconds=seconds),
    )


def report(verdict: FilesVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    summary = (
        f"{verdict.files} files in {seconds:.0f} s: {verdict.imported} imported, "
        f"{verdict.refused} refused; {verdict.megabytes:.0f} MB more memory, "
        f"{verdict.reader_megabytes:.0f} MB for a workbook"
    )
    return RunReport(
        tables=[summary, counted(verdict.kinds)],
        data={"seed": seed, "seconds": round(seconds), **asdict(verdict)},
        figures={"files": verdict.violations},
        failures=verdict.failures,
    )


if __name__ == "__main__":
    start("files", main)
