"""``izin customers brake``: above how many opt-outs, or opt-ins over opt-outs, of one source a
person decides.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.console.terminal.arguments import ByOption, CustomerArgument, ExecuteOption
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import exit_on_error, say
from izin.sinks.ledger.brake.counting import BrakeLimits, limits_of, set_limits
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry import customers
from izin.sinks.record.errors import UnknownCustomerError

_LEAST_SHARE, _MOST_SHARE = 0.01, 99.99
_AT_LEAST = 100
"""Below so many opt-outs no brake trips, unless it is said."""


def brake(
    customer_id: CustomerArgument,
    *,
    share: Annotated[
        float | None,
        typer.Option(
            min=_LEAST_SHARE,
            max=_MOST_SHARE,
            help="Percent of a brand's recipients that one source may opt out within an hour.",
        ),
    ] = None,
    at_least: Annotated[
        int, typer.Option(min=1, help="Below so many opt-outs it never trips.")
    ] = _AT_LEAST,
    reversals: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How many opt-outs of a brand one source may reverse by opt-ins within an hour.",
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Take the brake away, of both.")] = False,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Have registering wait for a person where one source opts out too many recipients, or reverses
    too many opt-outs.

    A source is the API key that published the events, else their origin. Above the share, its
    opt-outs (RET) take effect at once, and are registered at İYS when a person decides (izin iys),
    or a day before they are due. Opt-outs of other sources and those that İYS reports never wait.
    Above --reversals, its opt-ins (ONAY) over opt-outs are neither registered nor permit anything
    until a person decides; opt-ins that are certainly new consents (captured live, under a known
    notice) are neither counted nor held back. What is not given stays as it was set. What is held
    back when it is taken away still waits for a decision. Who ordered it is written to the history.
    Exit code 3 if the customer is not registered.
    """
    if (share is None and reversals is None) != off:
        raise typer.BadParameter("give --share, --reversals or both; or --off")
    with exit_on_error():
        before = run_on_ledger(lambda ledger: _known(ledger, customer_id))
        limits = before or BrakeLimits()
        if share is not None:
            limits = replace(limits, share=share, at_least=at_least)
        if reversals is not None:
            limits = replace(limits, reversals=reversals)
        new = None if off else limits
        say(f"brake of customer {customer_id}: {before or 'off'} -> {new or 'off'}")
        if not execute:
            say("add --execute to set it")
            return
        now = datetime.now(UTC)
        run_on_ledger(lambda ledger: set_limits(ledger, customer_id, new, by=by, now=now))
    say(f"brake of customer {customer_id} is {'off' if new is None else 'set'}")


async def _known(ledger: Ledger, customer_id: str) -> BrakeLimits | None:
    """Return the limits of a customer; raises UnknownCustomerError."""
    for one in await customers.every(ledger):
        if one.customer_id == customer_id:
            return limits_of(one)
    raise UnknownCustomerError(customer_id)
