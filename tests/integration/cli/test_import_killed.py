"""An import that is killed, and repeated: nothing is lost, and nothing is there twice."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from izin.kafka.bounded_reader import read_all
from izin.producers.files.importer import CHECKPOINT_ROWS, journal_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.cli.conftest import Izin
from tests.support.waiting import until

pytestmark = pytest.mark.broker

ROWS, BAD = CHECKPOINT_ROWS + 5000, 50
OPT_OUTS, OTHERS = "opt_out_line", "line"


def an_export(path: Path) -> None:
    """Write a file with a refused row now and then."""
    date = datetime.now(UTC) - timedelta(hours=3)
    lines = ["telefon;kanal;izin;kaynak;tarih;marka"]
    for number in range(ROWS):
        phone = f"0555 {number:07}" if number % (ROWS // BAD) else "0555"
        lines.append(f"{phone};SMS;{number % 2};HS_WEB;{date:%Y-%m-%dT%H:%M:%SZ};100001")
    path.write_text("\n".join(lines), "utf-8")


def is_half_way(journal: Path, what: str) -> Callable[[], bool]:
    """Return whether the journal has something of the file: of the opt-outs, which go first, or of
    the others.
    """
    return lambda: journal.exists() and json.loads(journal.read_bytes())[what] > 0


@pytest.mark.parametrize("what", [OPT_OUTS, OTHERS])
def test_import_killed_and_repeated_loses_and_doubles_nothing(
    izin: Izin, brand: int, topics: KafkaSettings, tmp_path: Path, what: str
) -> None:
    """``kill -9`` of a process that publishes: the next one goes on where the journal says; each
    event keeps its id and its receipt, and the report is that of an import that lived.
    """
    path, report = tmp_path / "crm.csv", tmp_path / "report.csv"
    an_export(path)
    words = ["import", str(path), "--report", str(report), "--output", "json"]
    command = [sys.executable, "-m", "izin.cli", *words]
    with subprocess.Popen(command, env=os.environ.copy(), stderr=subprocess.DEVNULL) as process:
        until(is_half_way(journal_of(report), what), within=60)
        process.kill()
    assert process.returncode == -9
    assert not report.exists()
    shown = izin(*words)
    assert shown.exit_code == 5
    counts = json.loads(shown.stdout)
    assert CHECKPOINT_ROWS < counts["resumed_after"] <= ROWS
    assert (counts["rows"], counts["published"], counts["refused"]) == (ROWS, ROWS - BAD, BAD)
    lanes = (topics.topics.events, topics.topics.express)
    events = [one.value for lane in lanes for one in read_all(topics, Codec(), lane)]
    ids = Counter(one["event_id"] for one in events)
    assert len(ids) == ROWS - BAD
    assert len(events) - len(ids) <= CHECKPOINT_ROWS
    assert len({one["received_at"] for one in events}) == 1
    rows = range(2, ROWS + 2)
    bad = rows[:: ROWS // BAD]
    assert {one["row"] for one in events} == set(rows) - set(bad)
    with report.open(encoding="utf-8-sig", newline="") as stream:
        reported = [row["izin: satır/row"] for row in csv.DictReader(stream, delimiter=";")]
    assert reported == [str(number) for number in bad]
    assert {one.name for one in tmp_path.iterdir()} == {
        *(path.name, report.name, journal_of(report).name)
    }
