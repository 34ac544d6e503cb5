"""``izin report latency``: how long changes that began at İYS took, by path and leg."""

import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from izin.console.terminal.arguments import OneCustomerOption, duration, instant
from izin.console.terminal.customer_cut import cut_to
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_on_error,
    kafka_settings,
    print_json,
    print_rows,
)
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history.reports import Leg, LegLatency, latencies

_SHORT = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_COLUMNS = {
    "path": "path",
    "leg": "leg",
    "changes": "changes",
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
}
_MINUTE, _HOUR = 60.0, 3600.0


def latency(
    *,
    since: Annotated[
        str,
        typer.Option(help="For how long, as 24h, 7d or P1D; or from when, as 2026-03-02T12:00."),
    ] = "24h",
    customer: OneCustomerOption = None,
    brand: Annotated[int | None, typer.Option(min=1, help="Only of this brand.")] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print how long changes at İYS took to arrive, to be decided, and to reach others.

    By the path that brought them first (push, pull, daily file, status query): from İYS's creation
    date to the receipt here, from there to the decision in the ledger, from there to the published
    permission, and from the receipt to each subscriber. İYS's dates are whole seconds by its own
    clock. JSON has seconds.
    """
    with exit_on_error():
        begin = begin_of(since, datetime.now(UTC))
        topic = kafka_settings().topics.permissions.name
        found = run_on_ledger(lambda ledger: _look(ledger, begin, customer, brand, topic))
    if output is OutputFormat.JSON:
        print_json({"since": begin, "latencies": [asdict(one) for one in found]})
    else:
        print_rows(output, _COLUMNS, [_row(one) for one in found])


async def _look(
    ledger: Ledger, since: datetime, customer: str | None, brand: int | None, topic: str
) -> tuple[LegLatency, ...]:
    cut = await cut_to(ledger, customer, None if brand is None else [brand])
    return await latencies(
        ledger,
        since=since,
        brand_code=brand,
        permissions=topic,
        customer_id=cut.customer_id,
    )


def begin_of(text: str, now: datetime) -> datetime:
    """Return the instant from which ``text`` counts; anything else is wrong usage."""
    try:
        short = _SHORT.fullmatch(text)
        if short is not None:
            return now - timedelta(**{_UNITS[short[2]]: int(short[1])})
        return now - duration(text) if text.startswith("P") else instant(text)
    except (OverflowError, typer.BadParameter):
        raise typer.BadParameter(
            f"{text} says neither for how long nor from when; write it as 24h, 7d, P1D or "
            "2026-03-02T12:00",
            param_hint="--since",
        ) from None


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
