"""Files as CRMs write them, valid and invalid.

An import that stops is repeated from where it was, whenever that is.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

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
)
from izin.producers.files.choices import ColumnChoiceError
from izin.producers.files.delimited import examine, header, rows
from izin.producers.files.importer import journal_of
from izin.producers.files.report import ImportRunningError, ReportRows, UnwritableReportError
from izin.producers.mapping.field_names import violation
from izin.producers.mapping.records import AcceptedRecord
from tests.support.builders import BRAND, EMAIL, NOON, PHONE
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
