"""Opt-ins of a file that would reverse an opt-out: counted before anything is published."""

import csv
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.consent.due_dates import TURKEY
from izin.producers.files.columns import ColumnChoices
from izin.producers.files.importer import Progress
from izin.producers.files.importing.report import RowOutcome
from izin.producers.files.importing.reversals import ReversalRules, TooManyReversalsError
from izin.producers.files.importing.run import ImportInterruptedError
from tests.support.builders import BRAND, EMAIL, NOON
from tests.unit.producers.conftest import NOW
from tests.unit.producers.fakes import FakePublisher
from tests.unit.producers.files.conftest import ImportOf

HEADER = "recipient;type;status;source;date;brand"
WIDE = "cep;e-posta;sms izni;arama izni;e-posta izni;date;source;brand"
KEY = f"{BRAND}/MESAJ/BIREYSEL/+90555{{:07}}"
ROWS = 202
REFUSED_AT = NOON - timedelta(days=1)


class Standing(dict[str, datetime]):
    """Opt-outs that stand, by key."""

    def may_have(self, recipient: str) -> bool:
        return any(one.endswith(f"/{recipient}") for one in self)

    def opted_out_at(self, key: bytes) -> int | None:
        found = self.get(key.decode())
        return None if found is None else int(found.timestamp())


class Suspicious(Standing):
    """The same; of every recipient it says that one may stand."""

    def may_have(self, recipient: str) -> bool:  # noqa: ARG002  # whoever it is
        return True


def standing(count: int, at: datetime = REFUSED_AT) -> Standing:
    """Return the opt-outs of so many recipients, from the first on."""
    return Standing({KEY.format(number): at for number in range(count)})


def a_row(number: int, at: datetime = NOON, status: str = "ONAY") -> str:
    date = at.astimezone(TURKEY).strftime("%d.%m.%Y %H:%M:%S")
    return f"0555 {number:07};SMS;{status};HS_WEB;{date};{BRAND}"


def an_export(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "nightly.csv"
    path.write_text("\n".join((header, *rows)), "utf-8")
    return path


def onays(fake: FakePublisher) -> list[int | None]:
    """Return the rows of the opt-ins that were published."""
    return [one.row for one in fake.events if one.status == "ONAY"]


def test_export_that_renews_every_consent_publishes_nothing(
    tmp_path: Path, import_of: ImportOf, fake: FakePublisher
):
    """Above the limit: it says how many, of how many, who, and what to do; no file is left."""
    path = an_export(tmp_path, *map(a_row, range(ROWS)), a_row(0, status="RET"), "broken")
    with pytest.raises(TooManyReversalsError) as caught:
        import_of(path, opt_outs=standing(101), resumable=True)
    said = str(caught.value)
    assert said.startswith(
        "nightly.csv: 101 of 202 opt-ins (ONAY) would reverse an opt-out (RET) that stands, and "
        "100 may; nothing was published. row 2 +90***00 (RET of 01.03.2026 12:00:00), row 3 "
    )
    assert "row 6 " in said
    assert "row 7 " not in said
    assert "--skip-reversals" in said
    assert "--reversals 101" in said
    assert "5550000" not in said
    assert fake.events == []
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("opt_outs", "rules"),
    [
        (100, ReversalRules()),
        (101, ReversalRules(accepted=101)),
        (2, ReversalRules(least=0)),
        (101, ReversalRules(percent=50)),
    ],
)
def test_reversals_within_the_limit_are_published_and_counted(
    tmp_path: Path, import_of: ImportOf, fake: FakePublisher, opt_outs: int, rules: ReversalRules
):
    """A hundred, or one in a hundred, or what was accepted."""
    path = an_export(tmp_path, *map(a_row, range(ROWS)))
    report = import_of(path, opt_outs=standing(opt_outs), reversals=rules)
    assert (report.reversals, report.published, report.refused) == (opt_outs, ROWS, 0)
    assert len(fake.events) == ROWS


@pytest.mark.parametrize("rules", [ReversalRules(least=3, percent=0), ReversalRules(accepted=3)])
def test_one_reversal_more_than_may_be_stops(
    tmp_path: Path, import_of: ImportOf, rules: ReversalRules
):
    """Also where the number was accepted before the file had more."""
    path = an_export(tmp_path, *map(a_row, range(ROWS)))
    with pytest.raises(TooManyReversalsError, match=r"4 of 202 .* and 3 may"):
        import_of(path, opt_outs=standing(4), reversals=rules)


def test_reversals_are_skipped_where_asked_for(
    tmp_path: Path, import_of: ImportOf, fake: FakePublisher
):
    """All others are published; the report has those rows, with the opt-out's day."""
    path = an_export(tmp_path, *map(a_row, range(6)))
    report = import_of(path, opt_outs=standing(4), reversals=ReversalRules(skip=True))
    assert onays(fake) == [6, 7]
    assert (report.published, report.refused, report.refused_reversals) == (2, 4, 4)
    assert report.reversals == 0
    assert report.report_path is not None
    with report.report_path.open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream, delimiter=";"))
    assert {one["izin: sonuç/outcome"] for one in lines} == {RowOutcome.REVERSAL}
    assert {one["izin: kod/code"] for one in lines} == {"IZIN-REVERSAL"}
    assert "01.03.2026 12:00:00" in lines[0]["izin: reason"]


def test_dry_run_says_that_it_would_stop(tmp_path: Path, import_of: ImportOf, fake: FakePublisher):
    """And has the whole report."""
    path = an_export(tmp_path, *map(a_row, range(6)), "broken")
    rules = ReversalRules(least=3)
    report = import_of(path, opt_outs=standing(4), reversals=rules, dry_run=True)
    assert report.would_stop is not None
    assert "4 of 6 opt-ins" in report.would_stop
    assert (report.rows, report.reversals, report.refused) == (7, 4, 1)
    assert fake.events == []
    fine = import_of(path, opt_outs=standing(3), reversals=rules, dry_run=True)
    assert fine.would_stop is None


@pytest.mark.parametrize(
    ("at", "row", "is_reversal"),
    [
        (NOON - timedelta(seconds=1), a_row(0), True),
        (NOON, a_row(0), False),
        (NOON + timedelta(seconds=1), a_row(0), False),
        (NOON - timedelta(days=1), a_row(0, status="RET"), False),
        (NOON - timedelta(days=1), a_row(1), False),
        (NOON - timedelta(days=1), a_row(0).replace(";SMS;", ";ARAMA;"), False),
        (NOON - timedelta(days=1), a_row(0).replace("HS_WEB", "?"), False),
        (NOW, a_row(0, NOW + timedelta(minutes=4)), False),
    ],
)
def test_reversal_is_what_the_law_would_decide(
    tmp_path: Path, import_of: ImportOf, at: datetime, row: str, is_reversal: bool
):
    """A later instant of the same key, in whole seconds and never after its receipt."""
    report = import_of(an_export(tmp_path, row), opt_outs=standing(1, at))
    assert report.reversals == is_reversal


def test_each_channel_of_a_row_is_counted(tmp_path: Path, import_of: ImportOf):
    """Where the file has a column a channel."""
    date = NOON.astimezone(TURKEY).strftime("%d.%m.%Y %H:%M:%S")
    path = an_export(tmp_path, f"0555 0000000;{EMAIL};1;1;1;{date};HS_WEB;{BRAND}", header=WIDE)
    opt_outs = standing(1) | {f"{BRAND}/EPOSTA/BIREYSEL/{EMAIL}": REFUSED_AT}
    with pytest.raises(TooManyReversalsError, match="2 of 3"):
        import_of(path, opt_outs=Standing(opt_outs), reversals=ReversalRules(least=1))


def test_rows_are_left_out_of_the_count_only_where_nothing_stands(
    tmp_path: Path, import_of: ImportOf
):
    """Whatever the notation of a recipient: the count is that of reading every row in full."""
    notations = ("{}", '="{}"', "'{}", " {} ", "+90 {:.4} {}", "0090{}", "(0){}", "\u200e{}")
    digits = [f"555{number:07}" for number in range(len(notations))]
    rows = [
        ";".join((form.format(one[-10:], one[-7:]), *a_row(0).split(";")[1:]))
        for form, one in zip(notations, digits, strict=True)
    ]
    path = an_export(tmp_path, *rows)
    counts = [_counted(import_of, path, kind(standing(20))) for kind in (Standing, Suspicious)]
    assert counts[0] == counts[1] >= 6


def _counted(import_of: ImportOf, path: Path, opt_outs: Standing) -> int:
    with pytest.raises(TooManyReversalsError) as caught:
        import_of(path, opt_outs=opt_outs, reversals=ReversalRules(accepted=0))
    return caught.value.count


def test_import_that_goes_on_counts_what_is_left(
    tmp_path: Path, import_of: ImportOf, fake: FakePublisher, monkeypatch: pytest.MonkeyPatch
):
    """What was published before reversed nothing any more; the count at the end is of all. Where
    the rest is too much it stops, and goes on from there once that is accepted.
    """
    monkeypatch.setattr("izin.producers.files.importer.CHECKPOINT_ROWS", 2)
    path = an_export(tmp_path, "broken", *map(a_row, range(6)))
    rules, send = ReversalRules(least=4), fake.send

    def sends_four(*args: Any, **options: Any) -> None:  # noqa: ANN401  # handed on as they came
        fake.is_away = len(fake.events) == 4
        send(*args, **options)

    monkeypatch.setattr(fake, "send", sends_four)
    with pytest.raises(ImportInterruptedError, match="after 4 acknowledged"):
        import_of(path, opt_outs=standing(4), reversals=rules, resumable=True)
    monkeypatch.setattr(fake, "send", send)
    fake.is_away = False
    with pytest.raises(TooManyReversalsError, match="3 of 3"):
        import_of(path, opt_outs=standing(6), reversals=ReversalRules(accepted=2), resumable=True)
    report = import_of(path, opt_outs=standing(4), reversals=rules, resumable=True)
    assert (report.resumed_after, report.rows, report.published) == (5, 7, 6)
    assert (report.reversals, report.refused, report.restarted_because) == (4, 1, None)


def test_opt_outs_are_read_for_the_brands_of_the_file(tmp_path: Path, import_of: ImportOf):
    """The one given for all rows, or any; for none where the file was imported already."""
    asked: list[set[int]] = []

    def find(brands: Collection[int]) -> Standing:
        asked.append(set(brands))
        return standing(0)

    path = an_export(tmp_path, a_row(0))
    import_of(path, opt_outs=find, resumable=True)
    import_of(path, opt_outs=find, resumable=True)
    given = ColumnChoices(ignored=["brand"], given={"marka": str(BRAND)})
    import_of(path, opt_outs=find, columns=given)
    assert asked == [{BRAND}, {BRAND}]


def test_progress_says_which_pass_it_is(tmp_path: Path, import_of: ImportOf):
    """The count comes first, and only where opt-outs stand."""
    path = an_export(tmp_path, *map(a_row, range(3)))
    for opt_outs, passes in ((standing(1), [True, False]), (standing(0), [False])):
        seen: list[Progress] = []
        import_of(path, opt_outs=opt_outs, progress=seen.append)
        assert [one.is_check for one in seen] == passes


def test_day_of_an_opt_out_is_turkish(tmp_path: Path, import_of: ImportOf):
    """As people read it."""
    at = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
    path = an_export(tmp_path, a_row(0))
    with pytest.raises(TooManyReversalsError, match=r"RET of 02\.03\.2026 01:30:00"):
        import_of(path, opt_outs=standing(1, at), reversals=ReversalRules(accepted=0))
