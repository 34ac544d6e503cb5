"""The overview: do opt-outs flow, what waits for a person, what does not answer; and every plot.

Its figures update themselves: they are rendered once for all who are shown the same.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from starlette.responses import Response

from izin.consent import TURKEY, Channel
from izin.iys.rate_limit import STATUS
from izin.iys.tokens import TokenPolicy
from izin.ledger.history.reports import Leg
from izin.ledger.rate_limits import HOUR_LIMITS, Address
from izin.views import i18n
from izin.views.deadlines import forecast_said
from izin.views.overview import DAYS, Overview
from izin.views.worklist import MOST
from izin.web import pages, plots
from izin.web.plots import Caption, Plot, PlotSeries
from izin.web.screens.deadlines import ShownFigure, forecast_plot, term_plot
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit

_PATHS = {"push": "İYS, pushed", "pull": "İYS, pulled", "daily": "İYS, daily file"}
_PARTS = {
    "channel": ("Opt-outs a day, by channel", {one.value: one.value for one in Channel}),
    "path": ("Opt-outs a day, by how they came", {**_PATHS, "source": "Our sources"}),
}
"""How opt-outs are counted: the title, and the names of what is counted apart."""
_BOUNDS = (
    *((1, "< 1 s"), (2, "< 2 s"), (5, "< 5 s"), (10, "< 10 s"), (30, "< 30 s")),
    *((60, "< 1 min"), (300, "< 5 min"), (3600, "< 1 h"), (float("inf"), "1 h +")),
)
"""The classes of the histogram: below how many seconds."""
_DAY = 24 * 3600


async def show(visit: Visit) -> Response:
    """Show the overview, with its plots as they are now."""
    return visit.page(
        "overview.html", **await _now(visit), pictures=[await one(visit) for one in PLOTS.values()]
    )


async def live(visit: Visit) -> Response:
    """Return the events of the figures, whenever they change."""

    async def render() -> str:
        return pages.rendered("overview_now.html", visit.language, **await _now(visit))

    return visit.console.live.watch(("overview", visit.customer, visit.language), render)


async def plot_file(visit: Visit) -> Response:
    """Return the table of a plot as a file."""
    name = visit.request.query_params.get("plot", "")
    if name not in PLOTS:
        raise RefusedVisitError(404, "There is no such plot.")
    return visit.download(f"{name}.csv", (await PLOTS[name](visit)).csv, plots.CSV)


async def _now(visit: Visit) -> dict[str, Any]:
    """Return what changes by itself."""
    found = await visit.console.figures.overview(await visit.cut())
    limits = [one for address in found.addresses for one in _limits(visit, address)]
    groups = [
        (visit.text("Do opt-outs flow?"), _flow(visit, found)),
        (visit.text("What waits for a person"), _waiting(visit, found)),
        *([(visit.text("What İYS allows, and what is used"), limits)] * bool(limits)),
    ]
    return {
        "faults": [visit.text(fault) for fault in found.faults],
        "groups": groups,
        "forecast": visit.text(forecast_said(found.deadlines.ahead)),
        "at": i18n.when(visit.language, found.deadlines.at),
    }


def _flow(visit: Visit, found: Overview) -> list[ShownFigure]:
    """Return the way of events: in, decided, registered, overdue; and of opt-outs."""
    flow, language = found.flow, visit.language
    day, missed = visit.text("in 24 hours"), found.deadlines.missed
    return [
        ShownFigure(
            visit.text("Came in and decided"), i18n.number(language, flow.decided), "", day
        ),
        ShownFigure(
            visit.text("Registered at İYS"),
            i18n.number(language, flow.registered),
            "",
            visit.text(
                "in 24 hours, %(count)s of them opt-outs",
                count=i18n.number(language, flow.opt_outs_registered),
            ),
        ),
        ShownFigure(
            visit.text("Refused by İYS"),
            i18n.number(language, flow.refused),
            "warn" if flow.refused else "",
            day,
        ),
        ShownFigure(
            visit.text("Waits for İYS"),
            i18n.number(language, sum(one.keys for one in found.deadlines.margins)),
        ),
        ShownFigure(
            visit.text("Overdue"),
            i18n.number(language, missed),
            "bad" if missed else "good",
            visit.text("past the third business day"),
        ),
        ShownFigure(visit.text("Opt-outs today"), i18n.number(language, found.opt_outs_today)),
        ShownFigure(
            visit.text("Opt-outs sent too late"),
            i18n.number(language, flow.breaches),
            "bad" if flow.breaches else "",
            day,
        ),
        ShownFigure(
            visit.text("From İYS to a subscriber"),
            i18n.duration(language, found.p50),
            "",
            visit.text(
                "half of %(count)s opt-outs; 95 %% within %(p95)s",
                count=i18n.number(language, found.changes),
                p95=i18n.duration(language, found.p95),
            )
            if found.changes
            else visit.text("no subscriber took one in 24 hours"),
        ),
    ]


def _waiting(visit: Visit, found: Overview) -> list[ShownFigure]:
    """Return what no worker does by itself: the kinds of the worklist, and complaints."""
    waiting, more = found.waiting, "+" * found.waiting.is_cut
    counts = {str(kind): count for kind, count in waiting.worklist.items()}
    counts |= {
        "Open complaints": waiting.complaints,
        "Overdue complaints": waiting.complaints_overdue,
    }
    return [
        ShownFigure(
            visit.text(name),
            f"{i18n.number(visit.language, count)}{more if count > MOST else ''}",
            "warn" if count else "good",
        )
        for name, count in counts.items()
    ]


def _limits(visit: Visit, address: Address) -> list[ShownFigure]:
    """Return what an address may ask of İYS, and has asked."""
    rate, language = visit.console.settings.requests_per_second, visit.language
    allowed = round(rate * _DAY)

    def used(name: str, calls: int, most: int, hint: str) -> ShownFigure:
        return ShownFigure(
            visit.text(name),
            visit.text(
                "%(used)s of %(most)s",
                used=i18n.number(language, calls),
                most=i18n.number(language, most),
            ),
            "warn" if calls > most * 0.8 else "",
            hint,
        )

    hour = visit.text("in this hour, from %(address)s", address=address.address)
    return [
        used(
            "Requests",
            address.calls,
            allowed,
            visit.text("in 24 hours, from %(address)s", address=address.address),
        ),
        used("Status queries", address.status_calls, HOUR_LIMITS[STATUS].calls, hour),
        used("Tokens", address.token_calls, TokenPolicy().calls_per_hour, hour),
        ShownFigure(
            visit.text("Pace now"),
            visit.text("%(rate)s a second", rate=i18n.number(language, rate * address.factor))
            if address.delisted_at is None
            else visit.text("Off İYS's list of addresses"),
            "" if address.factor == 1 and address.is_good else "warn",
            visit.text(
                "%(failures)s of its calls failed", failures=i18n.number(language, address.failures)
            ),
        ),
    ]


async def _opt_outs(visit: Visit, *, part: str) -> Plot:
    """Return the opt-outs of each of the last 14 days, by a part of how they are counted."""
    title, names = _PARTS[part]
    today = visit.now.astimezone(TURKEY).date()
    days = [today - timedelta(days=DAYS - 1 - number) for number in range(DAYS)]
    counts = {(name, on): 0 for name in names for on in days}
    for one in await visit.console.figures.opt_outs(await visit.cut()):
        if (place := (getattr(one, part), one.day)) in counts:
            counts[place] += one.opt_outs
    caption = Caption(
        f"opt-outs-by-{part}",
        visit.text(title),
        visit.text("Whoever opted out, here or at İYS, in the last 14 days; days are Turkish."),
        visit.text("Day"),
    )
    series = [
        PlotSeries(visit.text(name), [counts[key, on] for on in days])
        for key, name in names.items()
    ]
    return plots.bar_plot(caption, days, series, visit.language)


async def _latencies(visit: Visit) -> Plot:
    """Return how long the latest opt-outs took from İYS to a subscriber, by path."""
    taken = await visit.console.figures.latencies(visit.customer)
    caption = Caption(
        "latencies",
        visit.text("From İYS to a subscriber"),
        visit.text(
            "How long opt-outs of the last 24 hours took from İYS's creation date until a "
            "subscriber had them."
        ),
        visit.text("Time"),
    )
    series = []
    for path, name in _PATHS.items():
        counts = [0] * len(_BOUNDS)
        for seconds in taken.get((path, Leg.WHOLE), ()):
            counts[next(n for n, (bound, _) in enumerate(_BOUNDS) if seconds < bound)] += 1
        series.append(PlotSeries(visit.text(name), counts))
    labels = [visit.text(label) for _, label in _BOUNDS]
    return plots.bar_plot(caption, labels, series, visit.language)


PLOTS: Mapping[str, Callable[[Visit], Awaitable[Plot]]] = {
    "forecast": forecast_plot,
    "terms": term_plot,
    "opt-outs-by-channel": partial(_opt_outs, part="channel"),
    "opt-outs-by-path": partial(_opt_outs, part="path"),
    "latencies": _latencies,
}
"""Every plot, by the name of its file."""
SCREENS = (
    Screen(path="/", run=show, right=Permit.SEE),
    Screen(path="/live", run=live, right=Permit.SEE),
    Screen(path="/plots.csv", run=plot_file, right=Permit.SEE),
)
