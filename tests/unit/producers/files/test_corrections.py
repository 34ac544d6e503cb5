"""Rows of a report that are corrected: they stay rows of their file, and nothing counts twice."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from izin.consent import TURKEY
from izin.producers.files import ImportReport, ReversalRules, UnusableFileError
from izin.producers.files.corrections import put_back, reported_rows, write_corrections
from izin.producers.publishing.event_ids import FileIds
from tests.support.builders import BRAND, EMAIL, NOON
from tests.unit.producers.conftest import FakePublisher, ImportOf, MovingClock
from tests.unit.producers.files.test_reversals import NARROW, WIDE, a_line, opted_out

BAD = f"0555 12;SMS;{{}};HS_WEB;02.03.2026 12:00:00;{BRAND}"
LATER = timedelta(days=2)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.csv"


class Corrected:
    """Imports a file, then rows of its report that are corrected."""

    def __init__(self, import_lines: ImportOf, import_of: ImportOf, report: Path) -> None:
        self._import_lines, self._import_of = import_lines, import_of
        self.report, self.again = report, report.with_name("again.csv")

    def first(self, *lines: str, **given: object) -> ImportReport:
        return self._import_lines(*lines, report_path=self.report, resumable=True, **given)

    def rows(self, changes: Mapping[int, Mapping[int, str]], **given: object) -> ImportReport:
        """Import rows of these lines, with other cells in these places."""
        known = {row.line: list(row.cells) for row in reported_rows(self.report)}
        for line, cells in changes.items():
            for place, cell in cells.items():
                known[line][place] = cell
        path = self.report.with_name("corrections.csv")
        write_corrections(path, self.report, {line: known[line] for line in changes})
        options = {"report_path": self.again, "corrects": self.report, "resumable": True, **given}
        done = self._import_of(path, **options)
        put_back(self.report, self.again, changes)
        return done

    @property
    def left(self) -> list[int]:
        """The lines that the report has."""
        return [row.line for row in reported_rows(self.report)]


@pytest.fixture
def corrected(import_lines: ImportOf, import_of: ImportOf, report: Path) -> Corrected:
    return Corrected(import_lines, import_of, report)


def test_corrected_row_is_a_row_of_its_file(corrected: Corrected, fake: FakePublisher):
    """With the id, the digest and the number that it would have had, had it been right at first."""
    first = corrected.first(NARROW, a_line(1), BAD.format("ONAY"), BAD.format("RET"))
    assert corrected.left == [4, 3]
    done = corrected.rows({3: {0: "0555 000 00 02"}})
    assert (done.rows, done.published, done.refused) == (1, 1, 0)
    assert corrected.left == [4]
    event = fake.events[-1]
    assert (event.import_id, event.row) == (first.digest, 3)
    assert event.event_id == FileIds(first.digest).of(3)


def test_corrected_row_that_is_refused_again_stays(corrected: Corrected):
    """With what is wrong with it now, in the order of reports: opt-outs first."""
    corrected.first(NARROW, BAD.format("ONAY"), BAD.format("RET"), BAD.format("ONAY"))
    assert corrected.left == [3, 2, 4]
    done = corrected.rows({2: {0: "0555 13", 4: "gestern"}, 4: {0: "0555 000 00 04"}})
    assert (done.published, done.refused) == (1, 1)
    assert corrected.left == [3, 2]
    rows = {row.line: row for row in reported_rows(corrected.report)}
    assert set(rows[2].codes) == {"H121", "H158"}
    assert rows[2].shown[0] == "0555 13"
    put_back(corrected.report, corrected.again, {2, 4})
    assert corrected.left == [3, 2]


def test_rest_of_a_corrected_row_is_the_same_event(
    corrected: Corrected, fake: FakePublisher, clock: MovingClock
):
    """The text message's opt-out, which was published, is not a newer one for the address that
    is corrected: an undated opt-out of today would undo a consent that was given since.
    """
    corrected.first(WIDE, f"0555 000 00 01;nobody;H;;E;;HS_WEB;{BRAND}")
    assert corrected.left == [2]
    (before,) = fake.events
    clock.now += LATER
    corrected.rows({2: {1: EMAIL}})
    assert fake.events[1] == before
    assert corrected.left == [2]  # an opt-in needs its date


def test_consent_that_was_given_since_is_received_now(
    corrected: Corrected, fake: FakePublisher, clock: MovingClock
):
    """Else it would be ahead of its receipt, and refused."""
    corrected.first(NARROW, BAD.format("ONAY"))
    clock.now += LATER
    given_at = clock.now - timedelta(hours=1)
    date = given_at.astimezone(TURKEY).strftime("%d.%m.%Y %H:%M:%S")
    assert corrected.rows({2: {0: "0555 000 00 02", 4: date}}).published == 1
    assert fake.events[-1].received_at == clock.now


def test_reversal_is_given_back_as_the_row_that_it_was(corrected: Corrected, fake: FakePublisher):
    """Without another file: its id is that of the row."""
    opt_outs = opted_out(3)
    corrected.first(NARROW, a_line(1), a_line(7), opt_outs=opt_outs)
    (row,) = reported_rows(corrected.report)
    rules = ReversalRules(event_ids=frozenset(row.event_ids), by="ada")
    done = corrected.rows({row.line: {}}, reversals=rules, opt_outs=opt_outs)
    assert (done.reversals, fake.events[-1].actor) == (1, "ada")
    assert corrected.left == []


def test_rows_of_an_import_that_has_not_ended_are_not_corrected(
    corrected: Corrected, import_of: ImportOf, report: Path, tmp_path: Path
):
    """Nobody knows yet which are refused, nor when it was received."""
    corrected.first(NARROW, a_line(1), BAD.format("ONAY"), a_line(3, NOON, "?"))
    path = tmp_path / "corrections.csv"
    write_corrections(path, report, {3: ["0555 000 00 02", "SMS", "ONAY", "HS_WEB", "", "1"]})
    report.with_name(f"{report.name}.journal").unlink()
    with pytest.raises(UnusableFileError, match="let it go on first"):
        import_of(path, report_path=tmp_path / "again.csv", corrects=report, resumable=True)


def test_row_that_could_not_be_separated_is_corrected(corrected: Corrected, fake: FakePublisher):
    """A report has it whole in its first cell; the others are filled in."""
    corrected.first(NARROW, a_line(1), "0555 000 00 02;SMS;RET")
    (row,) = reported_rows(corrected.report)
    assert row.is_inseparable
    assert row.shown[0] == "0555 000 00 02;SMS;RET"
    cells = dict(enumerate(a_line(2, status="RET").split(";")))
    assert corrected.rows({3: cells}).opt_outs == 1
    assert (fake.events[-1].row, corrected.left) == (3, [])
