"""``izin scrub``: a file written again with the gate's answers, and asked about once more."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import openpyxl
import pytest
from click.testing import Result
from starlette.responses import JSONResponse
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.sending import scrubbing
from izin.cli.sending.scrub import _BATCH
from tests.support.api_keys import API_KEY
from tests.support.builders import BRAND
from tests.support.subscribers.small_gate import SaidOf, SmallGate, problem

QUESTION = (f"--brand={BRAND}", "--type=MESAJ", "--campaign=spring")
YES, NO = "0555 000 00 01", "05550000002"

Izin = Callable[..., Result]


@pytest.fixture
def izin(small: SmallGate, monkeypatch: pytest.MonkeyPatch) -> Izin:
    """Return what runs a command that asks the small gate, which refuses one recipient."""
    monkeypatch.setenv("IZIN_GATE_URL", small.url)
    monkeypatch.setenv("IZIN_API_KEY", API_KEY)
    small.said[NO] = SaidOf()
    return lambda *words: CliRunner().invoke(app, [str(one) for one in words])


def a_file(folder: Path, content: str | bytes, name: str = "list.csv") -> Path:
    """Return a file with ``content``."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def receipt_of(path: Path) -> dict[str, Any]:
    """Return the receipt of a scrubbed file."""
    found: dict[str, Any] = json.loads(Path(f"{path}.receipt.json").read_text("utf-8"))
    return found


def test_scrubbed_file_is_the_file_with_two_columns_more(izin: Izin, tmp_path: Path):
    """Rows and columns in their order, and every cell as it was."""
    path = a_file(tmp_path, f'ad,telefon,not\nAda,{YES},=1+1\nEce,{NO},"a,b"\n')
    done = izin("scrub", path, *QUESTION)
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "list.scrubbed.csv").read_text("utf-8") == (
        f"ad,telefon,not,may_send,reason\nAda,{YES},=1+1,yes,registered\n"
        f'Ece,{NO},"a,b",no,opted-out\n'
    )
    assert path.read_text("utf-8").count("may_send") == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        *("list.csv", "list.scrubbed.csv", "list.scrubbed.csv.receipt.json")
    ]


@pytest.mark.parametrize(("only", "row"), [("yes", "Ada"), ("no", "Ece")])
def test_rows_of_one_answer_are_written_alone(izin: Izin, tmp_path: Path, only: str, row: str):
    """A list to send to; the receipt counts all that were asked about."""
    path = a_file(tmp_path, f"ad,telefon\nAda,{YES}\nEce,{NO}\n")
    done = izin("scrub", path, *QUESTION, "--only", only)
    assert done.exit_code == 0, done.stderr
    out = tmp_path / "list.scrubbed.csv"
    assert [one.split(",")[0] for one in out.read_text("utf-8").splitlines()] == ["ad", row]
    counts = receipt_of(out)["counts"]
    assert (counts["rows"], counts["written"], counts["may_send"]) == (2, 1, 1)
    assert izin("scrub", out, "--recheck", f"{out}.receipt.json", "--only", "yes").exit_code == 2


@pytest.mark.parametrize(
    "before",
    [
        f"\ufeffad;telefon\r\nÇağrı;{NO}\r\n".encode(),
        f"sep=;\r\nad;telefon\r\nŞule;{NO}\r\n".encode(),
        f"ad\ttelefon\nÇağrı Şiğ\t{NO}\n".encode("cp1254"),
        f"ad;telefon\n€;{NO}\n".encode("cp1254") + f"漢;{NO}\n".encode(),
    ],
    ids=["BOM", "separator line", "Windows-1254", "lines of both encodings"],
)
def test_encoding_delimiter_and_line_ends_are_kept(izin: Izin, tmp_path: Path, before: bytes):
    """Of what was there, every byte is there."""
    assert izin("scrub", a_file(tmp_path, before), *QUESTION).exit_code == 0
    after = (tmp_path / "list.scrubbed.csv").read_bytes()
    end, delimiter = (b"\r\n" if b"\r\n" in before else b"\n"), (b"\t" if b"\t" in before else b";")
    said, header = NO.encode(), b"telefon"
    expected = before.replace(header + end, delimiter.join((header, b"may_send", b"reason")) + end)
    expected = expected.replace(said + end, delimiter.join((said, b"no", b"opted-out")) + end)
    assert after == expected


def test_row_without_a_valid_recipient_says_so(izin: Izin, small: SmallGate, tmp_path: Path):
    """In place of the gate's reason, which is of a recipient that nobody knows; exit code 0."""
    for one in ("5,55E+09", ""):
        small.said[one] = SaidOf(reason="register-first", violation="H121")
    path = a_file(tmp_path, f"telefon;ad\n5,55E+09;Ada\n;Ece\n{NO};Can\n")
    done = izin("scrub", path, *QUESTION)
    assert (done.exit_code, "invalid-recipient" in done.stdout) == (0, True)
    assert (tmp_path / "list.scrubbed.csv").read_text("utf-8").splitlines()[1:] == [
        "5,55E+09;Ada;no;invalid-recipient",
        ";Ece;no;invalid-recipient",
        f"{NO};Can;no;opted-out",
    ]


def test_rows_of_other_widths_keep_their_cells(izin: Izin, tmp_path: Path):
    """A short row is filled, and what a long one has beyond the columns is behind ours."""
    path = a_file(tmp_path, f"telefon;ad;not\n{YES}\n{NO};Ece;x;y;z\n")
    assert izin("scrub", path, *QUESTION).exit_code == 0
    assert (tmp_path / "list.scrubbed.csv").read_text("utf-8").splitlines()[1:] == [
        f"{YES};;;yes;registered",
        f"{NO};Ece;x;no;opted-out;y;z",
    ]


def test_row_that_cannot_be_read_is_a_no(izin: Izin, small: SmallGate, tmp_path: Path):
    """It is not asked about, stands where it stood, and the command says so with its exit code."""
    path = a_file(tmp_path, f'telefon;ad\na"b;"c\n{YES};Ada\n"{YES};d\n')
    done = izin("scrub", path, *QUESTION)
    assert done.exit_code == 1
    assert (tmp_path / "list.scrubbed.csv").read_text("utf-8").splitlines()[1:] == [
        '"a""b;""c";;no;unreadable-row',
        f"{YES};Ada;yes;registered",
        f'"""{YES};d";;no;unreadable-row',
    ]
    assert [one["recipients"] for one in small.requests] == [[YES]]
    assert receipt_of(tmp_path / "list.scrubbed.csv")["counts"]["unreadable"] == 2


def test_file_full_of_unreadable_rows_is_refused(
    izin: Izin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They would all be in memory."""
    monkeypatch.setattr(scrubbing, "_MOST_UNREADABLE", 2)
    done = izin("scrub", a_file(tmp_path, "telefon;ad\n" + 'a"b;"c\n' * 3), *QUESTION)
    assert (done.exit_code, "cannot be read" in done.stderr) == (3, True)
    assert [one.name for one in tmp_path.iterdir()] == ["list.csv"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("telefon;e-posta\nthis;that\n", ()),
        ("telefon;e-posta\nthat;this\n", ("--type=EPOSTA",)),
        ("e-posta;ALICI\nthat;this\n", ()),
        ("no;telefon 2\nthat;this\n", ("--column=TELEFON_2",)),
    ],
)
def test_recipients_are_those_of_the_channel(
    izin: Izin, small: SmallGate, tmp_path: Path, content: str, words: tuple[str, ...]
):
    """By the name of the column, or as the caller says."""
    assert izin("scrub", a_file(tmp_path, content), *QUESTION, *words).exit_code == 0
    assert small.requests[0]["recipients"] == ["this"]


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        ("ad;not\na;b\n", (), "--column"),
        ("telefon;alıcı\na;b\n", (), "--column"),
        ("05550000001;b\na;b\n", (), "055***01"),
        ("05550000001;b\na;b\n", (), "a first row that names its columns"),
        ("telefon\na\n", ("--column=ad",), "no column"),
        ("telefon;ad\n", (), "no rows"),
        ("", (), "empty"),
        (b"PK\x03\x04 no workbook", (), "workbook"),
    ],
)
def test_file_that_cannot_be_used_exits_with_3(
    izin: Izin, tmp_path: Path, content: str | bytes, words: tuple[str, ...], said: str
):
    """With the remedy; no recipient is shown, and nothing is written."""
    done = izin("scrub", a_file(tmp_path, content), *QUESTION, *words)
    assert (done.exit_code, said in done.stderr) == (3, True), done.stderr
    assert "05550000001" not in done.output
    assert [one.name for one in tmp_path.iterdir()] == ["list.csv"]


@pytest.mark.parametrize(
    "words",
    [
        QUESTION[:2],
        (*QUESTION, "--recheck={file}"),
        ("--recheck={file}", "--class=invoice"),
        (*QUESTION, "--campaign= "),
        (*QUESTION, f"--basis={'x' * 201}"),
        (*QUESTION, "--out={file}"),
        (*QUESTION, "--out=list.xlsx"),
    ],
)
def test_options_that_do_not_go_together_exit_with_2(
    izin: Izin, tmp_path: Path, words: tuple[str, ...]
):
    """Nothing is asked."""
    path = a_file(tmp_path, "telefon\na\n")
    assert izin("scrub", path, *(one.format(file=path) for one in words)).exit_code == 2


def test_missing_options_are_named(izin: Izin, tmp_path: Path):
    """Those alone that are missing."""
    done = izin("scrub", a_file(tmp_path, "telefon\na\n"), "--type=MESAJ")
    assert done.exit_code == 2
    assert "it also needs --brand, --campaign" in done.stderr


def test_columns_are_named_so_that_no_name_is_taken(izin: Izin, tmp_path: Path):
    """A scrubbed file can be scrubbed, for another campaign; the first answers stay."""
    path = a_file(tmp_path, f"telefon\n{YES}\n{NO}\n")
    izin("scrub", path, *QUESTION)
    again = tmp_path / "list.scrubbed.csv"
    assert izin("scrub", again, *QUESTION, f"--out={tmp_path / 'two.csv'}").exit_code == 0
    first, second, _ = (tmp_path / "two.csv").read_text("utf-8").splitlines()
    assert first == "telefon;may_send;reason;may_send_2;reason_2"
    assert second == f"{YES};yes;registered;yes;registered"
    assert receipt_of(tmp_path / "two.csv")["columns"]["may_send"] == "may_send_2"


def test_receipt_says_what_was_asked_and_names_no_recipient(
    izin: Izin, small: SmallGate, tmp_path: Path
):
    """Files, question, counts, and a receipt of the gate for each batch."""
    small.said["0000"] = SaidOf(reason="not-registered", violation="H121")
    path = a_file(tmp_path, f"telefon\n{YES}\n{NO}\n0000\n")
    words = ("--recipient-type=tacir", "--class=survey", "--retailer=7", "--output=json")
    assert izin("scrub", path, *QUESTION, *words).exit_code == 2  # it is satisfaction-survey
    words = (words[0], "--class=satisfaction-survey", *words[2:])
    done = izin("scrub", path, *QUESTION, *words)
    (asked,) = small.requests
    assert (asked["receipt"], asked["message_class"]) == ("list", "satisfaction-survey")
    found = receipt_of(tmp_path / "list.scrubbed.csv")
    printed = json.loads(done.stdout)
    assert Path(printed.pop("file")).name == "list.scrubbed.csv"
    assert Path(printed.pop("receipt")).name == "list.scrubbed.csv.receipt.json"
    assert printed == found
    assert found["counts"] == {
        "rows": 3,
        "written": 3,
        "may_send": 1,
        "invalid": 1,
        "unreadable": 0,
        "reasons": {"registered": 1, "opted-out": 1, "invalid-recipient": 1},
    }
    assert found["question"]["retailer_code"] == 7
    assert (found["since"], found["as_of"]) == (None, small.token)
    assert found["id"] == found["batches"][0]["receipt"]
    assert found["source"]["name"] == "list.csv"
    assert datetime.fromisoformat(found["asked_at"]).tzinfo is not None
    assert YES not in json.dumps(found)


def test_who_opted_out_since_the_receipt_is_written(izin: Izin, small: SmallGate, tmp_path: Path):
    """Of those who were yes; asked again as of the receipt at least, under the same question."""
    path = a_file(tmp_path, f"ad;telefon\nAda;{YES}\nEce;{NO}\nCan;05550000003\n")
    izin("scrub", path, *QUESTION)
    scrubbed = tmp_path / "list.scrubbed.csv"
    receipt = receipt_of(scrubbed)
    small.said[YES] = SaidOf()
    done = izin("scrub", scrubbed, "--recheck", f"{scrubbed}.receipt.json")
    assert done.exit_code == 1, done.stderr
    stopped = tmp_path / "list.scrubbed.stopped.csv"
    assert stopped.read_text("utf-8") == (f"ad;telefon;may_send;reason\nAda;{YES};no;opted-out\n")
    asked = small.requests[-1]
    assert asked["recipients"] == [YES, "05550000003"]
    assert (asked["at_least"], asked["campaign"]) == (receipt["as_of"], "spring")
    assert receipt_of(stopped)["since"] == receipt["id"]


def test_scrubbed_file_without_a_change_stops_nobody(izin: Izin, tmp_path: Path):
    """Exit code 0 if nobody opted out."""
    izin("scrub", a_file(tmp_path, f"telefon\n{YES}\n"), *QUESTION)
    scrubbed = tmp_path / "list.scrubbed.csv"
    done = izin("scrub", scrubbed, "--recheck", f"{scrubbed}.receipt.json")
    assert (done.exit_code, done.stderr.strip()) == (0, "")
    stopped = tmp_path / "list.scrubbed.stopped.csv"
    assert stopped.read_text("utf-8") == "telefon;may_send;reason\n"


def test_receipt_that_is_none_exits_with_3(izin: Izin, tmp_path: Path):
    """A file that is something else."""
    path = a_file(tmp_path, f"telefon\n{YES}\n")
    done = izin("scrub", path, "--recheck", path)
    assert (done.exit_code, "receipt" in done.stderr) == (3, True)


def test_changed_scrubbed_file_is_asked_about_as_it_is(
    izin: Izin, small: SmallGate, tmp_path: Path
):
    """With a word about it; only a plain no is left out, however yes is written now."""
    izin("scrub", a_file(tmp_path, f"telefon\n{YES}\n{NO}\n"), *QUESTION)
    scrubbed = tmp_path / "list.scrubbed.csv"
    scrubbed.write_text(scrubbed.read_text("utf-8").replace("yes", "EVET"), "utf-8")
    done = izin("scrub", scrubbed, "--recheck", f"{scrubbed}.receipt.json")
    assert (done.exit_code, "not as it was" in done.stderr) == (0, True)
    assert small.requests[-1]["recipients"] == [YES]
    scrubbed.write_text(f"telefon\n{YES}\n", "utf-8")
    done = izin("scrub", scrubbed, "--recheck", f"{scrubbed}.receipt.json")
    assert (done.exit_code, "may_send" in done.stderr) == (3, True)


@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4), (422, 3), (302, 4)])
def test_refused_scrub_writes_nothing(
    izin: Izin, small: SmallGate, tmp_path: Path, status: int, code: int
):
    """Neither a file in part nor a receipt; an earlier result stays."""
    path = a_file(tmp_path, f"telefon\n{YES}\n")
    izin("scrub", path, *QUESTION)
    before = {one: one.read_bytes() for one in tmp_path.iterdir()}
    small.instead.append(problem(status, "what to do"))
    done = izin("scrub", path, *QUESTION)
    assert done.exit_code == code, done.stderr
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == before
    assert YES not in done.output


def test_result_that_cannot_be_written_exits_with_4(izin: Izin, tmp_path: Path):
    """With the option that names another place."""
    path = a_file(tmp_path, f"telefon\n{YES}\n")
    done = izin("scrub", path, *QUESTION, f"--out={tmp_path / 'no' / 'such.csv'}")
    assert (done.exit_code, "--out" in done.stderr) == (4, True)


def test_gate_without_receipts_is_no_gate_for_a_scrub(izin: Izin, small: SmallGate, tmp_path: Path):
    """For the answer to "why was this sent" would be missing."""
    verdict = {"recipient": YES, "may_send": True, "reason": "registered"}
    small.instead.append(JSONResponse({"as_of": "t", "receipt": None, "verdicts": [verdict]}))
    done = izin("scrub", a_file(tmp_path, f"telefon\n{YES}\n"), *QUESTION)
    assert (done.exit_code, "no receipt" in done.stderr) == (3, True)


@pytest.mark.parametrize("reason", ["stale", "unknown"])
def test_no_that_says_little_of_the_recipient_exits_with_1(
    izin: Izin, small: SmallGate, tmp_path: Path, reason: str
):
    """With what to do; the file is written all the same."""
    small.said[YES] = SaidOf(reason=reason)
    done = izin("scrub", a_file(tmp_path, f"telefon\n{YES}\n"), *QUESTION)
    assert (done.exit_code, f"{reason}: the" in done.stdout) == (1, True)
    assert f"{YES};no;{reason}" in (tmp_path / "list.scrubbed.csv").read_text("utf-8")


def test_token_of_a_newer_release_writes_nothing(izin: Izin, small: SmallGate, tmp_path: Path):
    """For it could not be asked again as of it."""
    verdict = {"recipient": YES, "may_send": True, "reason": "registered"}
    small.instead.append(JSONResponse({"as_of": "t", "receipt": "r", "verdicts": [verdict]}))
    done = izin("scrub", a_file(tmp_path, f"telefon\n{YES}\n"), *QUESTION)
    assert (done.exit_code, len(list(tmp_path.iterdir()))) == (3, 1)


def test_large_file_is_asked_about_in_batches(izin: Izin, small: SmallGate, tmp_path: Path):
    """Each of which the receipt names; the second file has the state of the latest."""
    rows = "".join(f"+90555{number:07}\n" for number in range(_BATCH + 1))
    assert izin("scrub", a_file(tmp_path, f"telefon\n{rows}"), *QUESTION).exit_code == 0
    found = receipt_of(tmp_path / "list.scrubbed.csv")
    assert [one["recipients"] for one in found["batches"]] == [_BATCH, 1]
    assert found["as_of"] == small.token


def a_workbook(path: Path) -> Path:
    """Return a workbook as a person has it: numbers, dates, formulas, a second sheet."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Liste"
    sheet.append(["Ad", "Telefon", "Tarih", "Not"])
    sheet.append(["Ada", 905550000001, datetime(2026, 1, 31, 9, 30), "x"])  # noqa: DTZ001  # a cell has no zone
    sheet.append(["Ece", NO, None, None])
    sheet["D3"].value = "=1+1"
    sheet["D3"].data_type = "s"
    sheet.append([])
    sheet.append(["Can", 5.55e9 + 3, None, 1.5])
    book.create_sheet("Başka").append(["telefon"])
    book.save(path)
    return path


def test_workbook_is_scrubbed_as_a_workbook(izin: Izin, small: SmallGate, tmp_path: Path):
    """Values, order and kinds of cells stay; a text that looks like a formula stays a text."""
    path = a_workbook(tmp_path / "liste.xlsx")
    done = izin("scrub", path, *QUESTION)
    assert done.exit_code == 0, done.stderr
    assert small.requests[0]["recipients"] == ["905550000001", NO, "5550000003"]
    sheet = openpyxl.load_workbook(tmp_path / "liste.scrubbed.xlsx")["Liste"]
    rows = list(sheet.iter_rows(values_only=True))
    assert rows == [
        ("Ad", "Telefon", "Tarih", "Not", "may_send", "reason"),
        ("Ada", 905550000001, datetime(2026, 1, 31, 9, 30), "x", "yes", "registered"),  # noqa: DTZ001  # as above
        ("Ece", NO, None, "=1+1", "no", "opted-out"),
        ("Can", 5550000003, None, 1.5, "yes", "registered"),
    ]
    assert sheet["D3"].data_type == "s"
    small.said["5550000003"] = SaidOf()
    scrubbed = tmp_path / "liste.scrubbed.xlsx"
    assert izin("scrub", scrubbed, "--recheck", f"{scrubbed}.receipt.json").exit_code == 1
    stopped = openpyxl.load_workbook(tmp_path / "liste.scrubbed.stopped.xlsx")["Liste"]
    assert [row[0] for row in stopped.iter_rows(values_only=True)] == ["Ad", "Can"]


def test_workbook_with_macros_becomes_one_without(izin: Izin, tmp_path: Path):
    """A name that promises macros would keep Excel from opening it."""
    path = a_workbook(tmp_path / "liste.xlsm")
    assert izin("scrub", path, *QUESTION, "--out=list.xlsm").exit_code == 2
    assert izin("scrub", path, *QUESTION).exit_code == 0
    assert (tmp_path / "liste.scrubbed.xlsx").exists()


def test_damaged_workbook_exits_with_3(izin: Izin, tmp_path: Path):
    """Cut in the middle, or a ZIP archive of something else."""
    whole = a_workbook(tmp_path / "liste.xlsx").read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        whole.replace(b"xl/workbook.xml", b"xl/werkbook.xml"),
    ):
        done = izin("scrub", a_file(tmp_path, damaged, "cut.xlsx"), *QUESTION)
        assert (done.exit_code, "workbook" in done.stderr) == (3, True), done.stderr


SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    '<dimension ref="A1"/><sheetData>'
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>'
    '<row r="2"><c r="A2" t="str"><f>"0"&amp;B2</f><v>05550000002</v></c>'
    '<c r="B2"><v>5550000002</v></c></row></sheetData>'
    '<extLst><ext uri="{CCE6A557-97BC-4b89-ADB6-D9C93CAAB3DF}"/></extLst></worksheet>'
)
SHARED = (
    '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    "<si><t>Telefon</t></si><si><r><t>N</t></r><r><t>o</t></r></si></sst>"
)


def excels_workbook(folder: Path) -> Path:
    """Return a workbook as Excel writes one: shared texts, and values beside formulas."""
    path = folder / "excel.xlsx"
    with ZipFile(a_workbook(folder / "own.xlsx")) as own, ZipFile(path, "w") as archive:
        for one in own.namelist():
            text = own.read(one).decode()
            if one == "xl/worksheets/sheet1.xml":
                text = SHEET
            elif one == "[Content_Types].xml":
                kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings"
                part = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}+xml"/>'
                text = text.replace("</Types>", f"{part}</Types>")
            archive.writestr(one, text)
        archive.writestr("xl/sharedStrings.xml", SHARED)
    return path


def test_formula_is_read_as_the_value_that_excel_showed(
    izin: Izin, small: SmallGate, tmp_path: Path
):
    """Whatever size the sheet says that it has."""
    assert izin("scrub", excels_workbook(tmp_path), *QUESTION).exit_code == 0
    assert small.requests[0]["recipients"] == [NO]
    (sheet,) = openpyxl.load_workbook(tmp_path / "excel.scrubbed.xlsx")
    assert list(sheet.iter_rows(values_only=True)) == [
        ("Telefon", "No", "may_send", "reason"),
        (NO, 5550000002, "no", "opted-out"),
    ]


def test_workbook_beyond_the_memory_is_refused(
    izin: Izin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The process that reads it ends, and nothing else."""
    monkeypatch.setattr("izin.producers.files.workbook._MOST_MEMORY", 2**20)
    done = izin("scrub", excels_workbook(tmp_path), *QUESTION)
    assert (done.exit_code, "CSV" in done.stderr) == (3, True)


def test_interrupted_scrub_leaves_nothing(
    izin: Izin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ctrl-C ends it with the exit code of that."""

    def recipients(_: object) -> Iterator[str]:
        yield YES
        raise KeyboardInterrupt

    monkeypatch.setattr(scrubbing._AskedRows, "recipients", recipients)
    done = izin("scrub", a_file(tmp_path, f"telefon\n{YES}\n"), *QUESTION)
    assert done.exit_code == 130
    assert [one.name for one in tmp_path.iterdir()] == ["list.csv"]
