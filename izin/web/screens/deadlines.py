"""Deadlines: what is not registered yet, by how much of its term has passed, and the forecast.

The opt-outs of a brand that a person can withdraw on İYS's own pages are listed with masked
recipients. Whoever may see them shows them, or takes them as a file: a look, which is recorded.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from starlette.responses import Response

from izin.consent import Status
from izin.ledger import brands, reads
from izin.ledger.record import Brand
from izin.views import deadlines, i18n
from izin.views.deadlines import Deadlines
from izin.views.remedies import OPT_OUT_HEADER, opt_out_rows
from izin.web import plots
from izin.web.plots import Caption, Plot, PlotSeries
from izin.web.visit import Permit, Screen, Visit, forbidden

_MOST_ROWS = 100
_MOST_BREACHES = 50
_DIGITS = 9
"""Of the largest code of a brand."""
_STAGES = ("under_50", "past_50", "past_80", "past_95", "missed")


class ShownFigure(NamedTuple):
    """A figure of a page."""

    name: str
    value: str
    tone: str = ""
    hint: str = ""


async def show(visit: Visit) -> Response:
    """Show what is due, to whoever may see anything."""
    found = await visit.console.figures.deadlines(visit.customer)
    late = await deadlines.breaches(visit.ledger, customer=visit.customer, most=_MOST_BREACHES)
    names = await visit.brand_names()
    waiting = dict[int, int]()
    for one in found.margins:
        if one.status == Status.RET:
            waiting[one.brand_code] = waiting.get(one.brand_code, 0) + one.keys
    return visit.page(
        "deadlines.html",
        tone="warn" if found.needs_person else "good",
        forecast=visit.text(deadlines.forecast_said(found.ahead)),
        unread=found.unread and visit.text(found.unread),
        figures=_figures(visit, found),
        pictures=[await forecast_plot(visit), await term_plot(visit)],
        headings=_headings(visit),
        rows=_rows(visit, found.margins[:_MOST_ROWS], names),
        left=len(found.margins[_MOST_ROWS:]),
        brands=[(code, names.get(code, ""), count) for code, count in waiting.items()][:_MOST_ROWS],
        breach_headings=[
            visit.text(one) for one in ("Brand", "Channel", "Recipient", "Due", "Sent")
        ],
        breaches=[
            (
                f"{one.parts[0]} {names.get(int(one.parts[0]), '')}".strip(),
                visit.text(one.parts[1]),
                visit.masked(one.parts[3]),
                *_times(visit, one.due_at, one.sent_at),
            )
            for one in late
        ],
    )


def _times(visit: Visit, *instants: datetime | None) -> list[str]:
    return [i18n.when(visit.language, at) for at in instants]


def _figures(visit: Visit, found: Deadlines) -> list[ShownFigure]:
    """Return what stands above the plots."""
    ahead, parked = found.ahead, found.parked.opt_outs + found.parked.consents
    soon = sum(one.due_soon for one in found.margins)

    def figure(name: str, value: int, tone: str = "bad", hint: str = "") -> ShownFigure:
        number = i18n.number(visit.language, value)
        return ShownFigure(visit.text(name), number, tone if value else "", hint)

    return [
        figure("Waits for İYS", sum(one.keys for one in found.margins), ""),
        figure("Missed", found.missed),
        figure("Due within 24 hours", soon, "warn"),
        figure("Will be late", ahead.late),
        figure("Will expire", ahead.lost),
        figure("Suspended", found.suspended, hint=visit.text("until the suspension ends")),
        figure("Parked", parked, "warn", visit.text("until a person acts")),
    ]


def _headings(visit: Visit) -> list[str]:
    names = (
        *("Brand", "Channel", "ONAY or RET", "Unsettled", "Missed", "95 %", "80 %", "50 %"),
        *("In 24 hours", "Parked", "Unknown", "First due"),
    )
    return [visit.text(name) for name in names]


def _rows(
    visit: Visit, margins: Sequence[reads.Margin], names: Mapping[int, str]
) -> list[tuple[str, ...]]:
    counts = ("keys", "missed", "past_95", "past_80", "past_50", "due_soon", "parked", "unknown")
    return [
        (
            f"{one.brand_code} {names.get(one.brand_code, '')}".strip(),
            visit.text(one.channel),
            visit.text(one.status),
            *(i18n.number(visit.language, getattr(one, name)) for name in counts),
            *_times(visit, one.first_due_at),
        )
        for one in margins
    ]


async def forecast_plot(visit: Visit) -> Plot:
    """Return the forecast as a curve: what is due, and what can have been submitted, by when."""
    found = await visit.console.figures.deadlines(visit.customer)
    course = found.course
    caption = Caption(
        "forecast",
        visit.text("Forecast of the deadlines"),
        visit.text(
            "While the dashed line of what is due stays below the line of what is sent at İYS's "
            "pace (%(pace)s records a second), nothing is late.",
            pace=i18n.number(visit.language, found.records_per_second),
        ),
        visit.text("At"),
    )
    series = [
        PlotSeries(visit.text("Sent at İYS's pace"), [one.submitted for one in course]),
        PlotSeries(visit.text("Due by then"), [one.due for one in course]),
        PlotSeries(visit.text("Late of these"), [one.late for one in course]),
    ]
    return plots.line_plot(caption, [one.at for one in course], series, visit.language)


async def term_plot(visit: Visit) -> Plot:
    """Return the backlog by channel and status, and how much of the term has passed."""
    found = await visit.console.figures.deadlines(visit.customer)
    groups = dict[tuple[str, str], list[int]]()
    for one in found.margins:
        counts = groups.setdefault((one.channel, one.status), [0] * len(_STAGES))
        passed = [one.past_50, one.past_80, one.past_95, one.missed]
        for place, count in enumerate([one.keys - sum(passed), *passed]):
            counts[place] += count
    names = ("Less than half", "50 %", "80 %", "95 %", "Missed")
    caption = Caption(
        "terms",
        visit.text("Backlog by how much of its term has passed"),
        visit.text("What waits for İYS, by channel and status; what is missed is at the top."),
        visit.text("Channel and status"),
    )
    return plots.bar_plot(
        caption,
        [f"{visit.text(channel)} {visit.text(status)}" for channel, status in groups],
        [
            PlotSeries(visit.text(name), [counts[place] for counts in groups.values()])
            for place, name in enumerate(names)
        ],
        visit.language,
    )


async def as_csv(visit: Visit) -> Response:
    """Return the table of deadlines as a file."""
    found = await visit.console.figures.deadlines(visit.customer)
    rows = _rows(visit, found.margins, await visit.brand_names())
    return visit.download("deadlines.csv", plots.csv_of(_headings(visit), rows), plots.CSV)


async def _brand(visit: Visit, code: str) -> Brand:
    """Return the brand that is named; raises RefusedVisitError where the account sees none such."""
    if not code.isdecimal() or len(code) > _DIGITS:
        raise forbidden()
    await visit.need_brand(int(code))
    return await brands.registered_brand(visit.ledger, int(code))


async def opt_outs(visit: Visit) -> Response:
    """List the opt-outs of a brand that wait, with masked recipients."""
    brand = await _brand(visit, visit.request.query_params.get("brand", ""))
    return await _listed(visit, brand, is_shown=False)


async def shown_opt_outs(visit: Visit) -> Response:
    """List them with their recipients, once the look is recorded."""
    brand = await _brand(visit, visit.form.get("brand"))
    await visit.look("deadlines opt-outs", brand=brand.brand_code)
    return await _listed(visit, brand, is_shown=True)


async def _listed(visit: Visit, brand: Brand, *, is_shown: bool) -> Response:
    found = await reads.open_opt_outs(visit.ledger, brand.brand_code, most=_MOST_ROWS + 1)
    return visit.page(
        "opt_outs.html",
        brand=brand,
        may_look=visit.may(Permit.UNMASK),
        is_shown=is_shown,
        is_cut=len(found) > _MOST_ROWS,
        most=_MOST_ROWS,
        headings=[
            visit.text(one)
            for one in ("Recipient", "Channel", "Opted out", "Due", "State", "İYS's code")
        ],
        rows=[
            (
                visit.masked(one.recipient, is_shown=is_shown),
                visit.text(one.channel),
                *_times(visit, one.desired_at, one.due_at),
                visit.text(one.state),
                one.code or "",
            )
            for one in found[:_MOST_ROWS]
        ],
    )


async def opt_out_file(visit: Visit) -> Response:
    """Return all of them as the file that ``izin deadlines opt-outs`` writes, for Excel."""
    brand = await _brand(visit, visit.form.get("brand"))
    await visit.look("deadlines opt-outs file", brand=brand.brand_code)
    found = await reads.open_opt_outs(visit.ledger, brand.brand_code)
    content = plots.csv_of(OPT_OUT_HEADER, opt_out_rows(found))
    return visit.download(f"opt-outs-{brand.brand_code}.csv", content, plots.CSV)


_OPT_OUTS = "/deadlines/opt-outs"
SCREENS = (
    Screen(path="/deadlines", run=show, right=Permit.SEE),
    Screen(path="/deadlines.csv", run=as_csv, right=Permit.SEE),
    Screen(path=_OPT_OUTS, run=opt_outs, right=Permit.SEE),
    Screen(path=_OPT_OUTS, run=shown_opt_outs, right=Permit.UNMASK, method="POST"),
    Screen(path=f"{_OPT_OUTS}/file", run=opt_out_file, right=Permit.UNMASK, method="POST"),
)
