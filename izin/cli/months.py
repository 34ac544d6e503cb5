"""``izin report month``: what came of a customer in a month, and what became of it at İYS."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.terminal import OutputFormat, OutputOption, filled, print_rows, say, write_new
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.ledger.brands import brands_of
from izin.ledger.db import Ledger
from izin.ledger.registry import customers
from izin.views.i18n import Language
from izin.views.months import TITLES, MonthReport, brand_of, cells, make, workbook_of


def _month_of(text: str) -> date:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise typer.BadParameter(f"{text} is no month; write it as 2026-11") from None


def month(
    *,
    customer: Annotated[
        str, typer.Option("--customer", help="Id of the customer.", callback=filled)
    ],
    of: Annotated[
        date,
        typer.Option(
            "--month", parser=_month_of, metavar="YYYY-MM", help="The month, in Turkish time."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="The workbook (.xlsx) to write, a new one, in Turkish."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Report a customer's month by brand and channel: what came, and what became of it at İYS.

    Each event that came is in one of the other columns: registered, refused, void, nothing to
    withdraw, changed nothing, waits. p50 and p95 are how long opt-outs took to reach İYS, and from
    İYS to here. It is kept, and the console shows it; made again, it is as of now. JSON has
    seconds.
    """

    async def work(ledger: Ledger) -> tuple[customers.Customer, dict[int, str], MonthReport]:
        brands = await brands_of(ledger, customer)
        names = {code: brand.name for code, brand in brands.items()}
        report = await make(ledger, customer, of, now=datetime.now(UTC))
        return await customers.find(ledger, customer), names, report

    whose, names, report = run_on_ledger(work)
    if out is not None:
        write_new(out, workbook_of(report, whose, names, Language.TURKISH))
        say(f"the month is in {out}")
        return
    rows = [
        (brand_of(row, names, Language.ENGLISH), row.channel, *cells(row, Language.ENGLISH))
        for row in report.rows
    ]
    print_rows(output, ("brand", "channel", *TITLES.values()), rows, as_json=asdict(report))
