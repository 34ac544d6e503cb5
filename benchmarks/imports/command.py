"""The benchmarks ``import-csv`` and ``import-xlsx``: a million consents of a file into Kafka.

``izin import`` runs as a person starts it, a process of its own, to a real broker: seconds count
from its start to its end. Beside it, in the same run, the same file is read by a bare reader that
neither understands nor publishes it: the standard library's csv, and calamine.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.brands import register_brand
from benchmarks.imports.export import BRAND, opt_outs, write_csv, write_workbook
from benchmarks.process_usage import MeasuredRun, run_measured
from benchmarks.results import RunReport, progress
from benchmarks.worker.installation import installation
from izin.consent import TURKEY
from izin.runtime.settings import KafkaSettings

_PARTITIONS = 12
_BARE_CSV = """
import csv, sys
with open(sys.argv[1], encoding="utf-8-sig", newline="") as stream:
    print(sum(1 for _ in csv.reader(stream, delimiter=";")) - 1)
"""
_BARE_WORKBOOK = """
import sys
from python_calamine import CalamineWorkbook
sheet = CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0)
print(sum(1 for _ in sheet.iter_rows()) - 1)
"""

RowsOption = Annotated[int, typer.Option(min=100, help="Rows of the file.")]
BrokerOption = Annotated[
    str | None, typer.Option(help="A broker to use instead of one of our own.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat:
    """A format of files: who writes one, and who only reads it."""

    name: str
    suffix: str
    write: Callable[[Path, int, datetime], None]
    bare_reader: str


_CSV = FileFormat(name="csv", suffix=".csv", write=write_csv, bare_reader=_BARE_CSV)
_WORKBOOK = FileFormat(
    name="xlsx", suffix=".xlsx", write=write_workbook, bare_reader=_BARE_WORKBOOK
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTiming:
    """What one import took, and what reading alone takes."""

    rows: int
    published: int
    opt_outs: int
    seconds: float
    peak_megabytes: float
    bare_seconds: float
    bare_megabytes: float

    @property
    def ratio(self) -> float:
        """How many times as long the import takes."""
        return self.seconds / self.bare_seconds


def import_csv(rows: RowsOption = 1_000_000, bootstrap_servers: BrokerOption = None) -> RunReport:
    """Measure an import of a CSV file, and a bare reader of it."""
    return _measured(_CSV, rows, bootstrap_servers)


def import_xlsx(rows: RowsOption = 1_000_000, bootstrap_servers: BrokerOption = None) -> RunReport:
    """Measure an import of a workbook, and a bare reader of it."""
    return _measured(_WORKBOOK, rows, bootstrap_servers)


def _measured(form: FileFormat, rows: int, bootstrap_servers: str | None) -> RunReport:
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status(f"writing {rows:,} rows") as status,
        installation(
            Path(name), partitions=_PARTITIONS, bootstrap_servers=bootstrap_servers
        ) as settings,
    ):
        path = Path(name) / f"export{form.suffix}"
        now = datetime.now(TURKEY).replace(microsecond=0, tzinfo=None)
        form.write(path, rows, now - timedelta(minutes=1))
        register_brand(settings, BRAND, "bench")
        status.update("reading alone")
        bare = run_measured((sys.executable, "-c", form.bare_reader, str(path)))
        status.update(f"importing {rows:,} rows")
        found = _imported(path, settings, bare)
    return _report(form, found, rows)


def _imported(path: Path, settings: KafkaSettings, bare: MeasuredRun) -> ImportTiming:
    """Run the command; raises CalledProcessError where it fails."""
    run = run_measured(_command(path, settings))
    done = json.loads(run.printed)
    return ImportTiming(
        rows=done["rows"],
        published=done["published"],
        opt_outs=done["opt_outs"],
        seconds=run.seconds,
        peak_megabytes=run.peak_megabytes,
        bare_seconds=bare.seconds,
        bare_megabytes=bare.peak_megabytes,
    )


def _command(path: Path, settings: KafkaSettings) -> Sequence[str]:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": str(settings.partitions),
    }
    given = (f"{name}={value}" for name, value in environment.items())
    words = ("-m", "izin.cli", "import", str(path), "--output=json")
    return ("env", *given, sys.executable, *words)


def _report(form: FileFormat, found: ImportTiming, rows: int) -> RunReport:
    table = Table(title=f"izin import, {rows:,} rows of {form.name}")
    table.add_column("")
    for heading in ("seconds", "µs a row", "peak, MB", "× reading alone"):
        table.add_column(heading, justify="right")
    for name, seconds, megabytes in (
        ("izin import", found.seconds, found.peak_megabytes),
        ("reading alone", found.bare_seconds, found.bare_megabytes),
    ):
        each, ratio = seconds / rows * 1e6, seconds / found.bare_seconds
        table.add_row(name, f"{seconds:.1f}", f"{each:.1f}", f"{megabytes:.0f}", f"{ratio:.1f}")
    is_right = (found.published, found.opt_outs) == (rows, opt_outs(rows))
    return RunReport(
        tables=[table],
        data={"rows": rows, **asdict(found), "ratio": found.ratio},
        figures={
            f"import-{form.name}": found.seconds,
            f"import-{form.name}-memory": found.peak_megabytes,
        },
        failures=[] if is_right else [f"{found.published:,} of {rows:,} rows were published"],
    )
