"""``izin report week``: what happened for each customer, and what each used."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.console.reports.latency import begin_of, shown
from izin.console.terminal.arguments import OneCustomerOption
from izin.console.terminal.customer_cut import cut_to
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_on_error,
    print_json,
    print_rows,
    turkish,
)
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history.reports import CustomerFigures, figures

_COLUMNS = (
    "customer",
    "received",
    "registered",
    "refused",
    "overdue",
    "opt-outs",
    "p50",
    "p95",
)


def week(
    *,
    customer: OneCustomerOption = None,
    since: Annotated[
        str,
        typer.Option(help="For how long, as 24h, 7d or P1D; or from when, as 2026-03-02T12:00."),
    ] = "7d",
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print a customer's week: received, registered, refused by reason, overdue, opt-outs, usage.

    Without --customer a line for each. p50 and p95 are how long it took from the decision on an
    event until İYS's answer was recorded. What could not be decided on at all is in izin
    dead-letters list --customer. Times are Turkish; JSON has seconds.
    """
    with exit_on_error():
        now = datetime.now(UTC)
        begin = begin_of(since, now)
        found = run_on_ledger(lambda ledger: _look(ledger, begin, now, customer))
    if output is OutputFormat.JSON:
        print_json({"since": begin, "until": now, "customers": [asdict(one) for one in found]})
    elif customer is None:
        print_rows(output, _COLUMNS, map(_row, found))
    else:
        for one in found:
            print_rows(output, ("what", "value"), _lines(one, begin, now))


async def _look(
    ledger: Ledger, since: datetime, now: datetime, customer: str | None
) -> Sequence[CustomerFigures]:
    cut = await cut_to(ledger, customer)
    return await figures(ledger, since=since, until=now, customer_id=cut.customer_id)


def _row(one: CustomerFigures) -> tuple[object, ...]:
    return (
        one.customer_id,
        one.received,
        one.registered,
        sum(one.refused.values()),
        one.overdue,
        one.opt_outs,
        _took(one.p50),
        _took(one.p95),
    )


def _lines(one: CustomerFigures, since: datetime, now: datetime) -> list[tuple[str, object]]:
    return [
        ("customer", f"{one.customer_id} {one.name}"),
        ("from", turkish(since)),
        ("to", turkish(now)),
        ("received", one.received),
        ("registered at İYS", one.registered),
        ("of these opt-outs", one.opt_outs_registered),
        ("refused by İYS", sum(one.refused.values())),
        *((f"  {reason}", count) for reason, count in one.refused.items()),
        ("overdue now", one.overdue),
        ("opt-outs sent too late", one.breaches),
        ("opt-outs", one.opt_outs),
        ("decision to İYS's answer, p50", _took(one.p50)),
        ("decision to İYS's answer, p95", _took(one.p95)),
        ("İYS requests with its records", one.requests),
        ("records", one.keys),
        ("valid API keys", one.api_keys),
    ]


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else shown(seconds)
