"""Files as CRMs write them, valid and invalid."""

from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest

from izin.consent import SourceError, Violation
from izin.kafka.tables.brand_directory import BrandDirectory, StoppedBrandError, UnknownBrandError
from izin.producers.files import (
    ColumnChoices,
    ColumnsError,
    UnusableFileError,
)
from izin.producers.files.choices import ColumnChoiceError
from izin.producers.files.delimited import examine, header, rows
from izin.producers.mapping.field_names import violation
from izin.producers.mapping.records import AcceptedRecord
from tests.support.builders import BRAND, EMAIL, NOON, PHONE
from tests.unit.producers.conftest import ImportOf, reported
from tests.unit.producers.fakes import FakePublisher

HEADER = "ALICI;İZİN TÜRÜ;İZİN DURUMU;İZİN KAYNAĞI;İZİN TARİHİ;MARKA"
ONAY = f"0555 000 00 01;SMS;1;HS_WEB;02.03.2026 12:00:00;{BRAND}"
RET = f"Ada@Example.com;E-POSTA;HAYIR;HS_EPOSTA;2026-03-02 12:00:00;{BRAND}"
BAD = f"12;SMS;1;HS_WEB;02.03.2026 12:00:00;{BRAND}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.csv"


def test_valid_rows_are_published(import_lines: ImportOf, fake: FakePublisher):
    """With import id and line, each in its lane; without violations there is no report."""
    report = import_lines(HEADER, ONAY, RET)
    assert (report.rows, report.published, report.opt_outs, report.refused) == (2, 2, 1, 0)
    assert report.report_path is None
    ret, onay = fake.events
    assert (onay.recipient, onay.row, onay.import_id) == (PHONE, 2, report.digest)
    assert (ret.recipient, ret.row) == (EMAIL, 3)
    assert onay.consent_date == NOON
    assert [one.topic for one in fake.frames] == ["consent-events-express", "consent-events"]


def test_unregistrable_ret_is_published_and_reported(import_lines: ImportOf, fake: FakePublisher):
    """Both, for its source must correct it; a dry run does not say that it was published."""
    line = f"{PHONE};SMS;RET;HS_WEB;geçen hafta;{BRAND}"
    dry = reported(import_lines(HEADER, line, dry_run=True))[0]["izin: sonuç/outcome"]
    assert dry.startswith("deneme, yayımlanmadı")
    assert "dry run, not published: " in dry
    report = import_lines(HEADER, line)
    assert (report.published, report.not_registrable, report.refused) == (1, 1, 0)
    assert fake.events[0].consent_date is None
    outcome = reported(report)[0]["izin: sonuç/outcome"]
    assert outcome.startswith("yayımlandı, düzeltilmezse")
    assert "published, unless corrected İYS gets it as HS_KARAR" in outcome


@pytest.mark.parametrize("channel", ["Hepsi", ""])
def test_opt_out_of_an_unknown_channel_lacks_no_recipient(import_lines: ImportOf, channel: str):
    """The report names the channel alone, in both languages."""
    header = HEADER.replace("ALICI", "TELEFON;E-POSTA")
    report = import_lines(header, f"0555 000 00 01;{EMAIL};{channel};RET;HS_WEB;;{BRAND}")
    assert report.refused_opt_outs == 1
    (row,) = reported(report)
    assert row["izin: kod/code"] == ("H117" if channel else "H111")
    assert row["izin: sütun/column"] == "İZİN TÜRÜ"
    assert "Alıcı" not in row["izin: neden"]
    assert "recipient" not in row["izin: reason"]


def test_void_onay_is_published_and_counted(
    import_lines: ImportOf, fake: FakePublisher, directory: BrandDirectory
):
    """Of an old export it may be every row, so none is reported; the summary counts them."""
    old_brand = replace(directory.get(BRAND), activated_at=NOON - timedelta(days=900))
    directory.put(asdict(old_brand))
    old = f"{PHONE};SMS;ONAY;HS_WEB;02.02.2026 12:00:00;{BRAND}"
    report = import_lines(HEADER, ONAY, old)
    assert (report.published, report.past_term, report.refused) == (2, 1, 0)
    assert (report.not_registrable, report.report_path) == (0, None)
    assert len(fake.events) == 2


def test_clean_import_removes_the_old_report(import_lines: ImportOf, path: Path):
    """A report is about the last import only."""
    assert import_lines(HEADER, BAD).report_path is not None
    assert import_lines(HEADER, ONAY).report_path is None
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("row", "opt_outs"),
    [
        ("a;b", 0),
        (ONAY + ";x", 0),
        (f'"{ONAY}', 0),
        (f'"0555";x"{ONAY[5:]}', 0),
        ("0555 000 00 01;;SMS;HAYIR", 1),
    ],
)
def test_broken_row_affects_only_itself(import_lines: ImportOf, row: str, opt_outs: int):
    """Too few fields, too many, or a quote that is never closed; an opt-out is known as one."""
    report = import_lines(HEADER, row, ONAY, RET)
    assert (report.published, report.refused, report.refused_opt_outs) == (2, 1, opt_outs)
    assert reported(report)[0]["izin: kod/code"] == "IZIN-ROW"
    assert reported(report)[0]["izin: satır/row"] == "2"


def test_line_beyond_the_maximum_affects_only_itself(import_lines: ImportOf):
    """Also where its characters take several bytes; its report is cut for a spreadsheet."""
    giant = f"{ONAY}{'ş' * 300_000}"
    report = import_lines(HEADER, giant, RET, giant, ONAY)
    assert (report.rows, report.published, report.refused) == (4, 2, 2)
    assert report.refused_unclear == 2
    assert "longer than" in reported(report)[0]["izin: reason"]
    assert len(reported(report)[0]["ALICI"]) <= 32_767


def test_line_in_another_encoding_is_read(path: Path, import_lines: ImportOf, fake: FakePublisher):
    """Files of two programs, one behind the other; what is neither is kept as a mark."""
    header = f"{HEADER};REFERANS".encode()
    lines = [f"{RET};ığüş".encode(), f"{RET};ığüş".encode("cp1254"), f"{RET};x".encode() + b"\x81"]
    import_lines(b"\r\n".join((header, *lines)).decode("latin-1"), encoding="latin-1")
    assert [one.origin_ref for one in fake.events] == ["ığüş", "ığüş", "x\ufffd"]


def test_status_that_cannot_be_decoded_is_refused(import_lines: ImportOf):
    """What is left of it may be another word."""
    header = HEADER.encode().decode("latin-1")
    report = import_lines(header, ONAY.replace(";1;", ";\x81E;"), encoding="latin-1")
    assert (report.published, report.refused_unclear) == (0, 1)


def test_nul_costs_its_row_only(import_lines: ImportOf):
    """A padded cell of an old program."""
    report = import_lines(HEADER, ONAY.replace("0555", "05\x0055"), RET)
    assert (report.published, report.opt_outs) == (1, 1)
    assert report.reasons == {"IZIN-NUL": 1}


def test_marks_of_a_spreadsheet_are_skipped(import_lines: ImportOf, fake: FakePublisher):
    """The line that names the delimiter, empty rows, empty columns at the end."""
    report = import_lines("sep=;", HEADER, ONAY, ";;;;;", " ; ", f"{RET};;")
    assert (report.rows, report.published, report.refused) == (2, 2, 0)
    assert [one.row for one in fake.events] == [6, 3]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "every line is empty"),
        (b"\r\n" * 31 + b";;\r\n", "every line is empty"),
        (HEADER.encode(), "no rows"),
        (b"PK\x03\x04rest", "Excel workbook"),
        ("ALICI".encode("utf-32"), "UTF-32"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel"),
        (b"\r\n<HTML><table>", "a web page"),
        (b"ALICI;\x00", "line 1, character 7: binary data"),
        (b"ALICI\x81", "line 1, character 6: neither UTF-8 nor Windows-1254"),
        (b"x" * 300_000, "line 1 is longer"),
    ],
)
def test_file_that_is_no_table_is_refused(
    path: Path, content: bytes, what: str, import_of: ImportOf
):
    """Each error names the file, the place and the remedy."""
    path.write_bytes(content)
    with pytest.raises(UnusableFileError, match=f"export.csv: .*{what}"):
        import_of(path)


def test_missing_file_is_an_error(tmp_path: Path):
    """Is the caller's to correct."""
    with pytest.raises(UnusableFileError, match="cannot be opened"):
        examine(tmp_path / "nothing.csv")


def test_file_changed_while_read_is_an_error(path: Path):
    """Its ids would be another file's."""
    path.write_text(f"{HEADER}\n{ONAY}\n", encoding="utf-8")
    file = examine(path)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{ONAY}\n")
    with pytest.raises(UnusableFileError, match="changed while it was read"):
        list(rows(file, header(file, ColumnChoices())))


@pytest.mark.parametrize(
    ("columns", "error", "what"),
    [
        (ColumnChoices(mapped={"YOK": "type"}), ColumnChoiceError, '"YOK"'),
        (ColumnChoices(ignored=["YOK"]), ColumnChoiceError, '"YOK"'),
        (ColumnChoices(mapped={"MARKA": "puan"}), ColumnChoiceError, '"puan"'),
        (ColumnChoices(given={"puan": "1"}), ColumnChoiceError, '"puan"'),
        (ColumnChoices(given={"brand_code": "1"}), ColumnsError, '"MARKA" and "--set"'),
        (ColumnChoices(mapped={"MARKA": "type"}), ColumnsError, "İZİN TÜRÜ"),
        (ColumnChoices(ignored=["MARKA"]), ColumnsError, "--set brand_code"),
        (ColumnChoices(ignored=["ALICI"]), ColumnsError, "recipient"),
        (
            ColumnChoices(ignored=["MARKA"], given={"brand_code": "999999"}),
            UnknownBrandError,
            "izin brands add 999999",
        ),
        (
            ColumnChoices(ignored=["MARKA"], given={"brand_code": "Example"}),
            UnknownBrandError,
            "Example",
        ),
    ],
)
def test_unfitting_column_choice_is_an_error(
    import_lines: ImportOf, columns: ColumnChoices, error: type[SourceError], what: str
):
    """Are refused before the first row."""
    with pytest.raises(error, match=what):
        import_lines(HEADER, ONAY, columns=columns)


def test_oversize_event_is_reported(import_lines: ImportOf, fake: FakePublisher):
    """The rest goes on."""
    fake.largest = 1000
    header = f"{HEADER};REFERANS"
    report = import_lines(header, f"{ONAY};{'x' * 1000}", f"{ONAY};short")
    assert (report.published, report.reasons) == (1, {"IZIN-SIZE": 1})


def test_progress_says_which_pass_it_is_and_how_far(import_lines: ImportOf):
    """The opt-outs first; each ends with the whole file."""
    seen: list[tuple[str, int, int]] = []
    import_lines(HEADER, *[ONAY] * 2001, progress=lambda *one: seen.append(one))
    assert [rows for _, rows, _ in seen] == [1000, 2000, 2001] * 2
    assert (seen[2], seen[5]) == (("opt-outs", 2001, 2001), ("published", 2001, 2001))


def test_review_withholds_an_opt_in_and_never_an_opt_out(
    import_lines: ImportOf, fake: FakePublisher
):
    """It sees every record that would be published; what it says of an opt-in is reported."""
    seen: list[str] = []

    def review(accepted: AcceptedRecord) -> tuple[Violation, ...]:
        seen.append(accepted.event.status)
        return (violation("consent_date", "IZIN-VOID", ended="05.03.2026"),)

    report = import_lines(HEADER, ONAY, RET, BAD, review=review)
    assert seen == ["RET", "ONAY"]
    assert [one.status for one in fake.events] == ["RET"]
    assert (report.published, report.refused, report.refused_opt_outs) == (1, 2, 0)
    void, bad = reported(report)
    assert (void["izin: kod/code"], void["izin: satır/row"], bad["izin: satır/row"]) == (
        "IZIN-VOID",
        "2",
        "4",
    )
    assert "05.03.2026" in void["izin: neden"]


def test_stopped_brand_is_refused(
    import_lines: ImportOf, fake: FakePublisher, directory: BrandDirectory
):
    """Its customer was offboarded: a row is refused, and a file that is of it alone."""
    directory.put(asdict(replace(directory.get(BRAND), status="stopped")))
    report = import_lines(HEADER, ONAY, RET)
    assert (report.reasons, report.refused_opt_outs) == ({"IZIN-BRAND-STOPPED": 2}, 1)
    columns = ColumnChoices(ignored=["MARKA"], given={"marka": str(BRAND)})
    with pytest.raises(StoppedBrandError, match=f"brand {BRAND} is stopped"):
        import_lines(HEADER, ONAY, RET, columns=columns)
    assert fake.events == []
