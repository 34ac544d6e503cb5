"""A preview says what an import would make of the columns, and shows no recipient."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.consent import Channel
from izin.producers.files import ColumnChoices, ImportPreview, preview_file
from izin.producers.files.choices import ChannelField, ColumnChoiceError
from izin.producers.mapping.field_names import Field

HEADER = "Telefon;Kanal;İzin;Kaynak;Tarih;Puan;Marka"


def preview(folder: Path, *lines: str, **choices: object) -> ImportPreview:
    """Preview the lines given."""
    path = folder / "export.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return preview_file(path, ColumnChoices(**choices))  # type: ignore[arg-type]


def test_preview_shows_what_each_column_holds(tmp_path: Path):
    """And where they are named."""
    found = preview(tmp_path, "", HEADER, "0555 000 00 01", ignored=["puan"])
    assert (found.encoding, found.delimiter, found.header_line) == ("utf-8-sig", ";", 2)
    assert [(one.held, one.is_left_out) for one in found.columns] == [
        *((one, False) for one in (Field.PHONE, Field.TYPE, Field.STATUS, Field.SOURCE)),
        *((Field.CONSENT_DATE, False), (None, True), (Field.BRAND_CODE, False)),
    ]
    assert found.problem is None


def test_preview_names_what_is_wrong_with_the_columns(tmp_path: Path):
    """And what the others hold."""
    found = preview(tmp_path, "Cep;SMS İzni;Puan", "0555 000 00 01;1;5")
    assert [one.held for one in found.columns] == [
        *(Field.PHONE, ChannelField(Channel.MESAJ, Field.STATUS), None),
    ]
    assert found.problem is not None
    assert "--ignore" in found.problem


def test_preview_of_an_unknown_choice_is_an_error(tmp_path: Path):
    """As the import would say."""
    with pytest.raises(ColumnChoiceError, match='"YOK"'):
        preview(tmp_path, HEADER, ignored=["YOK"])


def test_preview_of_a_file_without_a_header_shows_no_recipient(tmp_path: Path):
    """Its first row is none of names."""
    found = preview(tmp_path, "EPOSTA;HS_WEB;ada@example.com;ONAY")
    assert "ada@" not in str(found)
    assert found.problem is not None
    assert "first row that names its columns" in found.problem


@pytest.mark.parametrize(("header", "code"), [(HEADER.replace("Puan", "Ref"), 0), (HEADER, 3)])
def test_preview_is_printed(tmp_path: Path, header: str, code: int):
    """As a table, and as JSON with the same facts; by the exit code whether rows can be read."""
    path = tmp_path / "export.csv"
    path.write_text(header, "utf-8")
    shown = CliRunner().invoke(app, ["import", str(path), "--preview"])
    assert shown.exit_code == code
    assert "consent_date" in shown.output
    assert ("not known: --map or --ignore" in shown.output) is (code == 3)
    as_json = CliRunner().invoke(app, ["import", str(path), "--preview", "--output=json"])
    assert json.loads(as_json.stdout)["columns"][0] == {"column": "Telefon", "holds": "phone"}


@pytest.mark.parametrize("option", ["--dry-run", "--again"])
def test_preview_with_an_option_of_the_import_is_refused(tmp_path: Path, option: str):
    """It would do nothing."""
    path = tmp_path / "export.csv"
    path.write_text(HEADER, "utf-8")
    shown = CliRunner().invoke(app, ["import", str(path), "--preview", option])
    assert shown.exit_code == 2
    assert "publishes nothing" in " ".join(shown.stderr.replace("│", " ").split())
