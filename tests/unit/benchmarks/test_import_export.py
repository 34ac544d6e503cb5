"""The files of the import benchmarks: the same consents in both formats."""

from datetime import datetime
from pathlib import Path

from benchmarks.imports.export import BRAND, HEADER, opt_outs, write_csv, write_workbook
from izin.producers.files import ColumnChoices, open_table
from izin.producers.files.columns import resolve
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import MappedRecord, read

ROWS = 40
UNTIL = datetime(2026, 3, 2, 12)  # noqa: DTZ001  # as an export writes it


def records(path: Path) -> list[MappedRecord]:
    table = open_table(path, ColumnChoices())
    assert table.headers == HEADER
    columns = resolve(table.headers, ColumnChoices())
    parts = [part for row in table.rows() for part in columns.parts(row.fields)]
    return [read(one.values, DateRules()) for one in parts]


def test_csv_and_workbook_have_the_same_consents(tmp_path: Path):
    """Each is readable, and as many are opt-outs as the benchmark expects."""
    write_csv(tmp_path / "a.csv", ROWS, UNTIL)
    write_workbook(tmp_path / "a.xlsx", ROWS, UNTIL)
    found = records(tmp_path / "a.csv")
    assert found == records(tmp_path / "a.xlsx")
    assert not any(one.violations for one in found)
    assert len({one.recipient for one in found}) == len(found) == ROWS
    assert sum(one.status == "RET" for one in found) == opt_outs(ROWS)
    assert {one.brand_code for one in found} == {BRAND}
