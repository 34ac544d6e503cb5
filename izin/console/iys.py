"""``izin iys`` and ``izin rate-limits``: what waits here for İYS, its limits, and its register."""

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated, NamedTuple

import typer

from izin.consent.errors import SourceError
from izin.consent.model import Status
from izin.console import sweep
from izin.console.daily import app as daily
from izin.console.push.command import app as push
from izin.console.remedies import held_back, remedy_of_brake
from izin.console.sweep import counts
from izin.console.terminal.arguments import (
    BrandArgument,
    ByOption,
    ExecuteOption,
    OneCustomerOption,
    filled,
)
from izin.console.terminal.ledger_session import run_cut, run_on_ledger, topic_messages
from izin.console.terminal.output import OutputFormat, OutputOption, cells, exit_if, print_rows, say
from izin.iys.rate_limit.reputation import Reputation
from izin.sinks.ledger.brake import decisions
from izin.sinks.ledger.brake.decisions import Brake, BrakeDecision
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.rate_limits import addresses
from izin.sinks.ledger.registry.customer_brands import registered_brand
from izin.sinks.record.messages import TopicMessages

app = typer.Typer(
    help="Decide about opt-outs (RET), and opt-ins (ONAY) over them, that are held back from İYS, "
    "compare its register with ours, and see where it pushes.\n\n"
    "Where one source opts out more recipients of a brand than its customer allows (izin customers "
    "brake), the opt-outs take effect at once, and are not registered at İYS until a person "
    "decides, or a day before they are due. Where one reverses more opt-outs than is "
    "allowed, its opt-ins over opt-outs wait for a person.",
    no_args_is_help=True,
)

app.add_typer(daily, name="daily")
app.add_typer(sweep.app, name="sweep")
app.command()(counts)
app.add_typer(push, name="push")

SourceOption = Annotated[
    str,
    typer.Option(help="Whose (izin iys list): an API key's name, or an origin.", callback=filled),
]
OptInsOption = Annotated[
    bool, typer.Option("--opt-ins", help="Its opt-ins over opt-outs, not its opt-outs.")
]
ReasonOption = Annotated[str, typer.Option(help="Why; the history keeps it.", callback=filled)]

_EFFECTS = {
    BrakeDecision.RELEASED: "they are registered at İYS, which is final",
    BrakeDecision.WITHDRAWN: "they would not be registered at İYS",
}
_COLUMNS = {
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
}


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List what is held back: how many opt-outs, or opt-ins over opt-outs, of which source, and
    until when at most.

    Times are Turkish. Exit code 1 if there are any.
    """
    found = run_cut(customer, decisions.undecided, attrgetter("customer_id"))
    print_rows(output, _COLUMNS, cells(_COLUMNS, found, remedy=remedy_of_brake), below=True)
    exit_if(found)


@app.command()
def release(
    brand_code: BrandArgument,
    *,
    source: SourceOption,
    opt_ins: OptInsOption = False,
    reason: ReasonOption,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Let what is held back of one source of a brand be registered at İYS, now.

    That is final: İYS takes no opt-out back. What the source sends from now on is counted anew. Who
    ordered it is written to the history. Exit code 3 if nothing is held back.
    """
    order = _BrakeOrder(BrakeDecision.RELEASED, reason, by)
    _carry_out(order, brand_code, source, Status.ONAY if opt_ins else Status.RET, execute=execute)


@app.command()
def withdraw(
    brand_code: BrandArgument,
    *,
    source: SourceOption,
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
    order = _BrakeOrder(BrakeDecision.WITHDRAWN, reason, by)
    _carry_out(order, brand_code, source, Status.ONAY if opt_ins else Status.RET, execute=execute)


class _BrakeOrder(NamedTuple):
    """What a person has decided, why, and who it is."""

    decision: BrakeDecision
    reason: str
    by: str


def _carry_out(
    order: _BrakeOrder, brand_code: int, source: str, status: Status, *, execute: bool
) -> None:
    """Show what is held back of a ``status``, and carry the order out if it is meant."""
    found = run_on_ledger(lambda ledger: _found(ledger, brand_code, source, status))
    for one in found:
        say(held_back(one))
    if not execute:
        say(f"add --execute to have them {order.decision}: {_EFFECTS[order.decision]}")
        return
    messages, now = topic_messages(), datetime.now(UTC)
    done = run_on_ledger(lambda ledger: _each(ledger, messages, found, order, now))
    for one, (count, due) in zip(found, done, strict=True):
        say(f"{count} {one.words} of {source} for brand {brand_code} are {order.decision}")
        if due:
            say(f"{due} of another source, of the same recipients, are registered from now on")


async def _each(
    ledger: Ledger,
    messages: TopicMessages,
    brakes: Sequence[Brake],
    order: _BrakeOrder,
    now: datetime,
) -> list[tuple[int, int]]:
    """Carry the order out for each of ``brakes``; return what became of each."""
    return [
        await decisions.carry_out(
            ledger, messages, one, order.decision, reason=order.reason, by=order.by, now=now
        )
        for one in brakes
    ]


async def _found(ledger: Ledger, brand_code: int, source: str, status: Status) -> tuple[Brake, ...]:
    """Return the brakes on a source of a brand that hold something of a status back.

    Raises:
        UnregisteredBrandError: the brand is not registered.
        SourceError: there is none.
    """
    await registered_brand(ledger, brand_code)
    found = tuple(
        one
        for one in await decisions.undecided(ledger)
        if (one.brand_code, one.source, one.status) == (brand_code, source, status)
    )
    if not found:
        raise SourceError(
            f"no {status} of {source} is held back for brand {brand_code}; see: izin iys list"
        )
    return found


_ADDRESSES = {
    "address": "address",
    "standing": "standing",
    "calls_24h": "calls in 24 h",
    "failed_24h": "failed",
    "pace": "pace",
    "paused_until": "paused until",
    "token_calls_1h": "token calls in 1 h",
    "token_paused_until": "token calls paused until",
    "status_calls_1h": "status calls in 1 h",
}


def rate_limits(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """Show each egress address: İYS's success rate of the day, its pace, and limited calls used.

    İYS counts failed calls against an address. Below 80 % success we slow an address down; below
    75 % it sends in bulk only what is due within a day. Exit code 1 if an address is below.
    """
    found = run_on_ledger(addresses)
    rows = cells(
        _ADDRESSES,
        found,
        calls_24h=attrgetter("calls"),
        failed_24h=attrgetter("failures"),
        pace=lambda one: round(one.factor, 2),
        token_calls_1h=attrgetter("token_calls"),
        token_paused_until=attrgetter("token_silent_until"),
        status_calls_1h=attrgetter("status_calls"),
    )
    print_rows(output, _ADDRESSES, rows)
    exit_if([one for one in found if one.standing is not Reputation.GOOD])
