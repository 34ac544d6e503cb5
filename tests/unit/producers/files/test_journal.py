"""An import that stops is repeated from where it was, whenever that is."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.consent import ConsentEvent
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.files import (
    ColumnChoices,
    Import,
    ImportReport,
    Start,
    UnusableFileError,
    import_file,
    importer,
)
from izin.producers.files.importer import journal_of
from izin.producers.files.report import ImportRunningError, ReportRows, UnwritableReportError
from tests.support.builders import BRAND
from tests.unit.producers.fakes import NOW, FakePublisher

HEADER = "ALICI;İZİN TÜRÜ;İZİN DURUMU;İZİN KAYNAĞI;İZİN TARİHİ;MARKA;REFERANS"
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
        self.path.write_text("\n".join((HEADER, *ROWS)), "utf-8")
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
            runs.path.write_text("\n".join((HEADER, *ROWS[5:])), "utf-8")
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
    runs.path.write_text("\n".join((HEADER, *ROWS[5:])), "utf-8")
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
