"""Files as CRMs write them, valid and invalid.

An import that stops is repeated from where it was, whenever that is.

Ten thousand hostile events at the endpoint: no crash, and no neighbour harmed.

No row stops its neighbours, and no file the importer.

Exports as people have them: every row is read as a person would, or refused with a reason.

A short run of malformed files; the long one is ``make chaos STAGE=files``.
"""

import os
import random
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from benchmarks.results import publish
from izin.consent import ConsentEvent, SourceError, Violation
from izin.kafka.tables.brand_directory import BrandDirectory, StoppedBrandError, UnknownBrandError
from izin.producers.files import (
    ColumnChoices,
    ColumnsError,
    Import,
    ImportReport,
    Start,
    UnusableFileError,
    import_file,
    importer,
    workbook,
)
from izin.producers.files.delimited import examine, header, rows
from izin.producers.files.importer import journal_of
from izin.producers.files.report import ImportRunningError, ReportRows, UnwritableReportError
from izin.producers.mapping.choices import ColumnChoiceError
from izin.producers.mapping.dates import DateRules, ExcelEpoch
from izin.producers.mapping.field_names import violation
from izin.producers.mapping.records import AcceptedRecord
from izin.schemas.codec import Codec
from izin.streams.guard import AdmittedRecord, Guard
from tests.chaos.files import __main__ as campaign
from tests.chaos.files.__main__ import FilesVerdict, report
from tests.support.builders import BRAND, EMAIL, NOON, PHONE
from tests.support.hostile import nasty_export
from tests.support.hostile.files import (
    HEADER as HOSTILE_HEADER,
    characters as characters_of_rows,
    hostile_files,
    hostile_rows,
)
from tests.support.hostile.inputs import FORM, JSON, HostileInputs, characters
from tests.support.hostile.nasty_export import ExpectedConsent, NastyTruth
from tests.support.order.harness import fetched
from tests.unit.producers.conftest import NOW, FakePublisher, ImportOf, reported

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


REFERRED = f"{HEADER};REFERANS"
TAIL = f"HS_WEB;02.03.2026 12:00:00;{BRAND}"
ROWS = [
    *(f"0555 000 00 {number:02};SMS;{number % 2};{TAIL};R{number}" for number in range(5)),
    f"12;SMS;1;{TAIL};bad",
    "too;few",
    f"12;SMS;RET;{TAIL};lost",
    f"0555 000 00 20;SMS;RET;HS_WEB;;{BRAND};undated",
    *(f"0555 000 00 {number:02};SMS;1;{TAIL};R{number}" for number in range(10, 13)),
]
VARYING = {"seconds", "path", "report_path", "resumed_after"}


class KilledError(BaseException):
    """The process ends here."""


class Kill:
    """Ends an import at its so-maniest effect: an event that is sent, or a write to the disk."""

    def __init__(self) -> None:
        self.left = -1

    def effect(self) -> None:
        if self.left == 0:
            raise KilledError
        self.left -= 1


class MortalPublisher(FakePublisher):
    """Dies when its time has come, with the event on the broker and nobody who knows."""

    def __init__(self, clock: Callable[[], datetime], kill: Kill) -> None:
        super().__init__(clock)
        self._kill = kill

    def send(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # as the other's
        self._kill.effect()
        super().send(*args, **options)
        self._kill.effect()


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kill]:
    """Give what ends an import; it notes how far it is every third row."""
    kill = Kill()
    monkeypatch.setattr(importer, "CHECKPOINT_ROWS", 3)
    monkeypatch.setattr(os, "fsync", lambda _number: kill.effect())
    return kill


class Runs:
    """Imports of one file, each later than the one before."""

    def __init__(self, path: Path, directory: BrandDirectory, kill: Kill) -> None:
        self.path = path
        self.now = NOW
        self.publisher = MortalPublisher(lambda: self.now, kill)
        self.kill = kill
        self._directory = directory
        self.begin()

    def begin(self) -> None:
        """Forget all imports, and how late it is: past their term consents count apart."""
        self.now = NOW
        for one in self.path.parent.iterdir():
            one.unlink()
        self.path.write_text("\n".join((REFERRED, *ROWS)), "utf-8")
        self.publisher.events.clear()

    def __call__(self, **given: Any) -> ImportReport:  # noqa: ANN401  # options of any type
        self.now += timedelta(hours=1)
        how = Import(resumable=True, **given)
        return import_file(
            self.path, self.publisher, self._directory, clock=lambda: self.now, how=how
        )

    def killed(self, effects: int) -> None:
        """Let an import end after so many effects, and no later one."""
        self.kill.left = effects
        with pytest.raises(KilledError):
            self()
        self.kill.left = -1

    @property
    def ids(self) -> list[str]:
        return [one.event_id for one in self.publisher.events]


@pytest.fixture
def runs(tmp_path: Path, directory: BrandDirectory, kill: Kill) -> Runs:
    return Runs(tmp_path / "export.csv", directory, kill)


def found(report: ImportReport) -> tuple[dict[str, object], bytes]:
    """Return the counts of an import and the bytes of its report."""
    counts = {name: one for name, one in asdict(report).items() if name not in VARYING}
    return counts, report.report_path.read_bytes()


def content(runs: Runs) -> dict[str, ConsentEvent]:
    """Return the events by id; all of one import have one receipt."""
    events = runs.publisher.events
    assert len({one.received_at for one in events}) == 1
    return {one.event_id: replace(one, received_at=None) for one in events}


def test_import_killed_anywhere_ends_as_if_it_never_died(
    tmp_path: Path, directory: BrandDirectory, kill: Kill
):
    """At each event and each write: same events, counts and report, and no file too many."""
    folder = tmp_path / "killed"
    for one in (tmp_path / "whole", folder):
        one.mkdir()
    whole = Runs(tmp_path / "whole" / "export.csv", directory, kill)
    wanted, events = found(whole()), content(whole)
    files = {one.name for one in (tmp_path / "whole").iterdir()}
    moment, repeated = 0, set[int]()
    runs = Runs(folder / "export.csv", directory, kill)
    while True:
        runs.begin()
        kill.left = moment
        try:
            runs()
        except KilledError:
            kill.left = -1
        else:
            break
        counts, report = found(runs())
        assert (counts | {"finished_before": None}, report) == wanted, moment
        assert content(runs) == events, moment
        assert {one.name for one in folder.iterdir()} == files
        repeated.add(len(runs.publisher.events) - len(events))
        moment += 1
    assert moment > 30
    assert max(repeated) <= 3


@pytest.mark.parametrize(
    ("effects", "after", "rows"),
    [(14, 7, [10, 3, 5, 11, 12, 13]), (30, 4, [5, 11, 12, 13])],
)
def test_import_goes_on_after_the_last_note(runs: Runs, effects: int, after: int, rows: list[int]):
    """It says after which row, and publishes only what was not noted: of the opt-outs, which go
    first, and then of the rest.
    """
    runs.killed(effects)
    before = len(runs.publisher.events)
    report = runs()
    assert report.resumed_after == after
    assert report.restarted_because is None
    assert runs.ids[before:] == [one for one in dict.fromkeys(runs.ids) if one in runs.ids[before:]]
    assert [one.row for one in runs.publisher.events][before:] == rows


def test_import_that_ended_is_not_repeated(runs: Runs):
    """It is said when that was, with the counts of then; ``again`` repeats it."""
    first = runs()
    second = runs()
    assert second.finished_before == NOW + timedelta(hours=1)
    assert (second.rows, second.published, second.refused) == (12, 9, 3)
    assert second.report_path == first.report_path
    assert len(runs.publisher.events) == 9
    assert runs(again=True).finished_before is None
    assert len(runs.publisher.events) == 18
    assert len(set(runs.ids)) == 9


def test_journal_names_no_recipient(runs: Runs):
    """Neither on the way nor in the end: digests, counts and lines."""
    runs.killed(14)
    journal = journal_of(Import().report_of(runs.path))
    on_the_way = journal.read_text("utf-8")
    runs()
    for text in (on_the_way, journal.read_text("utf-8")):
        assert '"line"' in text
        assert "555" not in text
        assert "R1" not in text


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ("file", Start.FILE_CHANGED),
        ("options", Start.OPTIONS_CHANGED),
        ("report", Start.REPORT_LOST),
    ],
)
def test_import_of_something_else_starts_over(runs: Runs, change: str, start: Start):
    """It is said why; nothing of the report of before is left."""
    runs.killed(20)
    given: dict[str, object] = {}
    match change:
        case "file":
            runs.path.write_text("\n".join((REFERRED, *ROWS[5:])), "utf-8")
        case "options":
            given = {"origin": "crm"}
        case _:
            (rows,) = runs.path.parent.glob(".*.rows")
            rows.unlink()
    runs.publisher.events.clear()
    report = runs(**given)
    assert report.restarted_because == start
    assert report.resumed_after == 0
    assert report.rows == (7 if change == "file" else 12)
    assert found(report)[1].count(b";bad;") == 1
    assert len(runs.ids) == report.published


def test_import_of_a_file_after_another_that_ended_says_nothing(runs: Runs):
    """As each night, when the export has the same name."""
    runs()
    runs.path.write_text("\n".join((REFERRED, *ROWS[5:])), "utf-8")
    report = runs()
    assert (report.restarted_because, report.finished_before, report.rows) == (None, None, 7)


def test_dry_run_leaves_the_journal_alone(runs: Runs):
    """The import goes on where it was."""
    runs.killed(14)
    assert runs(dry_run=True).rows == 12
    assert runs().resumed_after == 7


def test_two_imports_with_one_report_are_refused(runs: Runs):
    """The second has to wait; with another report it does not."""
    report = Import().report_of(runs.path)
    with ReportRows(report, [], is_kept=True):
        with pytest.raises(ImportRunningError, match="wait for its end"):
            runs()
        assert runs(report_path=report.with_name("other.csv")).published == 9
    assert runs().published == 9


def test_file_that_is_no_journal_is_an_error(runs: Runs):
    """It is named, and left as it is."""
    journal_of(Import().report_of(runs.path)).write_text("{}", "utf-8")
    with pytest.raises(UnusableFileError, match=r"export.csv.report.csv.journal: .*remove it"):
        runs()
    assert runs.publisher.events == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_folder_that_cannot_be_written_stops_before_the_first_event(runs: Runs, dry_run: bool):
    """The error says how to choose another place."""
    with pytest.raises(UnwritableReportError, match="--report"):
        runs(report_path=runs.path / "report.csv", dry_run=dry_run)
    assert runs.publisher.events == []


def test_columns_of_any_kind_have_one_digest(runs: Runs):
    """A set has no order; the import goes on all the same."""
    runs(columns=ColumnChoices(ignored={"REFERANS", "referans"}))
    again = runs(columns=ColumnChoices(ignored=["referans", "REFERANS"]))
    assert again.finished_before is not None


RUNS, REQUESTS, RECORDS = 5, 700, 4
"""Of the records in a request all but one are hostile."""
HOSTILE_ROWS, FILES = 6000, 400
IN_A_FILE = 60
RULES = DateRules(excel_epoch=ExcelEpoch.FROM_1900)


async def post(client: httpx.AsyncClient, body: bytes, media_type: str = JSON) -> httpx.Response:
    """Post, and check what holds of every response."""
    answer = await client.post("/v1/consents", content=body, headers={"Content-Type": media_type})
    assert answer.status_code in {202, 400, 413, 415, 422}, answer.text
    assert answer.json()
    return answer


def a_ret(number: int) -> dict[str, Any]:
    """Return a valid RET."""
    return HostileInputs.a_record("RET") | {"origin_ref": f"valid-{number}"}


@pytest.mark.parametrize("seed", range(RUNS))
async def test_hostile_records_harm_no_ret(
    client: httpx.AsyncClient, fake: FakePublisher, seed: int
):
    """A valid RET among them is always published, and so is any whose key can be read."""
    made, guard = HostileInputs(seed), Guard(Codec())
    for number in range(REQUESTS):
        records = [made.record() for _ in range(RECORDS - 2)]
        records += [made.ret(), a_ret(number)]
        body = made.body(records)
        events = (await post(client, body)).json()["events"]
        assert [one["index"] for one in events][-2:] == [RECORDS - 2, RECORDS - 1]
        assert fake.events[-1].origin_ref == f"valid-{number}"
    for one in fake.frames:
        # What was answered with 202 is no dead letter later.
        assert isinstance(guard.admit(fetched(value=one.value)), AdmittedRecord)


@pytest.mark.parametrize("seed", range(RUNS))
async def test_broken_bodies_harm_no_ret(client: httpx.AsyncClient, fake: FakePublisher, seed: int):
    """Neither do forms, nor other content types; the next request is a valid RET."""
    made = HostileInputs(seed)
    for number in range(REQUESTS // 5):
        for body in (made.body([made.record()]), made.form(made.record())):
            await post(client, made.broken(body), JSON)
            await post(client, made.broken(body), FORM)
        assert (await post(client, made.form(made.ret()), FORM)).status_code == 202
        assert (await post(client, made.body([made.ret()]))).status_code == 202
        assert (await post(client, made.body([a_ret(number)]))).status_code == 202
        assert fake.events[-1].origin_ref == f"valid-{number}"


def test_hostile_inputs_are_repeatable_and_of_every_kind():
    """The same seed gives the same inputs, and no Unicode category is missing."""
    assert HostileInputs(1).record() == HostileInputs(1).record()
    assert HostileInputs(1).event() == HostileInputs(1).event()
    categories = {unicodedata.category(chr(one)) for one in range(sys.maxunicode + 1)}
    assert set(characters()) == categories


def an_opt_out(number: int, chance: random.Random) -> str:
    """Return a valid row in one of its notations."""
    phone = chance.choice(("0{0}", '="0{0}"', '"0{0}"', "'0{0}")).format(f"556{number:07}")
    status, note = chance.choice(("RET", "H", "HAYIR")), chance.choice(('""', "", '"a;b"', "ığüş"))
    return f"{phone};SMS;{status};HS_WEB;02.03.2026 10:00:00;{BRAND};{note}"


def a_file(rows: Sequence[bytes], first: int) -> bytes:
    """Return a file of hostile ``rows``, each between two opt-outs, numbered from ``first``."""
    chance = random.Random(first)
    encoding = chance.choice(("utf-8", "cp1254"))
    lines = [HOSTILE_HEADER.encode(encoding)]
    for number, row in enumerate(rows, first):
        lines += [an_opt_out(number, chance).encode(encoding), row]
    lines.append(an_opt_out(first + len(rows), chance).encode(encoding))
    return chance.choice((b"\r\n", b"\n")).join(lines)


def test_hostile_rows_stop_no_opt_out_between_them(
    tmp_path: Path, import_of: ImportOf, fake: FakePublisher
):
    """Whatever stands before and behind an opt-out, it is published, and each row is counted."""
    assert {
        "Cc",
        "Cf",
        "Cn",
        "Co",
        "Cs",
        "Lo",
        "Mn",
        "Nd",
        "So",
        "Zl",
    } <= characters_of_rows().keys()
    path, rows = tmp_path / "hostile.csv", list(hostile_rows(HOSTILE_ROWS, seed=30))
    for first in range(0, HOSTILE_ROWS, IN_A_FILE):
        fake.events.clear()
        content = a_file(rows[first : first + IN_A_FILE], first)
        path.write_bytes(content)
        report = import_of(path, dates=RULES)
        taken = {one.recipient for one in fake.events if one.status == "RET"}
        expected = {f"+90556{number:07}" for number in range(first, first + IN_A_FILE + 1)}
        assert expected - taken == set(), content[:200]
        assert report.published + report.refused == report.rows


def test_hostile_file_is_imported_or_refused_as_a_whole(tmp_path: Path, import_of: ImportOf):
    """With an error that its source can act on, never with one of ours."""
    path, refused = tmp_path / "hostile.csv", 0
    for content in hostile_files(FILES, seed=30):
        path.write_bytes(content)
        try:
            import_of(path, dates=RULES)
        except SourceError:
            refused += 1
    assert 0 < refused < FILES


NASTY_ROWS, WORKBOOK_ROWS, CUSTOMERS = 5000, 700, 500
CHOICES = ColumnChoices(
    mapped=nasty_export.MAPPED, ignored=nasty_export.IGNORED, values=nasty_export.VALUES
)
WIDE = ColumnChoices(
    mapped=nasty_export.MAPPED,
    ignored=nasty_export.IGNORED,
    values=nasty_export.VALUES,
    given={"marka": str(BRAND)},
)


def a_list(path: Path, now: datetime) -> NastyTruth:
    return nasty_export.write_csv(path, rows=NASTY_ROWS, brand=BRAND, now=now)


def a_workbook(path: Path, now: datetime) -> NastyTruth:
    return nasty_export.write_workbook(path, rows=WORKBOOK_ROWS, brand=BRAND, now=now)


def customers(path: Path, now: datetime) -> NastyTruth:
    return nasty_export.write_wide(path, rows=CUSTOMERS, now=now)


@pytest.mark.parametrize(
    ("write", "choices", "encoding"),
    [
        (a_list, CHOICES, "cp1254"),
        (a_workbook, CHOICES, "xlsx"),
        (customers, WIDE, "utf-16-le"),
    ],
)
def test_nasty_export_is_read_as_a_person_would(  # noqa: PLR0917  # fixtures and cases
    tmp_path: Path,
    fake: FakePublisher,
    import_of: ImportOf,
    write: Callable[[Path, datetime], NastyTruth],
    choices: ColumnChoices,
    encoding: str,
):
    """Row by row: the recipient, channel, status, instant and source that the generator meant."""
    path = tmp_path / "liste"
    truth = write(path, NOW)
    report = import_of(path, columns=replace(choices, header_row=truth.header_line))
    assert report.encoding == encoding
    counts = (report.header_line, report.rows, report.repeated_headers)
    assert counts == (truth.header_line, truth.rows, truth.repeated_headers)
    found = {
        ExpectedConsent(
            line=one.row or 0,
            type=one.type,
            recipient=one.recipient,
            status=one.status,
            at=one.consent_date,
            source=one.source or "",
        )
        for one in fake.events
    }
    assert found == {one._replace(at=one.at and one.at.astimezone(UTC)) for one in truth.consents}
    assert len(fake.events) == len(truth.consents) == report.published
    check_report(report, truth)


def check_report(report: ImportReport, truth: NastyTruth) -> None:
    """Check that the report has a reason for each row that a person cannot read, and no other."""
    lines = reported(report)
    assert all(
        one["izin: neden"] and one["izin: reason"] and one["izin: kod/code"] for one in lines
    )
    unread = [one for one in lines if "not imported" in one["izin: sonuç/outcome"]]
    refused = {place for one in unread for place in _places(one)}
    assert refused == {(one.line, one.column) for one in truth.refused}
    published = [one for one in lines if "published" in one["izin: sonuç/outcome"]]
    assert {int(one["izin: satır/row"]) for one in published} == truth.undated
    # Nobody can read the recipients of these opt-outs.
    assert report.refused_opt_outs == sum(one.status == "RET" for one in truth.refused)
    assert report.refused_unclear == sum(one.status == "" for one in truth.refused)


def _places(line: dict[str, str]) -> list[tuple[int, str]]:
    number = int(line["izin: satır/row"])
    return [(number, column) for column in line["izin: sütun/column"].split(", ")]


MALFORMED, BOOK_EVERY = 200, 16


def test_malformed_files_are_imported_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Never an error that is no source's, and never more memory than allowed."""
    monkeypatch.setattr(workbook, "_MOST_MEMORY", 128 * 2**20)
    found = campaign.run(tmp_path, files=MALFORMED, seed=21, book_every=BOOK_EVERY)
    assert (found.failures, found.violations) == ([], 0)
    assert found.imported + found.refused == MALFORMED
    assert found.imported
    assert found.refused


def test_error_of_ours_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The campaign sees it, and says which file it was; the first one has no import."""
    monkeypatch.setattr(campaign, "import_file", Mock(side_effect=RuntimeError("broken")))
    found = campaign.run(tmp_path, files=2, seed=21)
    assert found.violations == 1
    assert found.failures[0].startswith("file 1 of seed 21, ")
    results = tmp_path / "result.json"
    assert publish(report(found, seed=21, seconds=1), bars=["files"], results=results) == 1
    assert "RuntimeError: broken" in results.read_text()


def test_memory_beyond_its_bound_is_a_violation():
    """Of all files together."""
    verdict = FilesVerdict(files=1, imported=1, refused=0, megabytes=campaign.MOST_MEGABYTES + 1)
    assert verdict.violations == 1
