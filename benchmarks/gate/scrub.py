"""The benchmark ``gate-scrub``: a file of recipients through ``izin scrub``, asked of a warm gate.

The command is a process of its own, as a sender starts it: seconds count from its start to its end.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.gate.contenders import gate_server, running
from benchmarks.gate.published import permissions, publish, publish_brand
from benchmarks.gate.questions import BRAND, HOST, recipient
from benchmarks.process_usage import run_measured
from benchmarks.results import RunReport, progress
from benchmarks.worker.installation import installation

_PARTITIONS = 12
_UNKNOWN_EVERY = 10
"""Of so many recipients one is unknown to the gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubTiming:
    """What one run of the command took."""

    recipients: int
    seconds: float
    peak_megabytes: float
    may_send: int
    requests: int


def gate_scrub(
    recipients: Annotated[int, typer.Option(min=100, help="Rows of the file.")] = 1_000_000,
) -> RunReport:
    """Measure how long a file of recipients takes, and the memory of the command."""
    known = recipients - recipients // _UNKNOWN_EVERY
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status(f"publishing {known:,} permissions") as status,
        installation(Path(name), partitions=_PARTITIONS) as settings,
    ):
        publish(settings, settings.topics.permissions, permissions(known))
        key = publish_brand(settings)
        path = _file(Path(name), recipients)
        status.update("starting the gate")
        gate = gate_server(settings, Path(name))
        with running(gate):
            status.update(f"scrubbing {recipients:,} recipients")
            url = f"http://{HOST}:{gate.port}"
            found = _scrub(path, {"IZIN_GATE_URL": url, "IZIN_API_KEY": key})
    table = Table(title=f"izin scrub, {recipients:,} recipients, a gate that knows {known:,}")
    for heading in ("seconds", "peak, MB", "recipients/s", "requests"):
        table.add_column(heading, justify="right")
    rate = f"{recipients / found.seconds:,.0f}"
    table.add_row(f"{found.seconds:.1f}", f"{found.peak_megabytes:.0f}", rate, str(found.requests))
    is_right = (found.recipients, found.may_send) == (recipients, known)
    return RunReport(
        tables=[table],
        data=asdict(found),
        figures={"gate-scrub-seconds": found.seconds, "gate-scrub-memory": found.peak_megabytes},
        failures=[] if is_right else [f"{found.may_send:,} may be sent to, not {known:,}"],
    )


def _file(folder: Path, rows: int) -> Path:
    """Return a file as a CRM exports it: every other number as people write it."""
    path = folder / "list.csv"
    with path.open("w", encoding="utf-8") as out:
        out.write("müşteri no;ad soyad;telefon;şehir\n")
        for number in range(rows):
            phone = recipient(number)
            written = phone if number % 2 else f"0{phone[3:6]} {phone[6:9]} {phone[9:]}"
            out.write(f"{number};Ad Soyad {number};{written};İstanbul\n")
    return path


def _scrub(path: Path, environment: Mapping[str, str]) -> ScrubTiming:
    """Run the command; raises CalledProcessError where it fails."""
    words = ("scrub", str(path), f"--brand={BRAND}", "--type=MESAJ", "--campaign=bench")
    given = (f"{name}={value}" for name, value in environment.items())
    argv = ("env", *given, sys.executable, "-m", "izin.cli", *words, "--output=json")
    run = run_measured(argv)
    done = json.loads(run.printed)
    return ScrubTiming(
        recipients=done["counts"]["rows"],
        seconds=run.seconds,
        peak_megabytes=run.peak_megabytes,
        may_send=done["counts"]["may_send"],
        requests=len(done["batches"]),
    )
