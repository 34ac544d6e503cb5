"""``python -m tests.chaos.files``: 20,000 malformed files; ``make chaos STAGE=files``.

It ends with the line ``files: … ok`` or ``short``. Exit codes: 0 every file was imported or refused
with an error of its source, within the memory; 1 one was not; 2 wrong usage.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from tests.chaos.command import counted, run_stage, start
from tests.chaos.files import campaign
from tests.chaos.files.campaign import FilesVerdict


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
        lambda show: campaign.run(folder, files=files, seed=seed, on_progress=show),
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
