"""The report of an import: it has the file's own cells, and is imported once it is corrected.

A report replaces an earlier one, and no other file: least of all the one that is imported.

Opt-ins of a file that would reverse an opt-out: left out, listed, and given back by a person.

Text files as programs write them: encodings, delimiters, and what stands above the header.

Workbooks: what Excel keeps in cells, and what is not read without a word.
"""

import codecs
import csv
import re
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from itertools import chain
from pathlib import Path

import openpyxl
import pytest
from openpyxl import Workbook

from izin.consent import TURKEY
from izin.producers.files import (
    ColumnChoices,
    ColumnsError,
    FileRow,
    ImportReport,
    ReversalRules,
    Table,
    UnusableFileError,
    open_table,
    read_reversals,
    workbook,
)
from izin.producers.files.columns import resolve
from izin.producers.files.report import ReportPlaceError, RowOutcome
from izin.producers.files.rows import ImportInterruptedError
from izin.producers.files.table_formats import ADDED
from tests.support.builders import BRAND, EMAIL, NOON, PHONE
from tests.unit.producers.conftest import NOW, FakePublisher, ImportOf, cells_of, reported

HEADER = ("Kayıt No", "Alıcı", "Kanal", "Durum", "Kaynak", "Tarih", "Marka")
NUMBER = "0555 000 00 01"
DATE = "02.03.2026 12:00:00"
FORMULAS = (
    '=HYPERLINK("http://example.com")',
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1",
)
EXECUTABLE = re.compile(r"\s*[=+\-@\uff1d]|[\t\r\n]")


def a_row(ref: str, recipient: str, status: str = "ONAY", date: str = DATE) -> tuple[str, ...]:
    return ref, recipient, "SMS", status, "HS_WEB", date, str(BRAND)


ROWS = (
    a_row("A-1", NUMBER),
    a_row("A-2", "12"),
    a_row("A-3", "12", "RET"),
    a_row("A-4", NUMBER, "?"),
    a_row("A-5", NUMBER, "RET", "geçen hafta"),
)
ORDER = ["A-3", "A-4", "A-2", "A-5"]
"""As the report has them: the opt-out that was refused first."""


def write(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Write a table in the format that the name says."""
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(list(row))
        for cell in chain(*book.active.iter_rows()):
            cell.data_type = "s"
        book.save(path)
    else:
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, delimiter=";").writerows(rows)
    return path


@pytest.fixture(params=["csv", "xlsx"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"export.{request.param}"


def test_report_has_the_cells_of_the_file_and_its_format(path: Path, import_of: ImportOf):
    """And behind them where the row is, what is wrong in two languages, and what became of it."""
    report = import_of(write(path, [HEADER, *ROWS]))
    assert report.report_path == path.with_name(f"{path.name}.report{path.suffix}")
    header, *rows = cells_of(report)
    assert header == [*HEADER, *ADDED]
    assert [row[0] for row in rows] == ORDER
    own = {row[0]: row for row in ROWS}
    assert [tuple(row[: len(HEADER)]) for row in rows] == [own[one] for one in ORDER]
    added = [dict(zip(ADDED, row[len(HEADER) :], strict=True)) for row in rows]
    assert [one["izin: satır/row"] for one in added] == ["4", "5", "3", "6"]
    assert [one["izin: sütun/column"] for one in added] == ["Alıcı", "Durum", "Alıcı", "Tarih"]
    assert [one["izin: kod/code"] for one in added] == ["H121", "H115", "H121", "H158"]
    assert all(one["izin: neden"] and one["izin: reason"] for one in added)
    assert [one["izin: sonuç/outcome"] for one in added] == [
        RowOutcome.OPT_OUT_NOT_IMPORTED,
        RowOutcome.UNCLEAR_NOT_IMPORTED,
        RowOutcome.NOT_IMPORTED,
        RowOutcome.PUBLISHED,
    ]


def test_corrected_report_is_imported(path: Path, import_of: ImportOf, fake: FakePublisher):
    """As it is: the columns that it has added are left out, and not added again."""
    header, *rows = cells_of(import_of(write(path, [HEADER, *ROWS])))
    fake.events.clear()
    for row in rows[:-1]:
        row[1:6] = [NUMBER, "SMS", "RET", "HS_WEB", DATE]
    report = import_of(write(path.with_name(f"corrected{path.suffix}"), [header, *rows]))
    assert (report.published, report.refused, report.not_registrable) == (4, 0, 1)
    assert [one.origin_ref for one in fake.events] == ORDER
    again, (last,) = cells_of(report)[0], cells_of(report)[1:]
    assert again == header
    assert last[0] == "A-5"
    assert last[len(HEADER)] == "5"


def test_no_cell_of_a_report_is_a_formula(path: Path, import_of: ImportOf):
    """However it begins, also in the header; what is read of it again is what it was."""
    rows = [a_row(one, "12") for one in FORMULAS]
    report = import_of(
        write(path, [("=Kayıt", *HEADER[1:]), *rows]),
        columns=ColumnChoices(mapped={"=Kayıt": "ref"}),
    )
    table = cells_of(report)
    assert not [cell for row in table for cell in row if EXECUTABLE.match(cell)]
    repaired = [[*row[:1], NUMBER, *row[2:]] for row in table[1:]]
    again = import_of(
        write(path, [table[0], *repaired]), columns=ColumnChoices(mapped={"=Kayıt": "ref"})
    )
    assert (again.published, again.refused) == (len(FORMULAS), 0)


@pytest.mark.parametrize("recipient", [f"+{PHONE[1:]}", "'05550000001", '="05550000001"'])
def test_recipient_of_a_report_is_read_as_it_was(
    tmp_path: Path, import_of: ImportOf, fake: FakePublisher, recipient: str
):
    """The apostrophe that protects a cell is no part of it."""
    path = write(tmp_path / "export.csv", [HEADER, a_row("A-1", recipient, "?")])
    header, row = cells_of(import_of(path))
    row[3] = "RET"
    import_of(write(tmp_path / "report.csv", [header, row]))
    assert [one.recipient for one in fake.events] == [PHONE]


def test_row_that_cannot_be_separated_is_whole_in_its_first_cell(
    tmp_path: Path, import_of: ImportOf
):
    """The other cells of it are empty, so that what is added stands in its columns."""
    path = tmp_path / "export.csv"
    path.write_text(
        "\n".join((";".join(HEADER), "A-1;12", ";".join(a_row("A-2", NUMBER)))), "utf-8"
    )
    _, row = cells_of(import_of(path))
    assert row[: len(HEADER)] == ["A-1;12", *[""] * (len(HEADER) - 1)]
    assert row[len(HEADER)] == "2"


def test_report_may_be_read_by_whoever_may_read_the_file(tmp_path: Path, import_of: ImportOf):
    """It quotes it."""
    path = write(tmp_path / "export.csv", [HEADER, a_row("A-1", EMAIL)])
    path.chmod(0o640)
    report = import_of(path).report_path
    assert report.stat().st_mode & 0o777 == 0o640


TABLE = "kayıt no;telefon;kanal;durum;kaynak;tarih;marka"
LINES = (
    f"A-1;0555 000 00 01;SMS;RET;HS_WEB;02.03.2026 12:00:00;{BRAND}",
    f"A-2;12;SMS;RET;HS_WEB;02.03.2026 12:00:00;{BRAND}",
)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Write a file with an opt-out and a row that is refused."""
    export = tmp_path / "export.csv"
    export.write_text("\n".join((TABLE, *LINES)), "utf-8")
    return export


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("link", ["", "symlink_to", "hardlink_to"])
def test_report_never_replaces_the_file_that_is_imported(
    export: Path, import_of: ImportOf, link: str, dry_run: bool
):
    """By whatever name: its opt-outs would be lost with it."""
    before, report = export.read_bytes(), export
    if link:
        report = export.with_name("report.csv")
        getattr(report, link)(export)
    with pytest.raises(ReportPlaceError, match="the file that is imported"):
        import_of(export, report_path=report, dry_run=dry_run, resumable=True)
    assert (export.read_bytes(), report.read_bytes()) == (before, before)


@pytest.mark.parametrize("name", ["book.csv", "book.xlsx", "folder"])
def test_report_never_replaces_another_file(export: Path, import_of: ImportOf, name: str):
    """Such as another export."""
    other = export.with_name(name)
    if name == "folder":
        other.mkdir()
    else:
        other.write_bytes(export.read_bytes())
    with pytest.raises(ReportPlaceError, match="no report of an import"):
        import_of(export, report_path=other)
    assert name == "folder" or other.read_bytes() == export.read_bytes()


@pytest.mark.parametrize("name", ["report.csv", "report.xlsx"])
def test_report_replaces_an_earlier_one(export: Path, import_of: ImportOf, name: str):
    """And an empty file, as made by a program that names temporary ones."""
    report = export.with_name(name)
    report.touch()
    for _ in range(2):
        done = import_of(export, report_path=report)
        assert [one["kayıt no"] for one in reported(done)] == ["A-2"]


def test_report_replaces_one_that_a_spreadsheet_has_saved(export: Path, import_of: ImportOf):
    """As Unicode text."""
    report = export.with_name("report.csv")
    import_of(export, report_path=report)
    report.write_bytes(report.read_text("utf-8-sig").replace(";", "\t").encode("utf-16"))
    assert [one["kayıt no"] for one in reported(import_of(export, report_path=report))] == ["A-2"]


NARROW = "recipient;type;status;source;date;brand"
WIDE = "cep;e-posta;sms izni;arama izni;e-posta izni;date;source;brand"
KEY = f"{BRAND}/MESAJ/BIREYSEL/+90555{{:07}}"
MANY = 202
REFUSED_AT = NOON - timedelta(days=1)


class GivenOptOuts(dict[str, datetime]):
    """Opt-outs that stand, by key."""

    def may_have(self, recipient: str) -> bool:
        return any(one.endswith(f"/{recipient}") for one in self)

    def opted_out_at(self, key: bytes) -> int | None:
        found = self.get(key.decode())
        return None if found is None else int(found.timestamp())


def opted_out(count: int, at: datetime = REFUSED_AT) -> GivenOptOuts:
    """Return the opt-outs of so many recipients, from the first on."""
    return GivenOptOuts({KEY.format(number): at for number in range(count)})


def a_line(number: int, at: datetime = NOON, status: str = "ONAY") -> str:
    date = at.astimezone(TURKEY).strftime("%d.%m.%Y %H:%M:%S")
    return f"0555 {number:07};SMS;{status};HS_WEB;{date};{BRAND}"


def a_wide_row(number: int, words: str) -> str:
    return f"0555 {number:07};{EMAIL};{words};02.03.2026 12:00:00;HS_WEB;{BRAND}"


def onays(fake: FakePublisher) -> list[int | None]:
    """Return the rows of the opt-ins that were published."""
    return [one.row for one in fake.events if one.status == "ONAY"]


def listed(report: ImportReport) -> list[dict[str, str]]:
    """Return the rows of the list of reversals."""
    with report.reversals_path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))


@pytest.mark.parametrize("opt_outs", [1, 100, 150])
def test_export_that_renews_every_consent_reverses_nothing(
    import_lines: ImportOf, fake: FakePublisher, opt_outs: int
):
    """However many: the others are published, and these reported and listed, with the day."""
    rows = (*map(a_line, range(MANY)), a_line(0, status="RET"), "broken")
    report = import_lines(NARROW, *rows, opt_outs=opted_out(opt_outs), resumable=True)
    assert len(onays(fake)) == MANY - opt_outs
    assert (report.published, report.refused_reversals) == (MANY - opt_outs + 1, opt_outs)
    assert (report.reversals, report.refused) == (0, opt_outs + 1)
    lines = listed(report)
    assert [one["izin: satır/row"] for one in lines] == [str(n) for n in range(2, opt_outs + 2)]
    assert {one["izin: sonuç/outcome"] for one in lines} == {RowOutcome.REVERSAL}
    assert {one["izin: kod/code"] for one in lines} == {"IZIN-REVERSAL"}
    assert "01.03.2026 12:00:00" in lines[0]["izin: reason"]


def test_opt_outs_are_published_before_the_first_opt_in(
    import_lines: ImportOf, fake: FakePublisher
):
    """Wherever they stand in the file; also with an opt-in in their row; each once."""
    rows = (*map(a_line, range(5)), a_line(7, status="RET"), a_line(8))
    report = import_lines(NARROW, *rows, opt_outs=opted_out(2))
    assert (fake.events[0].row, fake.events[0].status) == (7, "RET")
    assert (report.rows, report.published, report.opt_outs) == (7, 5, 1)
    fake.events.clear()
    words = ("1;1;", "1;0;belki", "0;0;0")
    report = import_lines(WIDE, *(a_wide_row(*each) for each in enumerate(words)))
    assert [(one.row, one.type, one.status) for one in fake.events] == [
        *((3, "ARAMA", "RET"), (4, "ARAMA", "RET"), (4, "MESAJ", "RET"), (4, "EPOSTA", "RET")),
        *((2, "ARAMA", "ONAY"), (2, "MESAJ", "ONAY"), (3, "MESAJ", "ONAY")),
    ]
    assert (report.published, report.opt_outs, report.refused_unclear) == (7, 4, 1)


def test_reversals_of_the_list_are_given_back_with_their_actor(
    tmp_path: Path, import_lines: ImportOf, fake: FakePublisher
):
    """Those that a person has left in it, and no other; the event says who, and over what."""
    rows = (NARROW, *map(a_line, range(6)))
    found = import_lines(*rows, opt_outs=opted_out(4))
    lines = found.reversals_path.read_text("utf-8-sig").splitlines()
    given = tmp_path / "looked-through.csv"
    given.write_text("\n".join([lines[0], lines[2], lines[4]]), "utf-8")
    fake.events.clear()
    rules = ReversalRules(event_ids=read_reversals(given), by="ada@example.com")
    report = import_lines(*rows, opt_outs=opted_out(4), reversals=rules)
    assert sorted(onays(fake)) == [3, 5, 6, 7]
    assert (report.reversals, report.refused_reversals, report.published) == (2, 2, 4)
    back = {one.row: one for one in fake.events if one.row in {3, 5}}
    assert {one.actor for one in back.values()} == {"ada@example.com"}
    assert dict(back[3].evidence) == {"reversal-of": "01.03.2026 12:00:00"}
    assert [one.actor for one in fake.events if one.row not in back] == [None, None]


def test_reversals_of_another_file_give_nothing_back(import_lines: ImportOf, fake: FakePublisher):
    """What was looked through is what is published: another content has other ids."""
    first = import_lines(NARROW, *map(a_line, range(3)), opt_outs=opted_out(3))
    rules = ReversalRules(event_ids=read_reversals(first.reversals_path), by="ada")
    fake.events.clear()
    later = NOON + timedelta(minutes=1)
    rows = (a_line(one, later) for one in range(3))
    report = import_lines(NARROW, *rows, opt_outs=opted_out(3), reversals=rules)
    assert report.refused_reversals == 3
    assert fake.events == []


def test_file_that_lists_no_reversals_is_an_error(tmp_path: Path):
    """The export itself, given by mistake."""
    path = tmp_path / "nightly.csv"
    path.write_text(f"{NARROW}\n{a_line(0)}", "utf-8")
    with pytest.raises(UnusableFileError, match=r"nightly\.csv: it has no column"):
        read_reversals(path)


def test_dry_run_lists_what_would_be_left_out(import_lines: ImportOf, fake: FakePublisher):
    """And has the whole report."""
    rows = (NARROW, *map(a_line, range(6)), a_line(7, status="RET"), "broken")
    report = import_lines(*rows, opt_outs=opted_out(4), dry_run=True)
    assert (report.rows, report.published, report.opt_outs) == (8, 3, 1)
    assert (report.refused_reversals, report.refused, report.dry_run) == (4, 5, True)
    assert (len(listed(report)), fake.events) == (4, [])


@pytest.mark.parametrize(
    ("at", "row", "is_reversal"),
    [
        (NOON - timedelta(seconds=1), a_line(0), True),
        (NOON, a_line(0), False),
        (NOON + timedelta(seconds=1), a_line(0), False),
        (NOON - timedelta(days=1), a_line(0, status="RET"), False),
        (NOON - timedelta(days=1), a_line(1), False),
        (NOON - timedelta(days=1), a_line(0).replace(";SMS;", ";ARAMA;"), False),
        (NOON - timedelta(days=1), a_line(0).replace("HS_WEB", "?"), False),
        (NOW, a_line(0, NOW + timedelta(minutes=4)), False),
    ],
)
def test_reversal_is_what_the_law_would_decide(
    import_lines: ImportOf, at: datetime, row: str, is_reversal: bool
):
    """A later instant of the same key, in whole seconds and never after its receipt."""
    assert import_lines(NARROW, row, opt_outs=opted_out(1, at)).refused_reversals == is_reversal


def test_each_channel_of_a_row_is_counted(import_lines: ImportOf):
    """Where the file has a column a channel."""
    opt_outs = opted_out(1) | {f"{BRAND}/EPOSTA/BIREYSEL/{EMAIL}": REFUSED_AT}
    report = import_lines(WIDE, a_wide_row(0, "1;1;1"), opt_outs=GivenOptOuts(opt_outs))
    assert (report.refused_reversals, report.published) == (2, 1)
    (line,) = listed(report)
    assert len(line["izin: olay/event"].split(", ")) == 2


def test_import_that_goes_on_gives_back_what_it_gave_before(
    import_lines: ImportOf, fake: FakePublisher, monkeypatch: pytest.MonkeyPatch
):
    """Though what is left is another number; the counts at the end are of all rows."""
    monkeypatch.setattr("izin.producers.files.importer.CHECKPOINT_ROWS", 2)
    rows = (NARROW, "broken", *map(a_line, range(6)))
    listing = import_lines(*rows, opt_outs=opted_out(4), dry_run=True)
    rules = ReversalRules(event_ids=read_reversals(listing.reversals_path), by="ada")
    given = {"opt_outs": opted_out(4), "reversals": rules, "resumable": True}
    fake.is_away_for = lambda _: len(fake.events) == 4
    with pytest.raises(ImportInterruptedError, match=r"after 4 acknowledged rows.*import the file"):
        import_lines(*rows, **given)
    fake.is_away_for = lambda _: False
    report = import_lines(*rows, **given)
    assert (report.resumed_after, report.rows, report.published) == (5, 7, 6)
    assert (report.reversals, report.refused, report.restarted_because) == (4, 1, None)


def test_opt_outs_of_the_file_itself_are_no_reason_to_leave_out(
    import_lines: ImportOf, fake: FakePublisher
):
    """An import that stopped between both finds its own opt-outs in force: it ends as one that
    never stopped.
    """
    rows = (NARROW, a_line(0), a_line(0, REFUSED_AT, "RET"), a_line(1))
    fake.is_away_for = lambda event: event.status == "ONAY"
    with pytest.raises(ImportInterruptedError):
        import_lines(*rows, opt_outs=opted_out(0), resumable=True)
    fake.is_away_for = lambda _: False
    report = import_lines(*rows, opt_outs=opted_out(2), resumable=True)
    assert (report.refused_reversals, report.published) == (1, 2)
    assert [(one.row, one.status) for one in fake.events] == [(3, "RET"), (2, "ONAY")]


def test_opt_outs_are_read_for_the_brands_of_the_file(import_lines: ImportOf):
    """The one given for all rows, or any; for none where the file was imported already."""
    asked: list[set[int]] = []

    def find(brands: Collection[int]) -> GivenOptOuts:
        asked.append(set(brands))
        return opted_out(0)

    for _ in range(2):
        import_lines(NARROW, a_line(0), opt_outs=find, resumable=True)
    given = ColumnChoices(ignored=["brand"], given={"marka": str(BRAND)})
    import_lines(NARROW, a_line(0), opt_outs=find, columns=given)
    assert asked == [{BRAND}, {BRAND}]


OF_PHONES = ("Telefon", "İzin Türü", "İzin Durumu", "Şehir")
ROW = ("0555 000 00 01", "SMS", "Hayır", "Iğdır")
CHOICES = ColumnChoices(ignored=("Şehir",))


def a_table(folder: Path, content: bytes) -> Table:
    path = folder / "export.csv"
    path.write_bytes(content)
    return open_table(path, CHOICES)


def lines(*rows: Sequence[str], delimiter: str = ";", end: str = "\r\n") -> str:
    return "".join(f"{delimiter.join(row)}{end}" for row in rows)


def fields(rows: Sequence[FileRow]) -> list[tuple[str, ...]]:
    assert all(one.fault is None for one in rows)
    return [one.fields for one in rows]


@pytest.mark.parametrize(
    ("encoding", "bom", "found"),
    [
        ("utf-8", b"", "utf-8-sig"),
        ("utf-8", codecs.BOM_UTF8, "utf-8-sig"),
        ("cp1254", b"", "cp1254"),
        ("cp1254", codecs.BOM_UTF8, "cp1254"),
        ("utf-16-le", codecs.BOM_UTF16_LE, "utf-16-le"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "utf-16-be"),
        ("utf-16-le", b"", "utf-16-le"),
        ("utf-16-be", b"", "utf-16-be"),
    ],
)
@pytest.mark.parametrize("separator", ["", "sep=;\r\n"])
def test_encoding_is_found_with_or_without_a_bom(
    tmp_path: Path, encoding: str, bom: bytes, found: str, separator: str
):
    """Also a BOM of UTF-8 before Windows-1254, and with Excel's own line first."""
    table = a_table(tmp_path, bom + (separator + lines(OF_PHONES, ROW)).encode(encoding))
    assert (table.file.encoding, table.headers) == (found, OF_PHONES)
    rows = list(table.rows())
    assert fields(rows) == [ROW]
    assert (table.header_line, rows[0].line) == ((2, 3) if separator else (1, 2))
    assert rows[0].position <= table.size


@pytest.mark.parametrize("encoding", ["utf-16-le", "cp1254"])
def test_table_is_written_in_its_own_encoding(tmp_path: Path, encoding: str):
    """With its BOM, its separator line and its line ends."""
    bom = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else codecs.BOM_UTF8
    content = bom + ("sep=;\r\n" + lines(OF_PHONES, ROW)).encode(encoding)
    table = a_table(tmp_path, content)
    target = tmp_path / "out.csv"
    with table.writer(target, table.headers) as writer:
        for row in table.rows():
            writer.write(row, [None] * len(OF_PHONES))
    assert target.read_bytes() == content


def test_uncertain_utf_16_is_not_guessed(tmp_path: Path):
    """A file with NULs at both places is no text."""
    with pytest.raises(UnusableFileError, match="binary data"):
        a_table(tmp_path, b"T\0e\0\0l\0;\0\0x" * 20)


def test_lone_surrogate_costs_its_character_only(tmp_path: Path):
    """As in any other encoding."""
    text = lines(OF_PHONES, (*ROW[:3], "I|")).encode("utf-16-le").replace(b"|\0", b"\x00\xd8")
    (row,) = a_table(tmp_path, codecs.BOM_UTF16_LE + text).rows()
    assert row.fields[3] == "I\ufffd"


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [
        *(("", one) for one in ("|", ";", ",", "\t")),
        *((one, "^") for one in ("sep=^\n", '"sep=^"\n', "SEP=^;;;\n")),
        ("sep=\n", ";"),
    ],
)
def test_delimiter_is_found_by_the_names(tmp_path: Path, first: str, delimiter: str):
    """Whichever gives the most known names, or what the first line says: also one that nobody would
    guess.
    """
    table = a_table(tmp_path, f"{first}{lines(OF_PHONES, ROW, delimiter=delimiter)}".encode())
    assert (table.delimiter, fields(list(table.rows()))) == (delimiter, [ROW])
    assert table.header_line == (2 if first else 1)


def test_header_is_the_first_line_that_is_not_empty(tmp_path: Path):
    """Lines keep their numbers."""
    text = "\n".join(
        ["", "   ", ";;;", lines(OF_PHONES, end=""), "", lines(ROW, end=""), ";;;", "\t"]
    )
    table = a_table(tmp_path, text.encode())
    rows = list(table.rows())
    assert (table.header_line, table.headers) == (4, OF_PHONES)
    assert [(one.line, one.fields) for one in rows] == [(6, ROW)]


def test_names_with_line_breaks_are_read(tmp_path: Path):
    """As Excel writes a wrapped cell."""
    header = '"İzin\nTürü";Telefon;"İzin ""Durumu""\n(son)"'
    table = a_table(tmp_path, f"{header}\r\nSMS;0555;RET\r\n".encode())
    assert table.headers == ("İzin\nTürü", "Telefon", 'İzin "Durumu"\n(son)')
    (row,) = table.rows()
    assert (table.header_line, row.line, row.fields) == (1, 4, ("SMS", "0555", "RET"))


@pytest.mark.parametrize("above", ["İZİN LİSTESİ", "Telefon", "0555 000 00 02;SMS;RET;Iğdır"])
@pytest.mark.parametrize("make", ["csv", "xlsx"])
def test_what_stands_above_the_names_is_never_left_out(tmp_path: Path, above: str, make: str):
    """It could be an opt-out: who knows better says which line names the columns."""
    content = ["", above, *lines(OF_PHONES, ROW, end="\n").splitlines()]
    path = tmp_path / f"export.{make}"
    if make == "csv":
        path.write_text("\n".join(content), "utf-8")
    else:
        book = Workbook()
        for line in content:
            book.active.append(line.split(";"))
        book.save(path)
    with pytest.raises(ColumnsError):
        resolve(open_table(path, CHOICES).headers, ColumnChoices())
    table = open_table(path, ColumnChoices(ignored=("Şehir",), header_row=3))
    assert (table.header_line, [one.line for one in table.rows()]) == (3, [4])


def test_header_row_is_where_the_caller_says(tmp_path: Path):
    """And where there is none it is an error."""
    path = tmp_path / "export.csv"
    path.write_text("x;y\n" * 40 + lines(OF_PHONES, ROW), "utf-8")
    table = open_table(path, ColumnChoices(header_row=41))
    assert (table.headers, [one.line for one in table.rows()]) == (OF_PHONES, [42])
    with pytest.raises(UnusableFileError, match="its line 50 is empty"):
        open_table(path, ColumnChoices(header_row=50))


NOTES = "Not;Telefon;Kanal;İzin"
LAST = "Telefon;Kanal;İzin;Not"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (NOTES, '"Cad. 1; Kat 2; Daire 3; arka\nbina; B; sol; üst";0555;SMS;RET'),
        (NOTES, '"aradı\n\n; ; ; ;\nson";0555;SMS;RET'),
        (LAST, '0555;SMS;RET;"Cad. 1; Kat 2; Daire 3; arka\nbina; B; sol; üst; yan"'),
        (LAST, '0555;SMS;RET;"a, b\n""c""; d; e; f; g"'),
        (LAST, '0555;"S\nM\nS";RET;"' + "satır\n" * 150 + 'son"'),
        ("Telefon;Not;Kanal;İzin", '0555;"1; 2; 3; 4\n5; 6; 7; 8\n9; 10; 11";SMS;RET'),
    ],
)
def test_line_break_in_quotes_is_read(tmp_path: Path, header: str, row: str):
    """Whatever delimiters stand beside it; the row after it is a row, and has its own line."""
    path = tmp_path / "export.csv"
    plain = ";".join(["x"] * 4)
    path.write_text(f"{header}\n{row}\n{plain}\n", "utf-8")
    found = list(open_table(path, ColumnChoices()).rows())
    assert [one.fault for one in found] == [None, None]
    assert [len(one.fields) for one in found] == [4, 4]
    assert found[1].line == row.count("\n") + 3


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (NOTES, ['"5 inç;0555 000 00 01;SMS;RET', 'boru 5";0555 000 00 02;SMS;RET']),
        (NOTES, ['"5 inç;12;SMS;0', "x;0555 000 00 03;SMS;RET", 'boru 5";0555 000 00 02;SMS;RET']),
        (LAST, ['0555 000 00 01;SMS;RET;"5 inç', '0555 000 00 02;SMS;RET;boru 5"']),
        (LAST, ['0555 000 00 01;SMS;RET;"5 inç', "12;SMS;0;x", '12;SMS;0;boru 5"']),
        ("Telefon;Not;Kanal;İzin", ['05550000001;"5 inç;SMS;1', '05550000002;boru 5";SMS;1']),
        (LAST, ['0555 000 00 01;SMS;RET;"5 inç', *["0555 000 00 02;SMS;RET;x"] * 300]),
    ],
)
def test_quote_that_is_never_closed_swallows_no_row(tmp_path: Path, header: str, rows: list[str]):
    """Though another row has the other quote: each line with one is refused by its number."""
    path = tmp_path / "export.csv"
    path.write_text("\n".join((header, *rows)), "utf-8")
    found = list(open_table(path, ColumnChoices()).rows())
    assert [one.line for one in found] == list(range(2, len(rows) + 2))
    for one, row in zip(found, rows, strict=True):
        assert (one.fault is not None) or '"' not in row or row.endswith('"') or '5";' in row
    assert found[0].fault is not None


BOOK_HEADER = ("Telefon", "Kanal", "Durum", "Tarih")


def a_book(path: Path, *sheets: Sequence[Sequence[object]], hidden: Sequence[int] = ()) -> Path:
    book = Workbook()
    book.remove(book.worksheets[0])
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Sayfa{number + 1}")
        for row in rows:
            sheet.append(list(row))
        sheet.sheet_state = "hidden" if number in hidden else "visible"
    book.save(path)
    return path


def a_workbook(path: Path, *rows: Sequence[object]) -> Table:
    return open_table(a_book(path / "a.xlsx", rows), ColumnChoices())


def test_cells_are_read_as_the_sheet_shows_them(tmp_path: Path):
    """Numbers as digits, dates with their seconds, and truth values as words. A date at midnight
    has no time, whatever its format: the reader does not tell formats.
    """
    at = datetime(2026, 3, 2, 12, 0, 5)  # noqa: DTZ001  # a workbook's dates have no zone
    table = a_workbook(
        tmp_path,
        BOOK_HEADER,
        (5550000001, "SMS", True, at),
        (5550000001.0, "SMS", False, date(2026, 3, 2)),
        (5550000001, "SMS", False, datetime.combine(at, time())),
        (5550000001.5, "SMS", 1, time(12, 30)),
        ("0555", None, "=1+1", "02.03.2026"),
    )
    assert [one.fields for one in table.rows()] == [
        ("5550000001", "SMS", "True", "2026-03-02 12:00:05"),
        ("5550000001", "SMS", "False", "2026-03-02"),
        ("5550000001", "SMS", "False", "2026-03-02"),
        ("5550000001.5", "SMS", "1", "12:30:00"),
        ("0555", "", "#=?", "02.03.2026"),
    ]


def test_rows_have_the_numbers_of_the_sheet(tmp_path: Path):
    """Empty rows and what stands beside the table included."""
    row = ("0555", "SMS", "RET", "")
    table = a_workbook(
        tmp_path, (" ",), (), BOOK_HEADER, row, (), (" ", None), (*row, None, ""), (*row, "x")
    )
    assert (table.header_line, table.size, table.delimiter) == (3, 8, "")
    assert [(one.line, one.fields, one.position) for one in table.rows()] == [
        (4, row, 4),
        (7, row, 7),
        (8, (*row, "x"), 8),
    ]


def test_table_is_read_as_often_as_asked(tmp_path: Path):
    """And ends with the file that it began with."""
    table = a_workbook(tmp_path, BOOK_HEADER, ("0555", "SMS", "RET", ""))
    assert [list(table.rows()) for _ in range(3)] == [list(table.rows())] * 3
    a_book(table.file.path, [BOOK_HEADER, BOOK_HEADER])
    with pytest.raises(UnusableFileError, match="changed while it was read"):
        list(table.rows())


def test_rows_in_other_sheets_are_not_passed_over(tmp_path: Path):
    """They could be the opt-outs; empty sheets, and hidden ones without recipients, are none of
    the table.
    """
    sheet = [BOOK_HEADER, ("0555", "SMS", "RET", "")]
    path = a_book(tmp_path / "a.xlsx", sheet, [], sheet, [("x",)], hidden=[3])
    with pytest.raises(UnusableFileError, match='also hidden ones: "Sayfa3"; save each'):
        open_table(path, ColumnChoices())
    assert len(list(open_table(path, ColumnChoices(), first_sheet=True).rows())) == 1
    hidden = a_book(tmp_path / "b.xlsx", [("x",)], sheet, hidden=[0])
    table = open_table(hidden, ColumnChoices())
    assert (table.headers, table.hidden) == (BOOK_HEADER, ("Sayfa1",))


@pytest.mark.parametrize(
    "rows",
    [[BOOK_HEADER], [("Kara liste",), ("0555 000 00 01",)], [("",), (5550000001,)], [("a@b.co",)]],
)
def test_hidden_sheet_with_recipients_is_not_passed_over(
    tmp_path: Path, rows: list[tuple[object, ...]]
):
    """Whoever imports the workbook may never have seen it."""
    path = a_book(tmp_path / "a.xlsx", [BOOK_HEADER, ("0555", "SMS", "RET", "")], rows, hidden=[1])
    with pytest.raises(UnusableFileError, match='also hidden ones: "Sayfa2"; save each'):
        open_table(path, ColumnChoices())


def test_workbook_without_a_header_is_refused(tmp_path: Path):
    """There is no table in it."""
    with pytest.raises(UnusableFileError, match="the first rows of its first sheet are empty"):
        a_workbook(tmp_path)


def test_damaged_workbook_names_its_remedy(tmp_path: Path):
    """Whatever the library makes of it."""
    path = a_book(tmp_path / "a.xlsx", [BOOK_HEADER])
    path.write_bytes(path.read_bytes().replace(b"xl/workbook.xml", b"xl/workbuch.xml"))
    with pytest.raises(UnusableFileError, match=r"damaged .*save the table again"):
        open_table(path, ColumnChoices())


def test_reader_of_a_table_left_unread_ends(tmp_path: Path):
    """With the table: no process stays behind."""
    rows = [BOOK_HEADER, *[("0555", "SMS", "RET", "x" * 200)] * 3000]
    path = a_book(tmp_path / "a.xlsx", rows)
    before = children()
    table = open_table(path, ColumnChoices())
    assert len(children() - before) == 1
    begun = table.rows()
    next(begun)
    begun.close()
    del table, begun
    assert children() == before


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {one for task in tasks for one in task.read_text().split()}


def test_reader_that_ends_within_the_rows_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What was read before is not the whole table."""
    script = tmp_path / "reader.py"
    script.write_text(
        "import os, pickle, sys\n"
        "out = sys.stdout.buffer\n"
        'pickle.dump(("Sayfa1", 2, [], []), out)\n'
        'pickle.dump([["Telefon", "Kanal", "Durum"], ["0555", "SMS", "RET"]], out)\n'
        "out.flush()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setattr(workbook, "_READER", script)
    table = a_workbook(tmp_path, BOOK_HEADER)
    with pytest.raises(
        UnusableFileError, match="MB of memory, or is damaged; save the table as CSV"
    ):
        list(table.rows())
