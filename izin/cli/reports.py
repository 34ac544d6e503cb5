"""``izin report``: figures over a time, from the ledger.

``latency`` says how long changes that began at İYS took, by path and leg; ``week`` what happened
for each customer, and what each used.
"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import typer

from izin.cli.terminal import (
    ONE_DAY,
    OneBrandOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    SinceOption,
    kafka_settings,
    print_rows,
    turkish,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.ledger.history.reports import CustomerFigures, Leg, LegLatency, figures, latencies

_WEEK_LONG = timedelta(days=7)
_COLUMNS = {
    "path": "path",
    "leg": "leg",
    "changes": "changes",
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
}
_MINUTE, _HOUR = 60.0, 3600.0
_WEEK = (
    "customer",
    "received",
    "registered",
    "refused",
    "overdue",
    "opt-outs",
    "p50",
    "p95",
)


app = typer.Typer(help="Report figures over a time, from the ledger.", no_args_is_help=True)


@app.command()
def latency(
    *,
    since: SinceOption = None,
    customer: OneCustomerOption = None,
    brand: OneBrandOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print how long changes at İYS took to arrive, to be decided, and to reach others.

    Of the last day, unless --since. By the path that brought them first (push, pull, daily file,
    status query): from İYS's creation date to the receipt here, from there to the decision in the
    ledger, from there to the published permission, and from the receipt to each subscriber. İYS's
    dates are whole seconds by its own clock. JSON has seconds.
    """
    begin = since or datetime.now(UTC) - ONE_DAY
    topic = kafka_settings().topics.permissions.name
    found = run_on_ledger(
        lambda ledger: latencies(
            ledger, since=begin, brand_code=brand, permissions=topic, customer_id=customer
        ),
        customer=customer,
        brand=brand,
    )
    known = {"since": begin, "latencies": [asdict(one) for one in found]}
    print_rows(output, _COLUMNS, map(_row, found), as_json=known)


def _row(one: LegLatency) -> tuple[object, ...]:
    words = {Leg.WHOLE: "created to delivered"}
    leg = words.get(one.leg, str(one.leg))
    return one.path, leg, one.changes, *map(shown, (one.p50, one.p95, one.p99))


def shown(seconds: float) -> str:
    """Return a duration for people: as ``240 ms``, ``3.2 s``, ``12.5 min`` or ``30.1 h``."""
    size = abs(seconds)
    if size < 1:
        return f"{seconds * 1000:.0f} ms"
    if size < _MINUTE:
        return f"{seconds:.1f} s"
    if size < _HOUR:
        return f"{seconds / _MINUTE:.1f} min"
    return f"{seconds / _HOUR:.1f} h"


@app.command()
def week(
    *,
    customer: OneCustomerOption = None,
    since: SinceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print a customer's week: received, registered, refused by reason, overdue, opt-outs, usage.

    The last seven days, unless --since. Without --customer a line for each. p50 and p95 are how
    long it took from the decision on an event until İYS's answer was recorded. What could not be
    decided on at all is in izin dead-letters list --customer. Times are Turkish; JSON has seconds.
    """
    now = datetime.now(UTC)
    begin = since or now - _WEEK_LONG
    found = run_on_ledger(
        lambda ledger: figures(ledger, since=begin, until=now, customer_id=customer),
        customer=customer,
    )
    if customer is None or output is OutputFormat.JSON:
        known = {"since": begin, "until": now, "customers": [asdict(one) for one in found]}
        print_rows(output, _WEEK, map(_week_row, found), as_json=known)
    else:
        for one in found:
            print_rows(output, ("what", "value"), _lines(one, begin, now))


def _week_row(one: CustomerFigures) -> tuple[object, ...]:
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
