"""``izin scrub``: a file written again with the gate's answers, and asked about once more.

docs/sending.md says what the law, the commands and the client do: its examples are run.
``izin may-send``: one or several recipients, and an exit code that a shell can rely on.
"""

import json
import re
import runpy
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import openpyxl
import pytest
from click.testing import Result
from starlette.responses import JSONResponse, Response
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.sending import scrubbing
from izin.cli.sending.scrub import _BATCH
from izin.consent import CLASSES, Channel, MessageKind
from izin.consent.may_send import PermissionReason
from izin.iys.errors import BusyError
from izin.local import free_port
from izin.producers.links import LinkKeys, OptOutLink
from tests.support.builders import API_KEY, BRAND
from tests.support.subscribers.page_clients import ROOT, blocks
from tests.support.subscribers.small_gate import SaidOf, SmallGate, problem

QUESTION = (f"--brand={BRAND}", "--type=MESAJ", "--campaign=spring")
YES, NO = "0555 000 00 01", "05550000002"


class Scrub:
    """Scrubs lists in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "list.scrubbed.csv"
        self.stopped = folder / "list.scrubbed.stopped.csv"

    def __call__(self, content: str | bytes, *words: str) -> Result:
        """Scrub a list with ``content``."""
        path = self.folder / "list.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.run(path, *QUESTION, *words)

    def run(self, *words: object) -> Result:
        return CliRunner().invoke(app, ["scrub", *map(str, words)])

    def recheck(self, *words: str, out: Path | None = None) -> Result:
        """Ask again about what was scrubbed."""
        out = out or self.out
        return self.run(out, "--recheck", f"{out}.receipt.json", *words)

    @property
    def lines(self) -> list[str]:
        return self.out.read_text("utf-8").splitlines()

    def receipt(self, path: Path | None = None) -> dict[str, Any]:
        """Return the receipt of a scrubbed file."""
        return json.loads(Path(f"{path or self.out}.receipt.json").read_text())

    @property
    def names(self) -> list[str]:
        return sorted(one.name for one in self.folder.iterdir())


@pytest.fixture(autouse=True)
def environment(small: SmallGate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the small gate, which refuses some recipients, and knows one for none."""
    monkeypatch.setenv("IZIN_GATE_URL", small.url)
    monkeypatch.setenv("IZIN_API_KEY", API_KEY)
    small.said |= {NO: SaidOf(), SECOND: SaidOf(), "ece@example.com": SaidOf()}
    small.said[NOBODYS] = SaidOf(violation="H121")


@pytest.fixture
def scrub(tmp_path: Path) -> Scrub:
    """Return what asks the small gate."""
    return Scrub(tmp_path)


def test_scrubbed_file_is_the_file_with_two_columns_more(scrub: Scrub):
    """Rows and columns in their order, and every cell as it was."""
    done = scrub(f'ad,telefon,not\nAda,{YES},=1+1\nEce,{NO},"a,b"\n')
    assert done.exit_code == 0, done.stderr
    assert scrub.out.read_text("utf-8") == (
        f"ad,telefon,not,may_send,reason\nAda,{YES},=1+1,yes,registered\n"
        f'Ece,{NO},"a,b",no,opted-out\n'
    )
    assert scrub.names == ["list.csv", "list.scrubbed.csv", "list.scrubbed.csv.receipt.json"]


@pytest.mark.parametrize(("only", "row"), [("yes", "Ada"), ("no", "Ece")])
def test_rows_of_one_answer_are_written_alone(scrub: Scrub, only: str, row: str):
    """A list to send to; the receipt counts all that were asked about."""
    done = scrub(f"ad,telefon\nAda,{YES}\nEce,{NO}\n", "--only", only)
    assert done.exit_code == 0, done.stderr
    assert [one.split(",")[0] for one in scrub.lines] == ["ad", row]
    counts = scrub.receipt()["counts"]
    assert (counts["rows"], counts["written"], counts["may_send"]) == (2, 1, 1)
    assert scrub.recheck("--only", "yes").exit_code == 2


def test_links_stand_beside_those_that_may_be_sent_to(
    scrub: Scrub, monkeypatch: pytest.MonkeyPatch
):
    """Each opens to its own recipient; without a secret nothing is written."""
    lines = f"ad,telefon,opt_out\nAda,{YES},x\nEce,{NO},\n"
    assert scrub(lines, "--links").exit_code == 4
    assert scrub.names == ["list.csv"]
    secret = "a secret of 32 characters or more"
    monkeypatch.setenv("IZIN_LINK_SECRETS", json.dumps([secret]))
    assert scrub(lines, "--links").exit_code == 0
    header, ada, ece = (line.split(",") for line in scrub.lines)
    assert (header[-1], ece[-1]) == ("opt_out_2", "")
    link = OptOutLink.opened(LinkKeys([secret]), ada[-1].rpartition("/")[2])
    assert (link.channel, link.recipients[Channel.MESAJ]) == (Channel.MESAJ, YES)
    assert scrub.recheck("--links").exit_code == 2


EMAIL_QUESTION = (f"--brand={BRAND}", "--type=EPOSTA", "--campaign=spring", "--reject-links")
MadeLinks = list[list[str]]


@pytest.fixture
def made_links(monkeypatch: pytest.MonkeyPatch) -> MadeLinks:
    """Have links made without İYS: none for those who are gone there. Returns what was asked."""
    asked: MadeLinks = []

    async def make(recipients: Sequence[str]) -> Mapping[str, tuple[str, str]]:
        asked.append(list(recipients))
        if "lost@example.com" in recipients:
            raise BusyError("reject_links was not answered")
        gone = [one for one in recipients if one.startswith("gone")]
        links = {one: (f"https://iys.example.com/{one}", "") for one in recipients}
        return links | dict.fromkeys(gone, ("", "H568"))

    @asynccontextmanager
    async def reject_links(_question: object) -> AsyncIterator[object]:
        yield make

    monkeypatch.setattr("izin.cli.sending.reject_links.reject_links", reject_links)
    return asked


def scrub_emails(scrub: Scrub, *recipients: str, words: Sequence[str] = ()) -> Result:
    """Scrub a list of e-mail addresses, with reject links."""
    path = scrub.folder / "list.csv"
    path.write_text("\n".join(["no,e-posta", *(f"1,{one}" for one in recipients)]) + "\n")
    return scrub.run(path, *EMAIL_QUESTION, *words)


def test_reject_links_stand_beside_those_that_may_be_sent_to(
    scrub: Scrub, small: SmallGate, made_links: MadeLinks
):
    """A recipient without a consent at İYS is no, where the yes rested on one; of an exempt message
    it does not. Nobody is asked about to whom nothing is sent.
    """
    small.said["gone-exempt@example.com"] = SaidOf(may_send=True, reason="exempt")
    done = scrub_emails(
        *(scrub, "Ada@example.com", "ece@example.com", "gone@example.com"),
        "gone-exempt@example.com",
    )
    assert done.exit_code == 0, done.stderr
    assert scrub.lines == [
        "no,e-posta,may_send,reason,reject_link,reject_code",
        "1,Ada@example.com,yes,registered,https://iys.example.com/Ada@example.com,",
        "1,ece@example.com,no,opted-out,,",
        "1,gone@example.com,no,not-registered,,H568",
        "1,gone-exempt@example.com,yes,exempt,,H568",
    ]
    assert made_links == [["Ada@example.com", "gone@example.com", "gone-exempt@example.com"]]
    counts = scrub.receipt()["counts"]
    assert (counts["may_send"], counts["reject_codes"]) == (2, {"H568": 2})
    assert counts["reasons"] == {
        "registered": 1,
        "opted-out": 1,
        "not-registered": 1,
        "exempt": 1,
    }
    assert "no reject link" in done.stdout


def test_reject_links_are_made_batch_by_batch(
    scrub: Scrub, small: SmallGate, made_links: MadeLinks, monkeypatch: pytest.MonkeyPatch
):
    """Rows stay in their order, with their own links, also where one stands twice."""
    monkeypatch.setattr("izin.cli.sending.scrub._BATCH", 100)
    people = [f"p{number:03}@example.com" for number in range(250)]
    small.said |= {one: SaidOf() for one in people[::7]}
    given = [*people, people[1], people[249]]
    assert scrub_emails(scrub, *given).exit_code == 0
    cells = [line.split(",") for line in scrub.lines[1:]]
    assert [one[1] for one in cells] == given
    for _, recipient, may_send, _, link, code in cells:
        wanted = f"https://iys.example.com/{recipient}" if may_send == "yes" else ""
        assert (link, code) == (wanted, "")
    assert len(made_links) == 3


def test_list_to_send_to_has_nobody_without_a_consent_at_iys(scrub: Scrub, made_links: MadeLinks):
    """With ``--only yes`` who has just opted out at İYS is not in it."""
    done = scrub_emails(scrub, "ada@example.com", "gone@example.com", words=("--only=yes",))
    assert done.exit_code == 0, done.stderr
    assert [one.split(",")[1] for one in scrub.lines] == ["e-posta", "ada@example.com"]
    assert len(made_links) == 1


def test_reject_links_are_for_email_alone(scrub: Scrub):
    """İYS has none for text messages and calls: nothing is written, and nothing needs a ledger."""
    refused = scrub(f"telefon\n{YES}\n", "--reject-links")
    assert refused.exit_code == 3
    assert "for e-mail alone" in " ".join(refused.stderr.split())
    assert scrub.names == ["list.csv"]


def test_nothing_is_written_where_iys_makes_no_links(scrub: Scrub, made_links: MadeLinks):
    """A recheck makes none of its own."""
    assert scrub_emails(scrub, "ada@example.com", "lost@example.com").exit_code == 4
    assert scrub.names == ["list.csv"]
    assert scrub(f"telefon\n{YES}\n").exit_code == 0
    assert scrub.recheck("--reject-links").exit_code == 2
    assert len(made_links) == 1


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
def test_encoding_delimiter_and_line_ends_are_kept(scrub: Scrub, before: bytes):
    """Of what was there, every byte is there."""
    assert scrub(before).exit_code == 0
    end, delimiter = (b"\r\n" if b"\r\n" in before else b"\n"), (b"\t" if b"\t" in before else b";")
    said, header = NO.encode(), b"telefon"
    expected = before.replace(header + end, delimiter.join((header, b"may_send", b"reason")) + end)
    expected = expected.replace(said + end, delimiter.join((said, b"no", b"opted-out")) + end)
    assert scrub.out.read_bytes() == expected


def test_row_without_a_valid_recipient_says_so(scrub: Scrub, small: SmallGate):
    """In place of the gate's reason, which is of a recipient that nobody knows; exit code 0."""
    small.said |= dict.fromkeys(("5,55E+09", ""), SaidOf(reason="register-first", violation="H121"))
    done = scrub(f"telefon;ad\n5,55E+09;Ada\n;Ece\n{NO};Can\n")
    assert (done.exit_code, "invalid-recipient" in done.stdout) == (0, True)
    assert scrub.lines[1:] == [
        "5,55E+09;Ada;no;invalid-recipient",
        ";Ece;no;invalid-recipient",
        f"{NO};Can;no;opted-out",
    ]


def test_rows_of_other_widths_keep_their_cells(scrub: Scrub):
    """A short row is filled, and what a long one has beyond the columns is behind ours."""
    assert scrub(f"telefon;ad;not\n{YES}\n{NO};Ece;x;y;z\n").exit_code == 0
    assert scrub.lines[1:] == [f"{YES};;;yes;registered", f"{NO};Ece;x;no;opted-out;y;z"]


def test_row_that_cannot_be_read_is_a_no(scrub: Scrub, small: SmallGate):
    """It is not asked about, stands where it stood, and the command says so with its exit code."""
    assert scrub(f'telefon;ad\na"b;"c\n{YES};Ada\n"{YES};d\n').exit_code == 1
    assert scrub.lines[1:] == [
        '"a""b;""c";;no;unreadable-row',
        f"{YES};Ada;yes;registered",
        f'"""{YES};d";;no;unreadable-row',
    ]
    assert [one["recipients"] for one in small.requests] == [[YES]]
    assert scrub.receipt()["counts"]["unreadable"] == 2


def test_file_full_of_unreadable_rows_is_refused(scrub: Scrub, monkeypatch: pytest.MonkeyPatch):
    """They would all be in memory."""
    monkeypatch.setattr(scrubbing, "_MOST_UNREADABLE", 2)
    done = scrub("telefon;ad\n" + 'a"b;"c\n' * 3)
    assert (done.exit_code, "cannot be read" in done.stderr) == (3, True)
    assert scrub.names == ["list.csv"]


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
    scrub: Scrub, small: SmallGate, content: str, words: tuple[str, ...]
):
    """By the name of the column, or as the caller says."""
    assert scrub(content, *words).exit_code == 0
    assert small.requests[0]["recipients"] == ["this"]


@pytest.mark.parametrize(
    ("content", "words", "code", "said"),
    [
        ("ad;not\na;b\n", (), 3, "--column"),
        ("telefon;alıcı\na;b\n", (), 3, "--column"),
        ("05550000001;b\na;b\n", (), 3, "055***01"),
        ("05550000001;b\na;b\n", (), 3, "a first row that names its columns"),
        ("telefon\na\n", ("--column=ad",), 3, "no column"),
        ("telefon;ad\n", (), 3, "no rows"),
        ("", (), 3, "empty"),
        (b"PK\x03\x04 no workbook", (), 3, "workbook"),
        (f"telefon\n{YES}\n", ("--out=no/such.csv",), 4, "--out"),
    ],
)
def test_file_that_cannot_be_used_or_written_is_named(
    scrub: Scrub, content: str | bytes, words: tuple[str, ...], code: int, said: str
):
    """With the remedy; no recipient is shown, and nothing is written."""
    done = scrub(content, *words)
    assert (done.exit_code, said in done.stderr) == (code, True), done.stderr
    assert "05550000001" not in done.output
    assert scrub.names == ["list.csv"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (QUESTION[1:2], "it also needs --brand, --campaign"),
        ((*QUESTION, "--recheck={file}"), ""),
        (("--recheck={file}", "--class=invoice"), ""),
        ((*QUESTION, "--campaign= "), ""),
        ((*QUESTION, f"--basis={'x' * 201}"), ""),
        ((*QUESTION, "--out={file}"), ""),
        ((*QUESTION, "--out=list.xlsx"), ""),
    ],
)
def test_options_that_do_not_go_together_exit_with_2(
    scrub: Scrub, tmp_path: Path, words: tuple[str, ...], said: str
):
    """Nothing is asked; missing ones alone are named."""
    path = tmp_path / "list.csv"
    path.write_text("telefon\na\n", "utf-8")
    done = scrub.run(path, *(one.format(file=path) for one in words))
    assert (done.exit_code, said in done.stderr) == (2, True)


def test_columns_are_named_so_that_no_name_is_taken(scrub: Scrub, tmp_path: Path):
    """A scrubbed file can be scrubbed, for another campaign; the first answers stay."""
    scrub(f"telefon\n{YES}\n{NO}\n")
    two = tmp_path / "two.csv"
    assert scrub.run(scrub.out, *QUESTION, f"--out={two}").exit_code == 0
    first, second, _ = two.read_text("utf-8").splitlines()
    assert first == "telefon;may_send;reason;may_send_2;reason_2"
    assert second == f"{YES};yes;registered;yes;registered"
    assert scrub.receipt(two)["columns"]["may_send"] == "may_send_2"


def test_receipt_says_what_was_asked_and_names_no_recipient(scrub: Scrub, small: SmallGate):
    """Files, question, counts, and a receipt of the gate for each batch."""
    small.said["0000"] = SaidOf(reason="not-registered", violation="H121")
    content = f"telefon\n{YES}\n{NO}\n0000\n"
    words = ("--recipient-type=tacir", "--retailer=7", "--output=json")
    assert scrub(content, *words, "--class=survey").exit_code == 2  # it is satisfaction-survey
    done = scrub(content, *words, "--class=satisfaction-survey")
    (asked,) = small.requests
    assert (asked["receipt"], asked["message_class"]) == ("list", "satisfaction-survey")
    found = scrub.receipt()
    printed = json.loads(done.stdout)
    assert [Path(printed.pop(one)).name for one in ("file", "receipt")] == scrub.names[1:]
    assert printed == found
    assert found["counts"] == {
        "rows": 3,
        "written": 3,
        "may_send": 1,
        "invalid": 1,
        "unreadable": 0,
        "reasons": {"registered": 1, "opted-out": 1, "invalid-recipient": 1},
        "reject_codes": {},
    }
    assert found["question"]["retailer_code"] == 7
    assert (found["since"], found["as_of"]) == (None, small.token)
    assert found["id"] == found["batches"][0]["receipt"]
    assert found["source"]["name"] == "list.csv"
    assert datetime.fromisoformat(found["asked_at"]).tzinfo is not None
    assert YES not in json.dumps(found)


def test_who_opted_out_since_the_receipt_is_written(scrub: Scrub, small: SmallGate):
    """Of those who were yes; asked again as of the receipt at least, under the same question."""
    scrub(f"ad;telefon\nAda;{YES}\nEce;{NO}\nCan;05550000003\n")
    receipt = scrub.receipt()
    small.said[YES] = SaidOf()
    done = scrub.recheck()
    assert done.exit_code == 1, done.stderr
    assert scrub.stopped.read_text("utf-8") == (
        f"ad;telefon;may_send;reason\nAda;{YES};no;opted-out\n"
    )
    asked = small.requests[-1]
    assert asked["recipients"] == [YES, "05550000003"]
    assert (asked["at_least"], asked["campaign"]) == (receipt["as_of"], "spring")
    assert scrub.receipt(scrub.stopped)["since"] == receipt["id"]


def test_scrubbed_file_without_a_change_stops_nobody(scrub: Scrub):
    """Exit code 0 if nobody opted out."""
    scrub(f"telefon\n{YES}\n")
    done = scrub.run(scrub.out, "--recheck", f"{scrub.out}.receipt.json")
    assert (done.exit_code, done.stderr.strip()) == (0, "")
    assert scrub.stopped.read_text("utf-8") == "telefon;may_send;reason\n"


def test_receipt_that_is_none_exits_with_3(scrub: Scrub):
    """A file that is something else."""
    scrub(f"telefon\n{YES}\n")
    done = scrub.run(scrub.out, "--recheck", scrub.folder / "list.csv")
    assert (done.exit_code, "receipt" in done.stderr) == (3, True)


def test_changed_scrubbed_file_is_asked_about_as_it_is(scrub: Scrub, small: SmallGate):
    """With a word about it; only a plain no is left out, however yes is written now."""
    scrub(f"telefon\n{YES}\n{NO}\n")
    scrub.out.write_text(scrub.out.read_text("utf-8").replace("yes", "EVET"), "utf-8")
    done = scrub.recheck()
    assert (done.exit_code, "not as it was" in done.stderr) == (0, True)
    assert small.requests[-1]["recipients"] == [YES]
    scrub.out.write_text(f"telefon\n{YES}\n", "utf-8")
    done = scrub.recheck()
    assert (done.exit_code, "may_send" in done.stderr) == (3, True)


VERDICT = {"recipient": YES, "may_send": True, "reason": "registered"}


@pytest.mark.parametrize(
    ("instead", "code", "said"),
    [
        *((problem(status, "what to do"), code, "") for status, code in ((401, 4), (403, 4))),
        *((problem(status, "what to do"), code, "") for status, code in ((422, 3), (302, 4))),
        (JSONResponse({"as_of": "t", "receipt": None, "verdicts": [VERDICT]}), 3, "no receipt"),
        (JSONResponse({"as_of": "t", "receipt": "r", "verdicts": [VERDICT]}), 3, ""),
    ],
    ids=["401", "403", "422", "302", "no receipt", "token of a newer release"],
)
def test_refused_scrub_writes_nothing(
    scrub: Scrub, small: SmallGate, instead: Response, code: int, said: str
):
    """Neither a file in part nor a receipt; an earlier result stays. Without a receipt the answer
    to "why was this sent" would be missing, and a token that cannot be read cannot be asked as of.
    """
    scrub(f"telefon\n{YES}\n")
    before = {one: one.read_bytes() for one in scrub.folder.iterdir()}
    small.instead.append(instead)
    done = scrub(f"telefon\n{YES}\n")
    assert (done.exit_code, said in done.stderr) == (code, True), done.stderr
    assert {one: one.read_bytes() for one in scrub.folder.iterdir()} == before
    assert YES not in done.output


@pytest.mark.parametrize("reason", ["stale", "unknown"])
def test_no_that_says_little_of_the_recipient_exits_with_1(
    scrub: Scrub, small: SmallGate, reason: str
):
    """With what to do; the file is written all the same."""
    small.said[YES] = SaidOf(reason=reason)
    done = scrub(f"telefon\n{YES}\n")
    assert (done.exit_code, f"{reason}: the" in done.stdout) == (1, True)
    assert scrub.lines[1:] == [f"{YES};no;{reason}"]


def test_large_file_is_asked_about_in_batches(scrub: Scrub, small: SmallGate):
    """Each of which the receipt names; the second file has the state of the latest."""
    rows = "".join(f"+90555{number:07}\n" for number in range(_BATCH + 1))
    assert scrub(f"telefon\n{rows}").exit_code == 0
    found = scrub.receipt()
    assert [one["recipients"] for one in found["batches"]] == [_BATCH, 1]
    assert found["as_of"] == small.token


def a_workbook(path: Path) -> Path:
    """Return a workbook as a person has it: numbers, dates, formulas, a second sheet."""
    book = openpyxl.Workbook()
    sheet = book.active
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


def test_workbook_is_scrubbed_as_a_workbook(scrub: Scrub, small: SmallGate, tmp_path: Path):
    """Values, order and kinds of cells stay; a text that looks like a formula stays a text."""
    done = scrub.run(a_workbook(tmp_path / "liste.xlsx"), *QUESTION)
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
    assert scrub.recheck(out=tmp_path / "liste.scrubbed.xlsx").exit_code == 1
    stopped = openpyxl.load_workbook(tmp_path / "liste.scrubbed.stopped.xlsx")["Liste"]
    assert [row[0] for row in stopped.iter_rows(values_only=True)] == ["Ad", "Can"]


def test_workbook_with_macros_becomes_one_without(scrub: Scrub, tmp_path: Path):
    """A name that promises macros would keep Excel from opening it."""
    path = a_workbook(tmp_path / "liste.xlsm")
    assert scrub.run(path, *QUESTION, "--out=list.xlsm").exit_code == 2
    assert scrub.run(path, *QUESTION).exit_code == 0
    assert (tmp_path / "liste.scrubbed.xlsx").exists()


def test_damaged_workbook_exits_with_3(scrub: Scrub, tmp_path: Path):
    """Cut in the middle, or a ZIP archive of something else."""
    path = a_workbook(tmp_path / "liste.xlsx")
    whole = path.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        whole.replace(b"xl/workbook.xml", b"xl/werkbook.xml"),
    ):
        path.write_bytes(damaged)
        done = scrub.run(path, *QUESTION)
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
    scrub: Scrub, small: SmallGate, tmp_path: Path
):
    """Whatever size the sheet says that it has."""
    assert scrub.run(excels_workbook(tmp_path), *QUESTION).exit_code == 0
    assert small.requests[0]["recipients"] == [NO]
    (sheet,) = openpyxl.load_workbook(tmp_path / "excel.scrubbed.xlsx")
    assert list(sheet.iter_rows(values_only=True)) == [
        ("Telefon", "No", "may_send", "reason"),
        (NO, 5550000002, "no", "opted-out"),
    ]


def test_workbook_beyond_the_memory_is_refused(
    scrub: Scrub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The process that reads it ends, and nothing else."""
    monkeypatch.setattr("izin.producers.files.workbook._MOST_MEMORY", 2**20)
    done = scrub.run(excels_workbook(tmp_path), *QUESTION)
    assert (done.exit_code, "CSV" in done.stderr) == (3, True)


def test_interrupted_scrub_leaves_nothing(
    scrub: Scrub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ctrl-C ends it with the exit code of that."""

    def recipients(_: object) -> Iterator[str]:
        yield YES
        raise KeyboardInterrupt

    monkeypatch.setattr(scrubbing._AskedRows, "recipients", recipients)
    assert scrub(f"telefon\n{YES}\n").exit_code == 130
    assert scrub.names == ["list.csv"]


PAGE = (ROOT / "docs" / "sending.md").read_text("utf-8")
FIRST, SECOND = "0555 000 00 01", "0555 000 00 02"
PROGRAMS = {
    "send_sms.py": f"send {FIRST} 20 % off\nleave out {SECOND} opted-out\n",
    "email_list.py": "send ada@example.com registered\nleave out ece@example.com opted-out\n",
}
PERMITTING = {PermissionReason.EXEMPT, PermissionReason.REGISTERED}


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_page_has_every_answer_in_the_order_of_the_law():
    """Each reason once, with its yes or no."""
    rows = rows_of("The answer")
    assert [row[2] for row in rows] == [str(one) for one in PermissionReason]
    assert {row[2] for row in rows if row[1] == "yes"} == PERMITTING
    assert {row[1] for row in rows} == {"yes", "no"}


def test_page_has_an_example_of_every_class():
    """And says of each whether it needs a consent."""
    rows = rows_of("Which class a message has")
    assert [row[1] for row in rows] == [str(one) for one in CLASSES]
    needed = dict(zip(MessageKind, ("needed", "not needed"), strict=True))
    assert [row[2] for row in rows] == [needed[one.kind] for one in CLASSES.values()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_of_the_page_sends_only_where_it_may(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """As it stands there."""
    (tmp_path / name).write_text(blocks("sending.md")[name], "utf-8")
    runpy.run_path(str(tmp_path / name), run_name="__main__")
    assert capsys.readouterr().out == PROGRAMS[name]


def test_request_of_the_page_gets_the_answer_of_the_page(small: SmallGate):
    """The curl command, sent as curl sends it."""
    (found,) = re.findall(r"```sh\n(curl .*?)```\n+```json\n(.*?)```", PAGE, re.DOTALL)
    command, answer = found
    text = command.replace("\\\n", " ").replace("$IZIN_API_KEY", API_KEY)
    words = shlex.split(text.replace("$IZIN_GATE_URL", small.url))
    options = list(zip(words[2::2], words[3::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in options if option == "-H")
    (data,) = (value for option, value in options if option == "-d")
    got: dict[str, Any] = httpx.post(words[1], content=data, headers=headers).json()
    assert got | {"as_of": "…"} == json.loads(answer)


def test_commands_of_the_page_do_what_it_says(
    small: SmallGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In their order: the list is made, and somebody opts out before it is sent."""
    monkeypatch.chdir(tmp_path)
    Path("customers.csv").write_text(f"telefon\n{FIRST}\n{SECOND}\n", "utf-8")
    scrub, since = re.findall(r"^izin (scrub .*)$", PAGE, re.MULTILINE)
    assert CliRunner().invoke(app, shlex.split(scrub)).exit_code == 0
    assert Path("customers.scrubbed.csv.receipt.json").exists()
    assert CliRunner().invoke(app, shlex.split(since)).exit_code == 0
    small.said[FIRST] = SaidOf()
    assert CliRunner().invoke(app, shlex.split(since)).exit_code == 1
    assert FIRST in Path("customers.scrubbed.stopped.csv").read_text("utf-8")
    sms, email = re.findall(r"^izin (may-send .*?)(?: && echo send)?$", PAGE, re.MULTILINE)
    assert CliRunner().invoke(app, shlex.split(sms)).exit_code == 1
    assert CliRunner().invoke(app, shlex.split(email)).exit_code == 0
    assert small.requests[-1]["message_class"] == "delivery"


ASK = ("may-send", f"--brand={BRAND}", "--type=MESAJ")
NOBODYS = "0555 000 00 03"


@pytest.mark.parametrize(
    ("recipients", "code"), [((FIRST,), 0), ((FIRST, NOBODYS), 1), ((NOBODYS,), 1)]
)
def test_exit_code_is_0_only_if_all_may_be_sent_to(recipients: tuple[str, ...], code: int):
    """So that a shell sends after ``&&`` only then."""
    done = CliRunner().invoke(app, [*ASK, *recipients])
    assert done.exit_code == code
    assert "registered" in done.stdout if FIRST in recipients else "opted-out" in done.stdout


def test_json_has_the_answer_as_the_gate_gives_it(small: SmallGate):
    """With the token, and the receipt that was asked for."""
    words = ("--receipt=decision", "--class=invoice", "--basis=order 7", "--at-least=token")
    found = json.loads(
        CliRunner().invoke(app, [*ASK, FIRST, NOBODYS, *words, "--output=json"]).stdout
    )
    assert found["as_of"] == small.token
    assert found["receipt"] is not None
    assert found["verdicts"] == [
        {"recipient": FIRST, "may_send": True, "reason": "registered", "violation": None},
        {"recipient": NOBODYS, "may_send": False, "reason": "opted-out", "violation": "H121"},
    ]
    (asked,) = small.requests
    assert (asked["basis"], asked["at_least"]) == ("order 7", "token")


@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4), (422, 3), (302, 4)])
def test_refused_question_prints_no_answer(small: SmallGate, status: int, code: int):
    """What the gate says is on standard error."""
    small.instead.append(problem(status, "what to do"))
    done = CliRunner().invoke(app, [*ASK, FIRST])
    assert (done.exit_code, done.stdout) == (code, "")


def test_too_many_recipients_are_for_a_scrub():
    """Wrong usage, with the command for it."""
    done = CliRunner().invoke(app, [*ASK, *[FIRST] * 1001])
    assert (done.exit_code, "izin scrub" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("IZIN_API_KEY", None, "IZIN_API_KEY"),
        ("IZIN_API_KEY", "", "izin keys create"),
        ("IZIN_GATE_URL", "http://user:x@127.0.0.1", "IZIN_GATE_URL"),
        ("IZIN_PRODUCTION", "true", "https://"),
        ("IZIN_GATE_CA_FILE", "/no/such/file", "ca_file"),
    ],
)
def test_wrong_setting_exits_with_4(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, said: str
):
    """And names it."""
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, [*ASK, FIRST])
    assert (done.exit_code, said in done.stderr) == (4, True), done.stderr


def test_unreachable_gate_exits_with_4(
    monkeypatch: pytest.MonkeyPatch,
):
    """After the time in which it is asked again."""
    monkeypatch.setenv("IZIN_GATE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("izin.cli.sending.may_send._WITHIN", timedelta(milliseconds=200))
    done = CliRunner().invoke(app, [*ASK, FIRST])
    assert (done.exit_code, "send nothing" in done.stderr) == (4, True)
