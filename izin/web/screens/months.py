"""The month of a customer: what came, and what became of it at İYS; a page, and a workbook."""

import asyncio
from datetime import date

from starlette.responses import Response

from izin.consent import TURKEY
from izin.ledger.brands import brands_of
from izin.views import months as views
from izin.views.i18n import month_name, number
from izin.views.months import MonthReport
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit

PATH = "/months"
_SHOWN = 25
"""Months to choose from: this one, and those of two years before it."""
_WAITS = 5.0
"""Seconds after which the page comes before its report."""
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_making: dict[tuple[str, date], asyncio.Task[MonthReport]] = {}


async def show(visit: Visit) -> Response:
    """Show the report of a month as it was made last."""
    months = _months(visit)
    month = _month(visit.request.query_params.get("month", ""), months)
    customer, language = visit.customer, visit.language
    report = None if customer is None else await views.kept(visit.ledger, customer, month)
    rows = []
    if report is not None:
        names = await _brands(visit)
        rows = [
            [
                views.brand_of(row, names, language),
                row.channel or "",
                *(
                    number(language, cell) if isinstance(cell, int) else cell
                    for cell in views.cells(row, language)
                ),
            ]
            for row in report.rows
        ]
    return visit.page(
        "months.html",
        months=[(one.isoformat()[:7], month_name(language, one)) for one in months],
        month=month.isoformat()[:7],
        title=month_name(language, month),
        report=report,
        rows=rows,
        refusals=[] if report is None else views.refusals(report, language),
        headings=["brand", "channel", *views.TITLES.values()],
        is_being_made=(customer, month) in _making,
    )


async def make(visit: Visit) -> Response:
    """Make the report of a month, or begin to."""
    month = _month(visit.form.get("month"), _months(visit))
    place = (_customer(visit), month)
    task = _making.get(place)
    if task is None:
        made = views.make(visit.ledger, *place, now=visit.now)
        task = _making[place] = asyncio.create_task(made)
        task.add_done_callback(lambda _: _making.pop(place, None))
    done, _ = await asyncio.wait([task], timeout=_WAITS)
    for one in done:
        one.result()
    return visit.redirect(PATH, month=month.isoformat()[:7])


async def download(visit: Visit) -> Response:
    """Return the report as a workbook."""
    month = _month(visit.request.query_params.get("month", ""), _months(visit))
    customer = _customer(visit)
    report = await views.kept(visit.ledger, customer, month)
    if report is None:
        raise RefusedVisitError(404, "This report has not been made yet.")
    whose = next(one for one in visit.customers if one.customer_id == customer)
    content = views.workbook_of(report, whose, await _brands(visit), visit.language)
    name = f"izin-{month.isoformat()[:7]}.xlsx"
    return visit.download(name, content, _XLSX)


def _customer(visit: Visit) -> str:
    if visit.customer is None:
        raise RefusedVisitError(422, "Choose a customer first.")
    return visit.customer


async def _brands(visit: Visit) -> dict[int, str]:
    found = await brands_of(visit.ledger, _customer(visit))
    return {code: brand.name for code, brand in found.items()}


def _months(visit: Visit) -> list[date]:
    """Return the months to choose from, this one first."""
    today = visit.now.astimezone(TURKEY)
    first = today.year * 12 + today.month - 1
    months = (divmod(first - ago, 12) for ago in range(_SHOWN))
    return [date(year, month + 1, 1) for year, month in months]


def _month(text: str, months: list[date]) -> date:
    """Return the month that is chosen; else the last that is over."""
    return next((one for one in months if one.isoformat()[:7] == text), months[1])


SCREENS = (
    Screen(path=PATH, run=show, right=Permit.SEE),
    Screen(path=f"{PATH}/make", run=make, right=Permit.SEE, method="POST"),
    Screen(path=f"{PATH}/file", run=download, right=Permit.SEE),
)
