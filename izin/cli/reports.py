"""``izin report month`` and ``izin report acts``: what became of what came in a month, and who did
what and looked at whom.
"""

from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.terminal import (
    ONE_DAY,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    SinceOption,
    filled,
    filled_if_given,
    print_rows,
    say,
    write_new,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.ledger.brands import brands_of
from izin.ledger.db import Ledger
from izin.ledger.registry import customers
from izin.views.acts import ActKind, ActSelection, RecordedAct, in_words, since
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


_COLUMNS = ("when", "who", "act", "on what", "customer", "changes")


def acts(
    *,
    begin: SinceOption = None,
    customer: OneCustomerOption = None,
    actor: Annotated[
        str | None, typer.Option(callback=filled_if_given, help="Only of who did it, as --by said.")
    ] = None,
    which: Annotated[ActKind, typer.Option(help="Changes, looks at people, or both.")] = (
        ActKind.EVERY
    ),
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List who did what and who looked at whom, the newest first.

    Of the last day, unless --since. Recipients are masked; a person who was looked at is shown by
    the end of a keyed digest, and izin explain lists who looked at one. Times are Turkish; JSON has
    UTC.
    """
    selected = ActSelection(customer=customer, by=actor, kind=which)
    first = begin or datetime.now(UTC) - ONE_DAY

    async def read(ledger: Ledger) -> list[RecordedAct]:
        return [one async for one in since(ledger, selected, begin=first)]

    found = run_on_ledger(read, customer=customer)
    as_json = [
        {
            "recorded_at": one.position.recorded_at,
            "customer": one.customer_id,
            "key": one.key,
            **one.data,
        }
        for one in found
    ]
    print_rows(output, _COLUMNS, in_words(found), as_json=as_json)
