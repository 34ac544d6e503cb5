"""Opt-ins of a file that would reverse an opt-out: left out, listed, and given back by a person."""

import csv
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from izin.consent import TURKEY
from izin.producers.files import (
    ColumnChoices,
    ImportReport,
    ReversalRules,
    UnusableFileError,
    read_reversals,
)
from izin.producers.files.report import RowOutcome
from izin.producers.files.rows import ImportInterruptedError
from tests.support.builders import BRAND, EMAIL, NOON
from tests.unit.producers.conftest import NOW, FakePublisher, ImportOf

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
