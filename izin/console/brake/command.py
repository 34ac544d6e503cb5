"""``izin iys``: opt-outs that a brake holds back from İYS, its register beside ours, and where it
pushes.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.brake.description import held_back, remedy_of_brake
from izin.console.brands.lookup import registered_brand
from izin.console.daily.command import app as daily
from izin.console.push.command import app as push
from izin.console.sweep import command as sweep
from izin.console.sweep.counts import counts
from izin.console.terminal.arguments import (
    BrandArgument,
    ByOption,
    OneCustomerOption,
    YesOption,
    filled,
)
from izin.console.terminal.customer_cut import run_cut
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
    print_rows,
    say,
)
from izin.runtime.kafka import codec
from izin.sinks.ledger.brake import decisions
from izin.sinks.ledger.brake.decisions import Brake
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.record.messages import TopicMessages

app = typer.Typer(
    help="Decide about opt-outs (RET) that are held back from İYS, compare its register with ours, "
    "and see where it pushes.\n\n"
    "Where one source opts out more recipients of a brand than its customer allows (izin customers "
    "brake), the opt-outs take effect at once, and are not registered at İYS until a person "
    "decides, or a day before they are due.",
    no_args_is_help=True,
)

app.add_typer(daily, name="daily")
app.add_typer(sweep.app, name="sweep")
app.command()(counts)
app.add_typer(push, name="push")

SourceOption = Annotated[
    str | None,
    typer.Option(
        help="Only those of this source (izin iys list): an API key's name, or an origin."
    ),
]
ReasonOption = Annotated[str, typer.Option(help="Why; the history keeps it.", callback=filled)]

_COLUMNS = {
    "brand_code": "brand",
    "source": "source",
    "held_back": "held back",
    "first_until": "first until",
    "tripped_at": "since",
    "keys": "opt-outs",
    "opted_in": "opt-ins",
    "share": "over %",
    "decision": "decision",
    "remedy": "remedy",
}


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List what is held back: how many opt-outs of which source, and until when at most.

    Times are Turkish. Exit code 1 if there are any.
    """
    with exit_on_error():
        found = run_cut(customer, decisions.undecided, attrgetter("customer_id"))
    rows = [
        (
            one.brand_code,
            one.source,
            one.held_back,
            one.first_until,
            one.tripped_at,
            one.keys,
            one.opted_in,
            one.share,
            one.decision,
            remedy_of_brake(one),
        )
        for one in found
    ]
    print_rows(output, _COLUMNS, rows, below=True)
    exit_if(found)


@app.command()
def release(
    brand_code: BrandArgument,
    *,
    source: SourceOption = None,
    reason: ReasonOption,
    by: ByOption,
) -> None:
    """Let the opt-outs of a brand that are held back be registered at İYS, now.

    That is final: İYS takes no opt-out back. What its sources send from now on is counted anew. Who
    ordered it is written to the history. Exit code 3 if nothing is held back.
    """
    with exit_on_error():
        found = run_on_ledger(lambda ledger: _found(ledger, brand_code, source))
        now = datetime.now(UTC)
        released = run_on_ledger(
            lambda ledger: _each(
                found, lambda one: decisions.release(ledger, one, reason=reason, by=by, now=now)
            )
        )
    for one, count in zip(found, released, strict=True):
        say(f"{count} opt-outs of {one.source} for brand {brand_code} are registered from now on")


@app.command()
def withdraw(
    brand_code: BrandArgument,
    *,
    source: SourceOption = None,
    reason: ReasonOption,
    by: ByOption,
    yes: YesOption = False,
) -> None:
    """Have the opt-outs of a brand that are held back not registered at İYS.

    They stay opt-outs here: nothing may be sent to their recipients until each gives a newer
    consent (ONAY). A later opt-out of a recipient is registered as any other. The history of each
    has who ordered it, and why. Exit code 3 if nothing is held back.
    """
    with exit_on_error():
        found = run_on_ledger(lambda ledger: _found(ledger, brand_code, source))
        for one in found:
            say(held_back(one))
        if not yes:
            count = sum(one.held_back for one in found)
            say(
                f"{count} opt-outs would not be registered at İYS, and would stay opt-outs here; "
                "add --yes to withdraw them"
            )
            return
        kafka, now = kafka_settings(), datetime.now(UTC)
        messages = TopicMessages(codec(kafka), kafka.topics)
        withdrawn = run_on_ledger(
            lambda ledger: _each(
                found,
                lambda one: decisions.withdraw(
                    ledger, messages, one, reason=reason, by=by, now=now
                ),
            )
        )
    for one, count in zip(found, withdrawn, strict=True):
        say(f"{count} opt-outs of {one.source} for brand {brand_code} are withdrawn")


async def _found(ledger: Ledger, brand_code: int, source: str | None) -> tuple[Brake, ...]:
    """Return the brakes of a brand, and of a source if one is given, that hold something back.

    Raises:
        UnregisteredBrandError: the brand is not registered.
        SourceError: there is none.
    """
    await registered_brand(ledger, brand_code)
    found = tuple(
        one
        for one in await decisions.undecided(ledger)
        if one.brand_code == brand_code and source in {None, one.source}
    )
    if not found:
        of = "" if source is None else f" of {source}"
        raise SourceError(f"nothing{of} is held back for brand {brand_code}; see: izin iys list")
    return found


async def _each(brakes: Sequence[Brake], order: Callable[[Brake], Awaitable[int]]) -> list[int]:
    """Give an order about each of ``brakes``; return of how many opt-outs each was."""
    return [await order(one) for one in brakes]
