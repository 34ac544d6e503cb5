"""``izin iys sweep``: have İYS asked for the status of every key of a brand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated

import typer

from izin.console.brands.lookup import registered_brand
from izin.console.sweep.description import TITLES, remaining, sweep_row
from izin.console.terminal.arguments import ByOption, ExecuteOption, OneCustomerOption
from izin.console.terminal.customer_cut import run_cut
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_rows,
    say,
    say_dry_run,
)
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.sweep import sweeps
from izin.sinks.ledger.sweep.sweeps import GroupSize, Sweep

app = typer.Typer(
    help="Compare what İYS holds of a brand with the ledger, key by key.\n\n"
    "Where İYS holds no consent (ONAY) that was believed, nothing may be sent at once, and İYS is "
    "asked about that recipient alone. A consent beside an opt-out (RET) opens nothing.",
    no_args_is_help=True,
)

BrandsOption = Annotated[
    list[int] | None,
    typer.Option("--brand", min=1, help="Only this brand; may be repeated. Else every brand."),
]

_PLAN = {
    "brand_code": "brand",
    "keys": "keys",
    "requests": "requests",
    "takes": "takes",
    "sweep": "sweep",
}


class SweepSettings(IysSettings, SinkSettings, LedgerSettings):
    """What the forecast of a sweep needs, as one group: all that is missing is named at once."""


@app.command()
def start(
    *,
    brand: BrandsOption = None,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Start a sweep of brands: a thousand recipients a request, in a sink worker.

    Without --execute it says how many keys and requests that is, and how long it takes at the share
    of requests that sweeps have (IZIN_SWEEP_SHARE). A brand that has an open sweep keeps that one.
    Who ordered it is written to the history. Exit code 3 if a brand is not registered.
    """
    with exit_on_error():
        needed = SweepSettings()
        rate = needed.sweep_share * needed.requests_per_second
        now = datetime.now(UTC)
        codes, sizes, open_ = run_on_ledger(lambda ledger: _plan(ledger, brand), needed)
        if execute:
            started = run_on_ledger(
                lambda ledger: sweeps.order(ledger, codes, by=by, now=now), needed
            )
            open_ |= {one.brand_code: one for one in started}
    print_rows(output, _PLAN, [_planned(one, sizes, open_.get(one), rate) for one in codes])
    if not execute:
        say_dry_run("nothing was started")


@app.command()
def status(
    *,
    customer: OneCustomerOption = None,
    brand: BrandsOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show the latest sweep of each brand: how far it is, and what it found.

    Times are Turkish. Exit code 1 if one waits because İYS does not answer it, or left a channel
    out.
    """
    with exit_on_error():
        found = run_cut(customer, sweeps.latest, attrgetter("brand_code"), only=brand)
    shown = [one for one in found if brand is None or one.brand_code in brand]
    print_rows(output, TITLES, [sweep_row(one) for one in shown], below=True)
    exit_if([one for one in shown if one.error is not None or one.passed_over])


@app.command()
def stop(*, brand: BrandsOption = None, by: ByOption) -> None:
    """Stop the open sweeps of brands; what they have found stays.

    A sweep that is started later begins at the first key. Who ordered it is written to the history.
    """
    with exit_on_error():
        stopped = run_on_ledger(
            lambda ledger: sweeps.stop(ledger, brand, by=by, now=datetime.now(UTC))
        )
    for one in stopped:
        say(f"the sweep of brand {one.brand_code} is stopped: {remaining(one)}")
    if not stopped:
        say("no sweep is open")


async def _plan(
    ledger: Ledger, brand_codes: Sequence[int] | None
) -> tuple[list[int], tuple[GroupSize, ...], dict[int, Sweep]]:
    """Return the brands, how many keys they have, and their open sweeps.

    Raises:
        UnregisteredBrandError: a brand is not registered.
    """
    if brand_codes is None:
        every = await registry.every(ledger)
        codes = sorted(one.brand_code for one in every if one.status == "active")
    else:
        codes = sorted(set(brand_codes))
        for one in codes:
            await registered_brand(ledger, one)
    open_ = {one.brand_code: one for one in await sweeps.latest(ledger) if one.ended_at is None}
    return codes, await sweeps.sizes(ledger, codes), open_


def _planned(
    brand_code: int, sizes: Sequence[GroupSize], open_: Sweep | None, rate: float
) -> tuple[object, ...]:
    mine = [one for one in sizes if one.brand_code == brand_code]
    requests = sum(one.requests for one in mine)
    takes = timedelta(seconds=round(requests / rate))
    standing = "not started" if open_ is None else f"open: {remaining(open_)}"
    return brand_code, sum(one.keys for one in mine), requests, str(takes), standing
