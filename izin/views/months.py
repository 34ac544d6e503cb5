"""The month of a customer: what came, by brand and channel, and what became of it at İYS.

Each event that was decided on in the month (Turkish time) is counted once as having come, and once
for what became of it, so that the figures of a row add up. It reads all of the customer's history
of the month, so that a report that was made is kept.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby, product
from operator import itemgetter
from typing import Any

import orjson

from izin.consent import TURKEY, DecisionKind, State, Status
from izin.ledger.db import Ledger, statements
from izin.ledger.history import history_codec
from izin.ledger.history.reports import quantile
from izin.ledger.registry.customers import Customer
from izin.producers.files.table_formats import harmless
from izin.views.i18n import Language, duration, month_name, text, when
from izin.views.remedies import why_refused

_PAGE = 500
_WIDE, _NARROW = 22, 13
_SQL = statements("months")
_BY_OUTCOME: Mapping[str, str] = {
    "accepted": "registered",
    "refused": "refused",
    "expired": "void",
    "not_needed": "registered",
    "parked": "waiting",
    "superseded": "unchanged",
}
"""Where an event is counted by its last outcome, which may be the state of its row."""
FATES = ("registered", "refused", "void", "nothing_to_withdraw", "unchanged", "waiting")
"""In one of these figures is each event that came.

Registered: İYS saved it, or held it already. Void: its term ended before, or a person withdrew it.
Unchanged: it was known, or older than what was known, or replaced before it was sent.
"""
WAYS = ("to_iys", "from_iys")
"""Of opt-outs: from their receipt until İYS had them, from a citizen's act at İYS until here."""
TITLES: Mapping[str, str] = {
    "came": "came",
    "registered": "registered by İYS",
    "refused": "that İYS refused",
    "void": "void: term ended",
    "nothing_to_withdraw": "nothing to withdraw",
    "unchanged": "changed nothing",
    "waiting": "waits",
    "to_iys_p50": "opt-outs to İYS, p50",
    "to_iys_p95": "opt-outs to İYS, p95",
    "from_iys_p50": "opt-outs from İYS, p50",
    "from_iys_p95": "opt-outs from İYS, p95",
}
"""What the figures of a row are called, in English."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthRow:
    """The figures of one brand and channel, or the sums."""

    brand_code: int | None
    channel: str | None
    figures: Mapping[str, float | None]
    """By the names of ``TITLES``: counts, and durations in seconds (None: of none)."""
    reasons: Mapping[str, int]
    """The refused by İYS's code, the most first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthReport:
    """The report of a customer's month."""

    customer_id: str
    month: date
    made_at: datetime
    rows: Sequence[MonthRow]
    """By brand and channel; the sums last."""


@dataclass(slots=True)
class _Tally:
    """What is counted of one brand and channel."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def row(self, brand_code: int | None, channel: str | None) -> MonthRow:
        """Return the figures."""
        figures: dict[str, float | None] = {name: self.counts[name] for name in ("came", *FATES)}
        for way, (name, share) in product(WAYS, (("p50", 0.5), ("p95", 0.95))):
            took = sorted(self.seconds[way])
            figures[f"{way}_{name}"] = quantile(took, share) if took else None
        reasons = dict(self.reasons.most_common())
        return MonthRow(brand_code=brand_code, channel=channel, figures=figures, reasons=reasons)


async def make(ledger: Ledger, customer_id: str, month: date, *, now: datetime) -> MonthReport:
    """Make the report of the month that begins on a day, as it is now, and keep it."""
    values = {"customer_id": customer_id, "since": _begin(month), "until": _begin(after(month))}
    tallies, whole = defaultdict[tuple[int, str], _Tally](_Tally), _Tally()
    entries: list[Mapping[str, Any]] = []
    async for page in ledger.pages(_SQL["entries"], values, size=_PAGE):
        entries += page
        # The last key may go on in the next page.
        left = [entry for entry in entries if entry["key"] == entries[-1]["key"]]
        _count(entries[: len(entries) - len(left)], tallies, whole)
        entries = left
    _count(entries, tallies, whole)
    rows = [tally.row(*place) for place, tally in sorted(tallies.items())]
    report = MonthReport(
        customer_id=customer_id, month=month, made_at=now, rows=[*rows, whole.row(None, None)]
    )
    kept = orjson.dumps([asdict(row) for row in report.rows]).decode()
    kept_as = {"customer_id": customer_id, "month": month, "made_at": now, "rows": kept}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["save"], kept_as)
    return report


async def kept(ledger: Ledger, customer_id: str, month: date) -> MonthReport | None:
    """Return the report as it was made last; None: it was not."""
    found = await ledger.fetch(_SQL["saved"], {"customer_id": customer_id, "month": month})
    return next(
        (
            MonthReport(
                customer_id=customer_id,
                month=month,
                made_at=row["made_at"],
                rows=[MonthRow(**one) for one in row["rows"]],
            )
            for row in found
        ),
        None,
    )


def after(month: date) -> date:
    """Return the first day of the next month."""
    return (month + timedelta(days=31)).replace(day=1)


def _begin(month: date) -> datetime:
    return datetime(month.year, month.month, 1, tzinfo=TURKEY)


def _count(
    entries: Iterable[Mapping[str, Any]],
    tallies: Mapping[tuple[int, str], _Tally],
    whole: _Tally,
) -> None:
    """Count the events of whole keys: that each came, and what became of it."""
    for key, some in groupby(entries, key=itemgetter("key")):
        brand, channel, _ = key.split("/", 2)
        of_key = list(some)
        became = {
            (entry["event_id"], entry["status"]): entry
            for kind in ("answer", "outcome")
            for entry in of_key
            if entry["kind"] == kind
        }
        for entry in of_key:
            if entry["kind"] == "decision":
                decision = history_codec().decode("Decision", entry["decision"])
                event = decision["event"]
                end = became.get((event["event_id"], event["status"]))
                fate, code = _fate(entry, decision, end)
                way, took = _took(entry, event, end)
                for tally in (tallies[int(brand), channel], whole):
                    tally.counts.update(("came", fate))
                    if fate == "refused":
                        tally.reasons[code] += 1
                    elif fate == "registered":
                        tally.seconds[way].append(took)


def _took(
    entry: Mapping[str, Any], event: Mapping[str, Any], end: Mapping[str, Any] | None
) -> tuple[str, float]:
    """Return which way an event went, and how long it took; of an opt-in no way that is shown."""
    begin, ended = event["received_at"] or entry["recorded_at"], end or entry
    way = "to_iys" if event["status"] == Status.RET and end is not None else ""
    if event["iys"] is not None:
        begin, ended = event["iys"]["creation_date"], entry
        way = "from_iys" if event["status"] == Status.RET else ""
    return way, (ended["recorded_at"] - begin).total_seconds()


def _fate(
    entry: Mapping[str, Any], decision: Mapping[str, Any], end: Mapping[str, Any] | None
) -> tuple[str, str]:
    """Return where an event is counted, and İYS's code."""
    event = decision["event"]
    if decision["kind"] == DecisionKind.STALE:
        return "unchanged", ""
    if event["iys"] is not None:
        return ("registered" if decision["kind"] == DecisionKind.APPLY else "unchanged"), ""
    if end is None:
        wanted = (event["event_id"], event["status"])
        if wanted != (entry["desired_event_id"], entry["desired_status"]):
            return "unchanged", ""
        state, code = entry["state"], entry["row_code"]
    else:
        state, code = end["outcome"] or "accepted", end["code"]
    fate = _BY_OUTCOME.get(state, "waiting")
    if state == State.NOT_NEEDED and event["status"] == Status.RET:
        fate = "nothing_to_withdraw"
    return fate, code or ""


def workbook_of(
    report: MonthReport, customer: Customer, brands: Mapping[int, str], language: Language
) -> bytes:
    """Return the report as a workbook (XLSX) that prints on one page wide; ``brands`` are the names
    of the brands by their codes.
    """
    # Slow to load, and needed for a workbook alone.
    from openpyxl import Workbook  # noqa: PLC0415  # see above
    from openpyxl.styles import Alignment, Font  # noqa: PLC0415  # see above
    from openpyxl.worksheet.properties import PageSetupProperties  # noqa: PLC0415  # see above

    book = Workbook()
    (sheet,) = book.worksheets
    sheet.title = text(language, "Month")
    sheet.append([harmless(customer.name), month_name(language, report.month)])
    sheet.append([text(language, "as of"), when(language, report.made_at)])
    sheet.append([])
    sheet.append([text(language, title) for title in ("brand", "channel", *TITLES.values())])
    for row in report.rows:
        name = harmless(brand_of(row, brands, language))
        sheet.append([name, row.channel, *cells(row, language)])
    sheet.append([])
    sheet.append([text(language, title) for title in ("that İYS refused", "code", "reason")])
    for code, why, count in refusals(report, language):
        sheet.append([count, code, why])
    for number in (1, 4, 4 + len(report.rows), 6 + len(report.rows)):
        for cell in sheet[number]:
            cell.font = Font(bold=True)
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    for column in "ABCDEFGHIJKLM":
        sheet.column_dimensions[column].width = _WIDE if column == "A" else _NARROW
    sheet.page_setup.orientation, sheet.page_setup.fitToHeight = "landscape", 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def refusals(report: MonthReport, language: Language) -> list[tuple[str, str, int]]:
    """Return each code with which İYS refused something, what it means, and how much it refused."""
    return [
        (code, text(language, why_refused(code or None)), count)
        for code, count in report.rows[-1].reasons.items()
    ]


def brand_of(row: MonthRow, brands: Mapping[int, str], language: Language) -> str:
    """Return the name and the code of the brand of a row."""
    if row.brand_code is None:
        return text(language, "in all")
    return f"{brands.get(row.brand_code, '')} {row.brand_code}".strip()


def cells(row: MonthRow, language: Language) -> list[int | str]:
    """Return the figures of a row under ``TITLES``: counts, and durations in words."""
    return [
        duration(language, row.figures[name])
        if name.startswith(WAYS)
        else int(row.figures[name] or 0)
        for name in TITLES
    ]
