"""``izin deadlines``: what is due, at risk and missed, opt-outs a person can act on, and terms.

``izin report``: figures over a time. ``latency`` says how long changes that began at İYS took, by
path and leg; ``week`` what happened for each customer, and what each used; ``month`` what became of
what came in a month; ``confirmations`` which consents given electronically were not confirmed to
the person.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from izin.cli.reports import acts, month
from izin.cli.terminal import (
    ONE_DAY,
    BrandArgument,
    BrandsOption,
    ByOption,
    ExecuteOption,
    OneBrandOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    SinceOption,
    cells,
    err,
    exit_if,
    kafka_settings,
    named,
    print_rows,
    say,
    turkish,
    write_new,
)
from izin.cli.terminal.iys_session import WorkerSettings
from izin.cli.terminal.ledger_session import chosen_brands, run_on_ledger, topic_messages
from izin.consent.forecast import Forecast, records_per_second
from izin.ledger import reads
from izin.ledger.confirmations import (
    Confirmation,
    ElectronicConsent,
    electronic_consents,
)
from izin.ledger.db import Ledger
from izin.ledger.history.reports import Leg, LegLatency, figures, latencies
from izin.ledger.registry.rule_again import CountedTerms, TermsAgain
from izin.producers.files.table_formats import harmless
from izin.views import deadlines
from izin.views.cut import Look
from izin.views.deadlines import ParkedCounts
from izin.views.remedies import OPT_OUT_HEADER, opt_out_rows

app = typer.Typer(help="Show what must be registered at İYS, and by when.", no_args_is_help=True)

_COLUMNS = {
    "brand_code": "brand",
    "channel": "channel",
    "status": "status",
    "keys": "unsettled",
    "missed": "missed",
    "past_95": "95 %",
    "past_80": "80 %",
    "past_50": "50 %",
    "due_soon": "due in 24 h",
    "parked": "parked",
    "unknown": "unknown",
    "first_due_at": "first due",
}
_COUNTED = {
    "brand_code": "brand",
    "records": "not settled",
    "sooner": "due sooner",
    "later": "due later",
    "extended": "due again",
    "expired": "expire",
}
_MINUTE, _HOUR = 60.0, 3600.0
_WEEK = {
    "customer_id": "customer",
    "received": "received",
    "registered": "registered",
    "refused": "refused",
    "overdue": "overdue",
    "opt_outs": "opt-outs",
    "p50": "p50",
    "p95": "p95",
}
_CONFIRMATIONS = {
    "event_id": "event",
    "origin": "origin",
    "origin_ref": "reference",
    "brand_code": "brand",
    "type": "type",
    "given_at": "given",
    "confirmed_at": "confirmed",
    "confirmation": "confirmation",
}


reports_app = typer.Typer(
    help="Report figures and acts over a time, from the ledger.", no_args_is_help=True
)
reports_app.command()(acts)
reports_app.command()(month)


@app.command()
def show(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List unsettled records and how much of their term has passed, with a forecast.

    Grouped by brand, channel and status, with how many are missed or have used 95, 80 and 50
    percent of their term. The forecast is what will be late at the pace İYS allows; with --customer
    it is of its records alone, as if no others waited. What the ledger has not read yet is not
    among them: izin doctor says how much that is. Exit code 1 if anything is missed, will be
    late or expire, is suspended, or is parked until a person acts.
    """
    needed = WorkerSettings()
    pace = records_per_second(needed.requests_per_second, batch_size=needed.batch_size)
    now = datetime.now(UTC)
    found = run_on_ledger(
        lambda ledger: deadlines.deadlines(
            ledger, records_per_second=pace, customer=customer, now=now
        ),
        needed,
    )
    ahead, parked = found.ahead, found.parked
    rows = cells(_COLUMNS, found.margins)
    print_rows(
        output,
        _COLUMNS,
        rows,
        as_json={
            "deadlines": named(_COLUMNS, rows),
            "will_be_late": ahead.late,
            "first_late_at": ahead.first_late_at,
            "will_be_lost": ahead.lost,
            "first_lost_at": ahead.first_lost_at,
            "done_at": ahead.done_at,
            "suspended": found.suspended,
            "parked": {"opt_outs": parked.opt_outs, "consents": parked.consents},
            "unread": found.unread and str(found.unread),
        },
        notes=[in_words(ahead, found.suspended, parked)],
    )
    if found.unread is not None:
        err.print(Text(str(found.unread), "bold red"))
    exit_if(found.needs_person)


@app.command("opt-outs")
def opt_outs(
    brand_code: BrandArgument,
    *,
    out: Annotated[Path, typer.Option(help="The file (CSV) to write, a new one.")],
    by: ByOption,
) -> None:
    """Write a brand's unsettled opt-outs into a CSV file, for a person to withdraw at İYS.

    The earliest due is first; times are Turkish. A cell that could be a formula for a spreadsheet,
    as a phone number, begins with an apostrophe. The file is personal data, readable by you only;
    who wrote it is in the history.
    Records settle by themselves once İYS shows the withdrawal, by pull or push. Exit code 3 if the
    file exists or the brand is not registered.
    """
    found = run_on_ledger(
        lambda ledger: reads.open_opt_outs(ledger, brand_code),
        brand=brand_code,
        look=Look(command="deadlines opt-outs", by=by, brand=brand_code),
    )
    text = io.StringIO(newline="")
    csv.writer(text).writerows(map(harmless, row) for row in (OPT_OUT_HEADER, *opt_out_rows(found)))
    write_new(out, text.getvalue().encode())
    say(f"{len(found)} opt-outs of brand {brand_code} are in {out}")


@app.command()
def breaches(
    *,
    customer: OneCustomerOption = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List the latest opt-outs that were sent to İYS after their third business day.

    Exit code 1 if there are any. The JSON has whole keys, which are personal data: who
    looked is written to the history.
    """
    found = run_on_ledger(
        lambda ledger: deadlines.breaches(ledger, customer=customer),
        customer=customer,
        look=Look(command="deadlines breaches", by=by, customer=customer)
        if output is OutputFormat.JSON
        else None,
    )
    rows = [(*one.parts[:3], one.due_at, one.sent_at) for one in found]
    print_rows(
        output,
        ("brand", "channel", "recipient type", "due", "sent"),
        rows,
        as_json=[asdict(one) for one in found],
    )
    exit_if(found)


def in_words(ahead: Forecast, suspended: int, parked: ParkedCounts) -> str:
    """Return the forecast of the backlog in a sentence, with what no worker will send."""
    kept = [f"{suspended} are suspended: izin brands suspensions, izin brands list"] * bool(
        suspended
    )
    if any(parked):
        kept.append(
            f"{parked.opt_outs} opt-outs and {parked.consents} consents are parked until a person "
            "acts: izin brands parked says what to do"
        )
        kept += [
            f"opt-outs that cannot wait: izin deadlines opt-outs {code}" for code in parked.brands
        ]
    return "; ".join([str(deadlines.forecast_said(ahead, is_all=not kept)), *kept])


@app.command("recount-terms")
def recount_terms(
    *,
    brands: BrandsOption = None,
    by: ByOption,
    execute: ExecuteOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Count the terms of what is not settled again, after the calendar or a brand was corrected.

    Run it with the IZIN_EXTRA_CLOSED_DAYS that is right, once every sink worker was restarted with
    it. Consents that expired by the wrong calendar and have not by the right one are due again.
    What İYS has taken stays as it is: izin replay what-if lists what of it is void, and to whom
    messages were sent. Without --execute nothing is changed. Exit code 3 if a brand is not
    registered.
    """
    counted, closed = run_on_ledger(lambda ledger: _recount(ledger, brands, by=by, execute=execute))
    rows = cells(_COUNTED, counted)
    days = ", ".join(closed) or "none"
    done = "terms are counted again" if execute else "nothing is changed: add --execute to do it"
    print_rows(
        output,
        _COUNTED,
        rows,
        as_json={
            "is_dry_run": not execute,
            "extra_closed_days": closed,
            "brands": named(_COUNTED, rows),
        },
        notes=(f"days closed besides the public holidays (IZIN_EXTRA_CLOSED_DAYS): {days}", done),
    )


async def _recount(
    ledger: Ledger, codes: Sequence[int] | None, *, by: str, execute: bool
) -> tuple[tuple[CountedTerms, ...], list[str]]:
    order = TermsAgain(
        ledger=ledger,
        topic_messages=topic_messages(),
        by=by,
        now=datetime.now(UTC),
        is_dry_run=not execute,
    )
    closed = sorted(map(str, ledger.calendar.extra_closed_days))
    return await order.run(await chosen_brands(ledger, codes)), closed


@reports_app.command()
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
    found = run_on_ledger(
        lambda ledger: latencies(
            ledger,
            since=begin,
            brand_code=brand,
            permissions=kafka_settings().topics.permissions.name,
            customer_id=customer,
        ),
        customer=customer,
        brand=brand,
    )
    print_rows(
        output,
        {
            "path": "path",
            "leg": "leg",
            "changes": "changes",
            "p50": "p50",
            "p95": "p95",
            "p99": "p99",
        },
        map(_row, found),
        as_json={"since": begin, "latencies": [asdict(one) for one in found]},
    )


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


@reports_app.command()
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
    begin = since or now - timedelta(days=7)
    found = run_on_ledger(
        lambda ledger: figures(ledger, since=begin, until=now, customer_id=customer),
        customer=customer,
    )
    if customer is None or output is OutputFormat.JSON:
        known = {"since": begin, "until": now, "customers": [asdict(one) for one in found]}
        rows = cells(
            _WEEK,
            found,
            refused=lambda one: sum(one.refused.values()),
            p50=lambda one: _took(one.p50),
            p95=lambda one: _took(one.p95),
        )
        print_rows(output, _WEEK, rows, as_json=known)
    else:
        for one in found:
            lines: list[tuple[str, object]] = [
                ("customer", f"{one.customer_id} {one.name}"),
                ("from", turkish(begin)),
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
            print_rows(output, ("what", "value"), lines)


@reports_app.command()
def confirmations(
    *,
    customer: OneCustomerOption = None,
    since: SinceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List the consents given electronically that were not confirmed to the person the same day.

    Decided in the last seven days, unless --since. Whoever sends the confirmations reports them at
    POST /v1/consents/confirmation of izin api. Open: the day is not over. Times are Turkish; JSON
    has UTC.
    """
    now = datetime.now(UTC)
    begin = since or now - timedelta(days=7)
    counts = dict.fromkeys(Confirmation, 0)
    listed = list[ElectronicConsent]()

    async def collect(ledger: Ledger) -> None:
        async for one in electronic_consents(ledger, since=begin, customer_id=customer, now=now):
            counts[one.confirmation] += 1
            if one.confirmation is not Confirmation.IN_TIME:
                listed.append(one)

    run_on_ledger(collect, customer=customer)
    rows = cells(
        _CONFIRMATIONS,
        listed,
        brand_code=lambda one: one.key.brand_code,
        type=lambda one: one.key.channel,
    )
    known = {
        "since": begin,
        "until": now,
        "counts": counts,
        "consents": named(_CONFIRMATIONS, rows),
    }
    summary = ", ".join(f"{word}: {count:,}" for word, count in counts.items())
    note = f"{sum(counts.values()):,} consents given electronically; confirmed {summary}"
    print_rows(output, _CONFIRMATIONS, rows, as_json=known, notes=(note,))


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else shown(seconds)
