"""No row stops its neighbours, and no file the importer."""

import random
from collections.abc import Sequence
from pathlib import Path

from izin.consent import SourceError
from izin.producers.mapping.dates import DateRules, ExcelEpoch
from tests.support.builders import BRAND
from tests.support.hostile.files import HEADER, characters, hostile_files, hostile_rows
from tests.unit.producers.conftest import ImportOf
from tests.unit.producers.fakes import FakePublisher

ROWS, FILES = 6000, 400
IN_A_FILE = 60
RULES = DateRules(excel_epoch=ExcelEpoch.FROM_1900)


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


def test_hostile_rows_stop_no_opt_out_between_them(
    tmp_path: Path, import_of: ImportOf, fake: FakePublisher
):
    """Whatever stands before and behind an opt-out, it is published, and each row is counted."""
    assert {"Cc", "Cf", "Cn", "Co", "Cs", "Lo", "Mn", "Nd", "So", "Zl"} <= characters().keys()
    path, rows = tmp_path / "hostile.csv", list(hostile_rows(ROWS, seed=30))
    for first in range(0, ROWS, IN_A_FILE):
        fake.events.clear()
        content = a_file(rows[first : first + IN_A_FILE], first)
        path.write_bytes(content)
        report = import_of(path, dates=RULES)
        taken = {one.recipient for one in fake.events if one.status == "RET"}
        expected = {f"+90556{number:07}" for number in range(first, first + IN_A_FILE + 1)}
        assert expected - taken == set(), content[:200]
        assert report.published + report.refused == report.rows


def test_hostile_file_is_imported_or_refused_as_a_whole(tmp_path: Path, import_of: ImportOf):
    """With an error that its source can act on, never with one of ours."""
    path, refused = tmp_path / "hostile.csv", 0
    for content in hostile_files(FILES, seed=30):
        path.write_bytes(content)
        try:
            import_of(path, dates=RULES)
        except SourceError:
            refused += 1
    assert 0 < refused < FILES
