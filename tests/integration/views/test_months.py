"""The month of a customer over a real ledger: its sums add up, however an event ended."""

import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from openpyxl import load_workbook

from izin.consent import TURKEY
from izin.ledger.registry import customers
from izin.views import months
from izin.views.i18n import Language
from izin.views.months import FATES, MonthReport, MonthRow, kept, make, workbook_of
from tests.integration.sinks.sink_harness import Izin, SinkHarness, a_phone, ended, onay, ret
from tests.support.builders import BRAND, CUSTOMER, an_iys_event, an_iys_origin

pytestmark = pytest.mark.database


def this_month() -> date:
    """Return the month in which a test runs, in Turkish time."""
    return datetime.now(TURKEY).date().replace(day=1)


async def made(harness: SinkHarness) -> MonthReport:
    """Return the report of this month."""
    return await make(harness.ledger, CUSTOMER, this_month(), now=harness.clock())


def is_whole(row: MonthRow) -> bool:
    """Return whether each event that came is in exactly one of the other columns."""
    return row.figures["came"] == sum(figure(row, fate) for fate in FATES) and (
        row.figures["refused"] == sum(row.reasons.values())
    )


def figure(row: MonthRow, name: str) -> float:
    """Return a figure that there is."""
    found = row.figures[name]
    assert found is not None, name
    return found


async def events_of_each_kind(harness: SinkHarness) -> None:
    """Have what came of each kind, some of it by another channel."""
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(3)))
    await harness.ingest(ret(a_phone(0)))  # is registered
    assert await harness.opt_out()
    await harness.ingest(ret(a_phone(9)))  # of whom İYS has nothing
    while await harness.opt_out() or await harness.query():
        pass
    await harness.ingest(
        onay(a_phone(1), minutes=100, event_id="older"),  # changes nothing
        an_iys_event(
            event_id="citizen",
            recipient=a_phone(2),
            received_at=harness.clock(),
            consent_date=harness.clock() - timedelta(minutes=1),
            iys=an_iys_origin(creation_date=harness.clock() - timedelta(minutes=1)),
        ),
    )
    await harness.ingest(onay(a_phone(20), minutes=9))  # is refused, alone in its last hour
    await harness.ledger.fetch(
        "UPDATE consents SET expires_at = %(soon)s WHERE recipient = %(one)s RETURNING key",
        {"soon": harness.clock() + timedelta(minutes=30), "one": a_phone(20)},
    )
    await harness.meet_fault("addV2", harness.scheduler.last_hour, status=422, code="H158")
    await harness.ingest(
        onay(a_phone(21), type="ARAMA"),  # waits
        onay(a_phone(22), minutes=60 * 24 * 40, type="ARAMA"),  # is void
        onay(a_phone(23), minutes=9, type="ARAMA"),
        ret(a_phone(23), minutes=2, type="ARAMA"),  # replaces it
    )


async def test_sums_of_a_month_add_up(harness: SinkHarness):
    """Each event that came is in exactly one of the other columns, and the rows are the sum."""
    await events_of_each_kind(harness)
    report = await made(harness)
    *rows, whole = report.rows
    assert [(row.brand_code, row.channel) for row in rows] == [(BRAND, "ARAMA"), (BRAND, "MESAJ")]
    assert all(map(is_whole, report.rows))
    for name in ("came", *FATES):
        assert whole.figures[name] == sum(figure(row, name) for row in rows), name
    (decided,) = await harness.ledger.fetch(
        "SELECT count(*) AS events FROM history WHERE kind = 'decision'"
    )
    assert whole.figures["came"] == decided["events"]


async def test_month_counts_what_became_of_each_event(harness: SinkHarness):
    """Registered, refused by code, void, nothing to withdraw, changed nothing, waits."""
    await events_of_each_kind(harness)
    calls, messages = (await made(harness)).rows[:2]
    assert [calls.figures[name] for name in ("came", "void", "unchanged")] == [4, 1, 1]
    assert figure(calls, "waiting") + figure(calls, "nothing_to_withdraw") == 2
    assert figure(messages, "registered") >= 5
    assert [messages.figures[name] for name in FATES[3:5]] == [1, 1]
    assert (messages.figures["refused"], messages.reasons) == (1, {"H158": 1})
    assert figure(messages, "from_iys_p50") >= 60
    assert 0 < figure(messages, "to_iys_p50") <= figure(messages, "to_iys_p95")


async def test_month_is_cut_to_its_customer_and_its_days(harness: SinkHarness):
    """Other customers and other months have nothing of it; the report that was made is kept."""
    await harness.ingest(onay())
    await customers.add(harness.ledger, "beta", "Beta", by="ada", now=harness.clock())
    month = this_month()
    before = (month - timedelta(days=1)).replace(day=1)
    for customer, of in (("beta", month), (CUSTOMER, before)):
        (whole,) = (await make(harness.ledger, customer, of, now=harness.clock())).rows
        assert whole.figures["came"] == 0
    assert await kept(harness.ledger, CUSTOMER, month) is None
    report = await made(harness)
    assert await kept(harness.ledger, CUSTOMER, month) == report
    await harness.ingest(onay(a_phone(2)))
    assert (await made(harness)).rows[-1].figures["came"] == 2
    again = await kept(harness.ledger, CUSTOMER, month)
    assert again is not None
    assert again.rows[-1].figures["came"] == 2


async def test_key_with_many_entries_is_counted_whole(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Also where the entries of one key are in several pages."""
    await events_of_each_kind(harness)
    expected = (await made(harness)).rows
    for size in (1, 2, 3):
        monkeypatch.setattr(months, "_PAGE", size)
        assert (await made(harness)).rows == expected


async def test_workbook_of_a_month_has_its_figures(harness: SinkHarness):
    """Numbers are numbers, names are no formulas, and it prints on one page wide."""
    await events_of_each_kind(harness)
    report = await made(harness)
    customer = await customers.find(harness.ledger, CUSTOMER)
    content = workbook_of(report, customer, {BRAND: "=Örnek"}, Language.TURKISH)
    (sheet,) = load_workbook(io.BytesIO(content)).worksheets
    rows = [[cell.value for cell in row] for row in sheet.iter_rows()]
    assert rows[3][:4] == ["marka", "kanal", "gelen", "İYS'de kayıtlı"]
    assert rows[4][:3] == [f"'=Örnek {BRAND}", "ARAMA", report.rows[0].figures["came"]]
    assert rows[3 + len(report.rows)][0] == "toplam"
    assert sheet.page_setup.orientation == "landscape"


async def test_report_month_prints_and_writes_a_workbook(
    harness: SinkHarness, izin: Izin, tmp_path: Path
):
    """Of the month that is named, in Turkish time; another notation is wrong usage."""
    await harness.ingest(onay())
    month = f"{this_month():%Y-%m}"
    words = ("report", "month", f"--customer={CUSTOMER}", f"--month={month}")
    found = json.loads(ended(await izin(*words, "--output=json"), 0).stdout)
    assert [row["figures"]["came"] for row in found["rows"]] == [1, 1]
    assert "registered by İYS" in " ".join((await izin(*words)).stdout.split())
    out = tmp_path / "month.xlsx"
    ended(await izin(*words, f"--out={out}"), 0, "the month is in")
    assert load_workbook(out).worksheets[0]["C5"].value == 1
    assert (await izin(*words[:3], "--month=November")).exit_code == 2
    assert (await izin(*words, f"--out={out}")).exit_code == 3


def test_month_ends_where_the_next_one_begins():
    """Also in December."""
    assert months.after(date(2026, 11, 1)) == date(2026, 12, 1)
    assert months.after(date(2026, 12, 1)) == date(2027, 1, 1)
    assert datetime(2026, 11, 30, 21, tzinfo=UTC).astimezone(TURKEY).month == 12
