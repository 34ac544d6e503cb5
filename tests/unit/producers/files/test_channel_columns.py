"""Files with a row for each customer and a column for each channel.

Rows that say nothing are counted; those whose status cannot be read are refused.
"""

from datetime import timedelta
from pathlib import Path

import pytest
from openpyxl import Workbook

from izin.producers.files import ColumnChoices, ColumnsError
from izin.producers.files.columns import resolve
from izin.producers.publishing.event_ids import FileIds
from tests.support.builders import BRAND, EMAIL, NOON, PHONE
from tests.unit.producers.conftest import ImportOf
from tests.unit.producers.fakes import FakePublisher

HEADER = "Müşteri No;Cep;E-Posta;SMS İzni;Arama İzni;E-Posta İzni;İzin Tarihi;Kaynak"
CHOICES = ColumnChoices(
    mapped={"Müşteri No": "ref"}, given={"marka": str(BRAND), "alıcı tipi": "BIREYSEL"}
)
DATE = "02.03.2026 12:00"


def published(fake: FakePublisher) -> list[tuple[str, str, str]]:
    """Return channel, recipient and status of each event."""
    return [(one.type, one.recipient, one.status) for one in fake.events]


def test_each_channel_of_a_row_is_an_event(import_lines: ImportOf, fake: FakePublisher):
    """The recipient by the channel; an empty cell says nothing of its channel."""
    report = import_lines(
        HEADER,
        f"C-1;0555 000 00 01;Ada@Example.com;evet;hayır;1;{DATE};HS_WEB",
        f"C-2;0555 000 00 01;Ada@Example.com;;0;;{DATE};HS_WEB",
        f"C-3;0555 000 00 01;Ada@Example.com;;-;;{DATE};HS_WEB",
        columns=CHOICES,
    )
    assert published(fake) == [
        ("ARAMA", PHONE, "RET"),
        ("ARAMA", PHONE, "RET"),
        ("MESAJ", PHONE, "ONAY"),
        ("EPOSTA", EMAIL, "ONAY"),
    ]
    assert (report.rows, report.published, report.opt_outs, report.refused) == (3, 4, 2, 0)
    assert [one.origin_ref for one in fake.events] == ["C-1", "C-2", "C-1", "C-1"]
    assert report.silent == 1


def test_ids_of_the_parts_do_not_depend_on_other_columns(
    import_lines: ImportOf, fake: FakePublisher
):
    """Whoever leaves a channel out and imports it later has each event once."""
    row = f"C-1;0555 000 00 01;{EMAIL};evet;hayır;1;{DATE};HS_WEB"
    report = import_lines(HEADER, row, columns=CHOICES)
    assert [one.event_id for one in fake.events] == [
        FileIds(report.digest).of(2, channel) for channel in ("ARAMA", "MESAJ", "EPOSTA")
    ]
    assert len({one.event_id for one in fake.events}) == 3
    fake.events.clear()
    import_lines(
        HEADER,
        row,
        columns=ColumnChoices(
            mapped=CHOICES.mapped,
            given=CHOICES.given,
            ignored=("Arama İzni", "e-posta izni"),
            confirmed=("Arama İzni", "e-posta izni"),
        ),
    )
    assert [one.event_id for one in fake.events] == [FileIds(report.digest).of(2, "MESAJ")]


def test_date_in_place_of_the_status_is_a_consent(import_lines: ImportOf, fake: FakePublisher):
    """As where a system notes when each consent was given."""
    import_lines(
        "GSM;SMS Onay;Arama Onay Tarihi;Kaynak",
        f"0555 000 00 01;{DATE};{DATE};HS_WEB",
        columns=ColumnChoices(given={"brandCode": str(BRAND)}),
    )
    assert published(fake) == [("ARAMA", PHONE, "ONAY"), ("MESAJ", PHONE, "ONAY")]
    assert [one.consent_date for one in fake.events] == [NOON, NOON]


def test_date_and_source_of_a_channel_go_before_those_of_the_row(
    import_lines: ImportOf, fake: FakePublisher
):
    """Those of the row count where the channel has none."""
    import_lines(
        "GSM;SMS İzni;SMS İzin Tarihi;SMS İzin Kaynağı;Arama İzni;Arama İzin Tarihi;Tarih;Kaynak",
        f"0555 000 00 01;1;{DATE};HS_MOBIL;1;;01.03.2026 10:00;HS_WEB",
        columns=ColumnChoices(given={"brandCode": str(BRAND)}),
    )
    call, message = fake.events
    assert (message.consent_date, message.source) == (NOON, "HS_MOBIL")
    assert (call.consent_date, call.source) == (NOON - timedelta(hours=26), "HS_WEB")


def test_opt_out_of_a_channel_without_address_concerns_nobody(
    import_lines: ImportOf, fake: FakePublisher
):
    """It is counted, and no bad row; a consent without an address is one."""
    report = import_lines(
        HEADER,
        f"C-1;0555 000 00 01;;hayır;hayır;hayır;{DATE};HS_WEB",
        f"C-2;0555 000 00 02;;hayır;;evet;{DATE};HS_WEB",
        columns=CHOICES,
    )
    assert (report.without_recipient, report.refused, report.refused_opt_outs) == (1, 1, 0)
    assert report.reasons == {"H114": 1}
    assert len(fake.events) == 3


def test_shared_recipient_is_for_the_channels_that_it_fits(
    import_lines: ImportOf, fake: FakePublisher
):
    """An opt-out of another channel concerns nobody; a consent there is an error."""
    header = "Alıcı;SMS İzni;E-Posta İzni;İzin Tarihi;Kaynak"
    rows = [f"0555 000 00 01;0;0;{DATE};HS_WEB", f"{EMAIL};1;1;{DATE};HS_WEB"]
    report = import_lines(header, *rows, columns=ColumnChoices(given={"marka": str(BRAND)}))
    assert published(fake) == [("MESAJ", PHONE, "RET"), ("EPOSTA", EMAIL, "ONAY")]
    assert (report.without_recipient, report.reasons) == (1, {"H464": 1})


def test_report_names_the_columns_of_the_channels(import_lines: ImportOf):
    """The row once, as it stands, with all that is wrong in it."""
    row = f"C-1;0555;{EMAIL};evet;belki;1;{DATE};HS_WEB"
    report = import_lines(HEADER, row, columns=CHOICES)
    (line,) = report.report_path.read_text(encoding="utf-8-sig").splitlines()[1:]
    assert line.startswith(f"{row};2;Arama İzni, Cep;H115, H121;")


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ("Cep;SMS İzni;E-posta İzni", "no column holds email"),
        ("Cep;SMS İzni;SMS Onayı", '"SMS İzni" and "SMS Onayı" both hold MESAJ.status'),
        ("Cep;SMS İzni;Durum", '"Durum" holds status for the whole row, and "SMS İzni"'),
        ("Cep;SMS İzni;Kanal", '"Kanal" holds type for the whole row, and "SMS İzni"'),
    ],
)
def test_columns_of_channels_that_contradict_are_refused(headers: str, what: str):
    """Nothing is guessed."""
    choices = ColumnChoices(given={"brandCode": str(BRAND)})
    with pytest.raises(ColumnsError, match=what):
        resolve(headers.split(";"), choices)


def test_header_in_between_is_no_row(import_lines: ImportOf, fake: FakePublisher):
    """Of files that were put one behind another."""
    row = f"C-1;0555 000 00 01;;evet;;;{DATE};HS_WEB"
    report = import_lines(HEADER, row, HEADER, row, columns=CHOICES)
    assert (report.rows, report.repeated_headers, report.refused) == (2, 1, 0)
    assert [one.row for one in fake.events] == [2, 4]


@pytest.mark.parametrize("headers", ["Telefon", "Telefon;;", "Alıcı"])
def test_list_without_dates_is_of_opt_outs_alone(
    import_lines: ImportOf, fake: FakePublisher, headers: str
):
    """Each counts from the import; a consent needs its instant."""
    given = {"marka": str(BRAND), "kanal": "sms", "kaynak": "HS_EORTAM"}
    report = import_lines(
        *(headers, "0555 000 00 01", "", "0555 000 00 02;"),
        columns=ColumnChoices(given=given | {"durum": "Hayır"}),
    )
    assert (report.opt_outs, report.refused, report.not_registrable) == (2, 0, 0)
    assert {(one.status, one.consent_date, one.date_basis) for one in fake.events} == {
        ("RET", None, "received")
    }
    refused = import_lines(
        "Telefon", "0555 000 00 01", columns=ColumnChoices(given=given | {"durum": "1"})
    )
    assert (refused.published, refused.reasons) == (0, {"H112": 1})


GIVEN = ColumnChoices(given={"kaynak": "HS_WEB", "marka": str(BRAND)})
ASKED = ("Cep", "SMS izni", "Arama izni", "Tarih")


@pytest.mark.parametrize("empty", ["", "-", "NULL", " ", "null"])
def test_row_that_says_nothing_is_counted(import_lines: ImportOf, empty: str):
    """Nobody would know else why fewer were published than the file has rows."""
    rows = (ASKED, ("0555 000 00 01", empty, empty, DATE), ("0555 000 00 02", "1", empty, DATE))
    report = import_lines(*map(";".join, rows), columns=GIVEN)
    assert (report.rows, report.silent, report.published, report.refused) == (2, 1, 1, 0)


@pytest.mark.parametrize("error", ["#N/A", "#YOK", "#NAME?", "#REF!", "#DEĞER!", "=A1"])
def test_value_that_was_not_computed_is_a_status_that_cannot_be_read(
    import_lines: ImportOf, fake: FakePublisher, error: str
):
    """It could have been an opt-out: exit code 5."""
    rows = (ASKED, ("0555 000 00 01", error, "", DATE))
    report = import_lines(*map(";".join, rows), columns=GIVEN)
    assert (report.silent, report.refused_unclear, report.lost_opt_outs) == (0, 1, True)
    assert fake.events == []


@pytest.mark.parametrize("left", [0, 3])
def test_cell_of_a_workbook_without_its_value_cannot_be_read(
    tmp_path: Path, import_of: ImportOf, left: int
):
    """A formula that was never computed, and one that gives an error, wherever the table begins."""
    book = Workbook()
    sheet = book.worksheets[0]
    rows = (
        ASKED,
        ("0555 000 00 01", "=1+1", None, DATE),
        ("0555 000 00 02", "#N/A", "RET", DATE),
        ("0555 000 00 03", None, "#NAME?", DATE),
        ("0555 000 00 04", None, None, DATE),
    )
    for row, cells in enumerate(rows, 1):
        for column, value in enumerate(cells, left + 1):
            cell = sheet.cell(row, column, value)
            if str(value).startswith("#"):
                cell.data_type = "e"
    book.save(path := tmp_path / "customers.xlsx")
    report = import_of(path, columns=GIVEN)
    assert (report.rows, report.silent, report.opt_outs) == (4, 1, 1)
    assert (report.refused_unclear, report.reasons) == (3, {"H115": 3})
