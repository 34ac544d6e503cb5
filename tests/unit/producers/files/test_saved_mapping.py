"""Choices that are kept in a file are read as those of the command line."""

from pathlib import Path

import pytest

from izin.consent import SourceError
from izin.producers.files import ColumnChoices, read_mapping
from izin.producers.files.choices import SavedMappingError

FILE = """
ignore = ["Şehir"]
confirm = ["İptal Tarihi"]
[columns]
"Müşteri No" = "ref"
[constants]
marka = 100001
[values]
"Mağaza" = "HS_FIZIKSEL_ORTAM"
[values.status]
Pasif = "RET"
"""


def test_mapping_of_a_file_is_as_its_options(tmp_path: Path):
    """Columns, constants and words, of all fields or of one."""
    path = tmp_path / "crm.toml"
    path.write_text(FILE, "utf-8")
    assert read_mapping(path) == ColumnChoices(
        mapped={"Müşteri No": "ref"},
        ignored=("Şehir",),
        given={"marka": "100001"},
        values={"Mağaza": "HS_FIZIKSEL_ORTAM", "status:Pasif": "RET"},
        confirmed=("İptal Tarihi",),
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[column]\na = 'b'", "column: Extra inputs"),
        (b"[columns]\na = [1]", "columns.a: "),
        (b"columns", "crm.toml is no mapping: "),
        (b"\xff", "crm.toml is no mapping: "),
    ],
)
def test_file_that_is_no_mapping_is_an_error(tmp_path: Path, content: bytes, what: str):
    """It says what is wrong with it."""
    path = tmp_path / "crm.toml"
    path.write_bytes(content)
    with pytest.raises(SavedMappingError, match=what) as raised:
        read_mapping(path)
    assert isinstance(raised.value, SourceError)
