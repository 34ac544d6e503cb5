"""No row stops its neighbours, and no file the importer."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from izin.consent import SourceError
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.files import Import, ImportReport, import_file
from izin.producers.mapping.dates import DateRules, ExcelEpoch
from tests.support.builders import BRAND
from tests.support.hostile.files import HEADER, characters, hostile_files, hostile_rows
from tests.unit.producers.fakes import FakePublisher

ROWS, FILES = 6000, 400
IN_A_FILE = 60
RULES = DateRules(excel_epoch=ExcelEpoch.FROM_1900)

Importer = Callable[[bytes], ImportReport]


@pytest.fixture
def run(
    tmp_path: Path,
    fake: FakePublisher,
    directory: BrandDirectory,
    clock: Callable[[], datetime],
) -> Importer:
    """Import the bytes given."""

    def run(content: bytes) -> ImportReport:
        path = tmp_path / "hostile.csv"
        path.write_bytes(content)
        return import_file(path, fake, directory, clock=clock, how=Import(dates=RULES))

    return run


def an_opt_out(number: int, chance: random.Random) -> str:
    """Return a valid row in one of its notations."""
    phone = chance.choice(("0{0}", '="0{0}"', '"0{0}"', "'0{0}")).format(f"556{number:07}")
    status, note = chance.choice(("RET", "H", "HAYIR")), chance.choice(('""', "", '"a;b"', "ığüş"))
    return f"{phone};SMS;{status};HS_WEB;02.03.2026 10:00:00;{BRAND};{note}"


def a_file(rows: Sequence[bytes], first: int) -> bytes:
    """Return a file of hostile ``rows``, each between two opt-outs, numbered from ``first``."""
    chance = random.Random(first)
    encoding = chance.choice(("utf-8", "cp1254"))
    lines = [HEADER.encode(encoding)]
    for number, row in enumerate(rows, first):
        lines += [an_opt_out(number, chance).encode(encoding), row]
    lines.append(an_opt_out(first + len(rows), chance).encode(encoding))
    return chance.choice((b"\r\n", b"\n")).join(lines)


def test_hostile_rows_stop_no_opt_out_between_them(run: Importer, fake: FakePublisher):
    """Whatever stands before and behind an opt-out, it is published, and each row is counted."""
    assert {"Cc", "Cf", "Cn", "Co", "Cs", "Lo", "Mn", "Nd", "So", "Zl"} <= characters().keys()
    rows = list(hostile_rows(ROWS, seed=30))
    for first in range(0, ROWS, IN_A_FILE):
        fake.events.clear()
        content = a_file(rows[first : first + IN_A_FILE], first)
        report = run(content)
        taken = {one.recipient for one in fake.events if one.status == "RET"}
        expected = {f"+90556{number:07}" for number in range(first, first + IN_A_FILE + 1)}
        assert expected - taken == set(), content[:200]
        assert report.published + report.refused == report.rows


def test_hostile_file_is_imported_or_refused_as_a_whole(run: Importer):
    """With an error that its source can act on, never with one of ours."""
    refused = 0
    for content in hostile_files(FILES, seed=30):
        try:
            run(content)
        except SourceError:
            refused += 1
    assert 0 < refused < FILES
