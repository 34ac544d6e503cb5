"""What ``izin import --preview`` prints."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from izin.console.cli import app
from izin.console.imports.result import print_preview
from izin.console.terminal import output
from izin.console.terminal.output import OutputFormat
from izin.producers.files.choices import ColumnChoices
from izin.producers.files.importer import ImportPreview, preview_file
from izin.producers.mapping.dates import DateRules
from izin.projections.brand_directory import BrandDirectory, RegisteredBrand

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HEADER = "telefon;kanal;durum;kaynak;tarih;marka"
ROWS = (
    "0555 000 00 01;SMS;ONAY;HS_WEB;02.03.2026 11:30:00;100001",
    "0555 12;SMS;RET;HS_WEB;02/03/2026 11:40;100001",
)


def previewed(folder: Path, header: str = HEADER) -> ImportPreview:
    path = folder / "export.csv"
    path.write_text("\n".join((header, *ROWS)), "utf-8")
    brands = BrandDirectory(
        [RegisteredBrand(brand_code=100001, iys_code=1, customer_id="acme", name="Example")]
    )
    return preview_file(path, brands, columns=ColumnChoices(), dates=DateRules(), now=NOW)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Give what is printed, in 80 columns."""
    found = io.StringIO()
    for name in ("out", "err"):
        monkeypatch.setattr(output, name, Console(file=found, width=80))
    return found


def test_preview_shows_columns_rows_and_reasons(tmp_path: Path, printed: io.StringIO) -> None:
    """In 80 columns, recipients masked."""
    print_preview(previewed(tmp_path), OutputFormat.TABLE)
    text = printed.getvalue()
    assert max(len(one) for one in text.splitlines() if one.startswith("│")) <= 80
    for part in ("telefon", "consent_date", "+90***01", "published", "refused: H", "H121: "):
        assert part in text
    assert "5550000001" not in text
    assert "of the first 2 rows 1 consents would be published, 1 refused" in text


def test_preview_of_an_unknown_column_says_what_to_do(tmp_path: Path, printed: io.StringIO) -> None:
    """The other columns are shown all the same."""
    print_preview(previewed(tmp_path, HEADER.replace("kaynak", "renk")), OutputFormat.TABLE)
    text = printed.getvalue()
    assert "not known: --map or --ignore" in text
    assert 'header: unknown column "renk"' in text


def test_preview_is_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same facts."""
    print_preview(previewed(tmp_path), OutputFormat.JSON)
    found = json.loads(capsys.readouterr().out)
    assert found["columns"][0] == {"column": "telefon", "holds": "phone"}
    assert [one["is_published"] for one in found["rows"]] == [True, False]


@pytest.mark.parametrize("option", ["--dry-run", "--again", "--reversals=1"])
def test_preview_with_an_option_of_the_import_is_refused(tmp_path: Path, option: str) -> None:
    """It would do nothing."""
    path = tmp_path / "export.csv"
    path.write_text(HEADER, "utf-8")
    shown = CliRunner().invoke(app, ["import", str(path), "--preview", option])
    assert shown.exit_code == 2
    assert "publishes nothing" in " ".join(shown.stderr.replace("│", " ").split())
