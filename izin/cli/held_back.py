"""``izin held-back``: what of one source is held back from İYS until a person decides.

A source is the API key that published the events, else their origin. ``izin sequences``: numbered
events of an origin that never arrived.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated

import typer

from izin.cli.terminal import (
    BrandArgument,
    ByOption,
    CustomerArgument,
    ExecuteOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    ReasonOption,
    end_dry_run,
    exit_if,
    filled,
    kafka_settings,
    print_found,
    say,
)
from izin.cli.terminal.ledger_session import run_cut, run_on_ledger, topic_messages
from izin.consent import SourceError, Status
from izin.ledger import sequences
from izin.ledger.automatic_suspension import decisions
from izin.ledger.automatic_suspension.counting import SuspensionLimits, limits_of, set_limits
from izin.ledger.automatic_suspension.decisions import AutomaticSuspension, SuspensionDecision
from izin.ledger.registry import customers
from izin.views.remedies import held_back, remedy_of_automatic
from izin.views.worklist_acts import EFFECTS, decide

app = typer.Typer(
    help="Decide about opt-outs (RET), and opt-ins (ONAY) over them, that are held back from "
    "İYS.\n\n"
    "Where one source opts out more recipients of a brand than its customer allows (izin held-back "
    "limit), the opt-outs take effect at once, and are not registered at İYS until a person "
    "decides, or a day before they are due. Where one reverses more opt-outs than is allowed, its "
    "opt-ins over opt-outs wait for a person.",
    no_args_is_help=True,
)

OriginOption = Annotated[
    str,
    typer.Option(
        "--origin",
        help="Of this origin, or of the API key of this name (izin held-back list).",
        callback=filled,
    ),
]
OptInsOption = Annotated[
    bool, typer.Option("--opt-ins", help="Its opt-ins over opt-outs, not its opt-outs.")
]
_MINIMUM = 100
"""Of fewer opt-outs none is held back, unless it is said."""
sequences_app = typer.Typer(
    help="Find events that an origin (one of your systems) has numbered and that never arrived.",
    no_args_is_help=True,
)


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List what is held back: how many opt-outs, or opt-ins over opt-outs, of which source, and
    until when at most.

    Times are Turkish. Exit code 1 if there are any.
    """
    found = run_cut(customer, decisions.undecided, attrgetter("customer_id"))
    print_found(
        output,
        {
            "brand_code": "brand",
            "source": "source",
            "status": "status",
            "held_back": "held back",
            "first_until": "first until",
            "tripped_at": "since",
            "keys": "opt-outs",
            "opted_in": "opt-ins",
            "share": "over %",
            "decision": "decision",
            "remedy": "remedy",
        },
        found,
        below=True,
        remedy=remedy_of_automatic,
    )
    exit_if(found)


@app.command()
def release(
    brand_code: BrandArgument,
    *,
    origin: OriginOption,
    opt_ins: OptInsOption = False,
    reason: ReasonOption,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Let what is held back of one source of a brand be registered at İYS, now.

    That is final: İYS takes no opt-out back. What the source sends from now on is counted anew. Who
    ordered it is written to the history. Exit code 3 if nothing is held back.
    """
    _decide(
        _of_source(brand_code, origin, Status.ONAY if opt_ins else Status.RET),
        SuspensionDecision.RELEASED,
        reason,
        by=by,
        execute=execute,
    )


@app.command()
def withdraw(
    brand_code: BrandArgument,
    *,
    origin: OriginOption,
    opt_ins: OptInsOption = False,
    reason: ReasonOption,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Have what is held back of one source of a brand not registered at İYS.

    Opt-outs stay opt-outs here: nothing may be sent to their recipients until each gives a newer
    consent (ONAY); one that another source has sent too is registered as that one gave it. Of
    opt-ins over opt-outs, the opt-outs stand. What a recipient says later is registered as any
    other. The history of each has who ordered it, and why. Exit code 3 if nothing is held back.
    """
    _decide(
        _of_source(brand_code, origin, Status.ONAY if opt_ins else Status.RET),
        SuspensionDecision.WITHDRAWN,
        reason,
        by=by,
        execute=execute,
    )


def _decide(
    found: Sequence[AutomaticSuspension],
    decision: SuspensionDecision,
    reason: str,
    *,
    by: str,
    execute: bool,
) -> None:
    """Show what is held back, and carry the decision out if it is meant."""
    say(*(str(held_back(suspension)) for suspension in found))
    end_dry_run(f"have them {decision}: {EFFECTS[decision]}", execute=execute)
    done = run_on_ledger(
        lambda ledger: decide(
            *(ledger, topic_messages(), found, decision),
            reason=reason,
            by=by,
            now=datetime.now(UTC),
        )
    )
    say(*map(str, done))


def _of_source(brand_code: int, source: str, status: Status) -> tuple[AutomaticSuspension, ...]:
    """Return the automatic suspensions of a source of a brand that hold something of a status back.

    Raises:
        UnregisteredBrandError: the brand is not registered.
        SourceError: there is none.
    """
    wanted = (brand_code, source, status)
    found = tuple(
        suspension
        for suspension in run_on_ledger(decisions.undecided, brand=brand_code)
        if (suspension.brand_code, suspension.source, suspension.status) == wanted
    )
    if not found:
        raise SourceError(
            f"no {status} of {source} is held back for brand {brand_code}; see: izin held-back list"
        )
    return found


@app.command()
def limit(
    customer_id: CustomerArgument,
    *,
    share: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=99.99,
            help="Percent of a brand's recipients that one source may opt out within an hour.",
        ),
    ] = None,
    minimum: Annotated[
        int, typer.Option(min=1, help="Of fewer opt-outs than this none is held back.")
    ] = _MINIMUM,
    most_reversals: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How many opt-outs of a brand one source may reverse by opt-ins within an hour.",
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="No limit of either.")] = False,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Have registering wait for a person where one source opts out too many recipients, or reverses
    too many opt-outs.

    A source is the API key that published the events, else their origin. Above the share, its
    opt-outs (RET) take effect at once, and are registered at İYS when a person decides, or a day
    before they are due. Opt-outs of other sources and those that İYS reports never wait. Above
    --most-reversals, its opt-ins (ONAY) over opt-outs are neither registered nor permit anything
    until a person decides; opt-ins that are certainly new consents (captured live, under a known
    notice) are neither counted nor held back. What is not given stays as it was set. What is held
    back when the limits are taken away still waits for a decision. Who ordered it is written to the
    history. Exit code 3 if the customer is not registered.
    """
    if (share is None and most_reversals is None) != off:
        raise typer.BadParameter("give --share, --most-reversals or both; or --off")
    before = limits_of(run_on_ledger(lambda ledger: customers.find(ledger, customer_id)))
    limits = before or SuspensionLimits()
    if share is not None:
        limits = replace(limits, share=share, at_least=minimum)
    if most_reversals is not None:
        limits = replace(limits, reversals=most_reversals)
    new = None if off else limits
    change = f"limits of customer {customer_id}: {before or 'off'} -> {new or 'off'}"
    end_dry_run(change, execute=execute)
    run_on_ledger(lambda ledger: set_limits(ledger, customer_id, new, by=by, now=datetime.now(UTC)))
    say(change)


@sequences_app.command("list")
def list_missing(
    *, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE
) -> None:
    """List what is missing of each origin that misses anything.

    Left out is what may only be late: for five minutes, or in lanes not read to their end. Exit
    code 1 if anything is missing.
    """
    found = run_cut(
        customer,
        lambda ledger: sequences.missing(ledger, kafka_settings().topics),
        attrgetter("customer_id"),
    )
    print_found(
        output,
        {
            "customer_id": "customer",
            "origin": "origin",
            "numbers": "missing",
            "gaps": "gaps",
            "first_number": "first",
            "since": "since",
            "given_up": "given up",
        },
        found,
    )
    exit_if(found)


@sequences_app.command()
def close(
    *,
    customer: Annotated[str, typer.Option(help="The customer who owns the origin.")],
    origin: Annotated[str, typer.Option(help="Of this origin, as izin sequences list names it.")],
    up_to: Annotated[int, typer.Option(help="The last number to close.")],
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Declare missing numbers of an origin unused, so that they are no longer reported.

    This confirms that no event had them: database sequences skip numbers when a transaction is
    rolled back. Who declared it is written to the history. Exit code 3 if nothing is
    missing up to that number.
    """
    count = run_on_ledger(
        lambda ledger: sequences.close(
            ledger, customer, origin, until=up_to, by=by, now=datetime.now(UTC), dry=not execute
        )
    )
    if not count:
        raise SourceError(
            f"{origin} of {customer} misses nothing up to {up_to}; see: izin sequences list"
        )
    end_dry_run(f"{count} numbers of {origin} of {customer} would be closed", execute=execute)
    say(f"{count} numbers of {origin} of {customer} are closed")
