"""``izin iys counts``: how many consents İYS counts of a brand, beside what the ledger believes."""

from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated

import typer

from izin.console.sweep.description import remedy_of_count
from izin.console.terminal.arguments import OneCustomerOption
from izin.console.terminal.customer_cut import run_cut
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_rows,
    say,
)
from izin.sinks.ledger.sweep import register_counts

_COLUMNS = {
    "brand_code": "brand",
    "counted_at": "counted",
    "iys_onay": "ONAY at İYS",
    "onay": "ONAY here",
    "onay_surplus": "surplus",
    "iys_ret": "RET at İYS",
    "ret": "RET here",
    "ret_surplus": "surplus of RET",
    "unconfirmed": "unconfirmed",
    "in_flight": "in flight",
    "onay_before": "ONAY surplus 30 days before",
    "ret_before": "RET surplus 30 days before",
    "remedy": "remedy",
}


def counts(
    *,
    customer: OneCustomerOption = None,
    brand: Annotated[int | None, typer.Option(min=1, help="Only this brand.")] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, help="The counts of so many days, the latest first: the trend."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show how many consents İYS counts of each brand, how many the ledger has, and the surplus.

    A sink worker counts once a day; shown is the last count, and with --days those before it too.
    The surplus is what İYS has beyond ours; no method of İYS lists a brand's keys. Exit code 1 if
    a difference of a last count is more than what was on its way to İYS then.
    """
    since = None if days is None else datetime.now(UTC) - timedelta(days=days)
    with exit_on_error():
        found = run_cut(
            customer,
            lambda ledger: register_counts.latest(ledger, brand, since=since),
            attrgetter("brand_code"),
            only=None if brand is None else [brand],
        )
    last = {one.brand_code: one for one in reversed(found)}
    rows = [
        (
            one.brand_code,
            one.counted_at,
            one.iys_onay,
            one.onay,
            one.onay_surplus,
            one.iys_ret,
            one.ret,
            one.ret_surplus,
            one.unconfirmed,
            one.in_flight,
            one.onay_before,
            one.ret_before,
            remedy_of_count(one) if one is last[one.brand_code] else None,
        )
        for one in found
    ]
    print_rows(output, _COLUMNS, rows, below=True)
    if not found:
        say("nothing was counted yet: a sink worker counts once a day")
    exit_if([one for one in last.values() if one.differs])
