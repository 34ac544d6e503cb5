"""A preview says what an import would do, and shows no recipient."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from izin.consent.model import Channel
from izin.producers.files.choices import ColumnChoiceError, ColumnChoices
from izin.producers.files.column_names import ChannelField
from izin.producers.files.importer import EXAMINED, SHOWN, ImportPreview, preview_file
from izin.producers.mapping.dates import DateRules, DayOrder
from izin.producers.mapping.field_names import Field
from izin.projections.brand_directory import BrandDirectory
from tests.support.builders import BRAND, NOON

HEADER = "Telefon;Kanal;İzin;Kaynak;Tarih;Puan"
GIVEN = {"marka": str(BRAND)}

Previewer = Callable[..., ImportPreview]


@pytest.fixture
def preview(tmp_path: Path, directory: BrandDirectory) -> Previewer:
    """Preview the lines given."""

    def preview(*lines: str, dates: DateRules | None = None, **choices: object) -> ImportPreview:
        path = tmp_path / "export.csv"
        path.write_text("\n".join(lines), encoding="utf-8")
        columns = ColumnChoices(given=GIVEN, **choices)  # type: ignore[arg-type]
        now = NOON + timedelta(hours=1)
        return preview_file(path, directory, columns=columns, dates=dates or DateRules(), now=now)

    return preview


def a_row(
    phone: str = "0555 000 00 01", status: str = "evet", date: str = "02.03.2026 12:00"
) -> str:
    return f"{phone};SMS;{status};HS_WEB;{date};5"


def test_preview_shows_columns_rows_and_reasons(preview: Previewer):
    """The counts are of more rows than are shown."""
    lines = [a_row(), a_row("12"), HEADER, a_row(status="X"), "a;b", *[a_row()] * (SHOWN + 5)]
    found = preview("", HEADER, *lines, ignored=["puan"])
    assert (found.encoding, found.delimiter, found.header_line) == ("utf-8-sig", ";", 2)
    assert [(one.held, one.is_left_out) for one in found.columns] == [
        *((one, False) for one in (Field.PHONE, Field.TYPE, Field.STATUS, Field.SOURCE)),
        *((Field.CONSENT_DATE, False), (None, True)),
    ]
    assert found.problem is None
    assert (found.examined, found.published, found.refused) == (SHOWN + 9, SHOWN + 6, 3)
    assert found.codes == {"H121": 1, "H115": 1, "IZIN-ROW": 1}
    first, second, third, fourth = found.rows[:4]
    assert (first.line, first.type, first.status, first.consent_date) == (3, "MESAJ", "ONAY", NOON)
    assert [one.code for row in (second, third, fourth) for one in row.reasons] == [
        *("H121", "H115", "IZIN-ROW"),
    ]
    assert len(found.rows) == SHOWN


def test_preview_masks_recipients(preview: Previewer):
    """Whether they can be read or not."""
    found = preview(HEADER, a_row(), a_row("0555 000 00 0x"), ignored=["puan"])
    assert all("555 000" not in one.recipient and "*" in one.recipient for one in found.rows)


def test_preview_names_what_is_wrong_with_the_columns(preview: Previewer):
    """And what it guessed of the others."""
    found = preview("Cep;SMS İzni;Puan", "0555 000 00 01;1;5")
    assert [one.held for one in found.columns] == [
        *(Field.PHONE, ChannelField(Channel.MESAJ, Field.STATUS), None),
    ]
    assert found.problem is not None
    assert "--ignore" in found.problem
    assert found.rows == ()


def test_preview_reads_as_the_import_would(preview: Previewer):
    """With the order of dates and the words that the caller gives; of several channels each."""
    found = preview(
        *("Cep;SMS İzni;Arama İzni;Tarih;Kaynak", "0555 000 00 01;X;;02/03/2026 12:00;HS_WEB"),
        dates=DateRules(day_order=DayOrder.DAY_FIRST),
        values={"X": "ONAY"},
    )
    assert [(one.type, one.status, one.consent_date) for one in found.rows] == [
        ("MESAJ", "ONAY", NOON)
    ]


def test_preview_reads_no_more_than_it_says(preview: Previewer):
    """However long the file is; what comes later is for the import."""
    found = preview(HEADER, *[a_row()] * EXAMINED, "a;b", ignored=["puan"])
    assert (found.examined, found.refused) == (EXAMINED, 0)


def test_preview_of_an_unknown_choice_is_an_error(preview: Previewer):
    """As the import would say."""
    with pytest.raises(ColumnChoiceError, match='"YOK"'):
        preview(HEADER, a_row(), ignored=["YOK"])


def test_preview_of_a_file_without_a_header_shows_no_recipient(preview: Previewer):
    """Its first row is none of names."""
    found = preview("EPOSTA;HS_WEB;ada@example.com;ONAY")
    assert "ada@" not in str(found)
    assert found.problem is not None
    assert "first row that names its columns" in found.problem
