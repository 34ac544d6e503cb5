"""``izin iys`` and ``izin rate-limits``: what waits here for İYS, its limits, and its register."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated, NamedTuple

import typer

from izin.consent.errors import SourceError
from izin.consent.model import Status
from izin.console.daily import app as daily
from izin.console.push import app as push
from izin.console.remedies import held_back, remedy_of_brake
from izin.console.terminal.arguments import (
    BrandArgument,
    ByOption,
    ExecuteOption,
    OneCustomerOption,
    filled,
)
from izin.console.terminal.iys_session import WorkerSettings
from izin.console.terminal.ledger_session import run_cut, run_on_ledger, topic_messages
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    cells,
    exit_if,
    print_rows,
    say,
    turkish,
)
from izin.iys.rate_limit import Reputation
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger.brake import decisions
from izin.sinks.ledger.brake.decisions import Brake, BrakeDecision
from izin.sinks.ledger.brands import registered_brand
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.rate_limits import addresses
from izin.sinks.ledger.sweep import sweeps
from izin.sinks.ledger.sweep.sweeps import GroupSize, RegisterCount, Sweep
from izin.sinks.record.messages import TopicMessages

TITLES = {
    "brand_code": "brand",
    "reason": "because",
    "started_at": "started",
    "ended_at": "ended",
    "keys": "keys",
    "queried": "queried",
    "confirmed": "as known",
    "shut": "shut",
    "asked": "asked alone",
    "found": "found",
    "skipped": "in motion",
    "refused": "refused",
    "state": "state",
}
"""The columns of a sweep; the last one is printed below."""

_REASONS = {"gap": "gap", "order": "ordered", "schedule": "schedule"}
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
_COUNTED = {
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
_ADDRESSES = {
    "address": "address",
    "reputation": "reputation",
    "calls_24h": "calls in 24 h",
    "failed_24h": "failed",
    "pace": "pace",
    "paused_until": "paused until",
    "token_calls_1h": "token calls in 1 h",
    "token_paused_until": "token calls paused until",
    "status_calls_1h": "status calls in 1 h",
}


app = typer.Typer(
    help="Decide about opt-outs (RET), and opt-ins (ONAY) over them, that are held back from İYS, "
    "compare its register with ours, and see where it pushes.\n\n"
    "Where one source opts out more recipients of a brand than its customer allows (izin customers "
    "brake), the opt-outs take effect at once, and are not registered at İYS until a person "
    "decides, or a day before they are due. Where one reverses more opt-outs than is "
    "allowed, its opt-ins over opt-outs wait for a person.",
    no_args_is_help=True,
)


def sweep_row(sweep: Sweep) -> tuple[object, ...]:
    """Return the cells of a sweep."""
    counts = sweep.counts
    return (
        sweep.brand_code,
        _REASONS[sweep.reason],
        sweep.started_at,
        sweep.ended_at,
        sweep.keys,
        counts.queried,
        counts.confirmed,
        counts.shut,
        counts.asked,
        counts.found,
        counts.skipped,
        counts.refused,
        sweep_state(sweep),
    )


def sweep_state(sweep: Sweep) -> str:
    """Return how far a sweep is, and what holds it up."""
    words = [remaining(sweep)]
    if sweep.is_stopped:
        words.append("stopped")
    if sweep.error is not None:
        words.append(f"waits until {turkish(sweep.retry_at)}, for {sweep.error}")
    words += [f"left out {one}: give the right back at İYS" for one in sweep.skipped_groups]
    return "; ".join(words)


def remaining(sweep: Sweep) -> str:
    """Return how much of a sweep is done."""
    if sweep.ended_at is not None and not sweep.is_stopped:
        return "done"
    share = min(sweep.counts.queried / sweep.keys, 1.0) if sweep.keys else 0.0
    return f"{sweep.counts.queried:,} of {sweep.keys:,} keys, {share:.0%}"


def remedy_of_count(count: RegisterCount) -> str:
    """Return what a difference of counts means, and what a person does about it."""
    if not count.differs:
        return "nothing to do"
    words = []
    for status, surplus in (("ONAY", count.onay_surplus), ("RET", count.ret_surplus)):
        if surplus > 0:
            words.append(
                f"İYS holds {surplus:,} {status} that no key here has: only its portal or the "
                "earlier integrator can name them, for it lists no keys of a brand"
            )
        elif surplus < 0:
            words.append(
                f"{-surplus:,} {status} here are not at İYS: "
                f"izin iys sweep start --brand {count.brand_code}"
            )
    return "; ".join(words)


sweeps_app = typer.Typer(
    help="Compare what İYS holds of a brand with the ledger, key by key.\n\n"
    "Where İYS holds no consent (ONAY) that was believed, nothing may be sent at once, and İYS is "
    "asked about that recipient alone. A consent beside an opt-out (RET) opens nothing.",
    no_args_is_help=True,
)


@sweeps_app.command()
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
    needed = WorkerSettings()
    rate = needed.sweep_share * needed.requests_per_second
    now = datetime.now(UTC)
    codes, sizes, open_ = run_on_ledger(lambda ledger: _plan(ledger, brand), needed)
    if execute:
        started = run_on_ledger(lambda ledger: sweeps.order(ledger, codes, by=by, now=now), needed)
        open_ |= {one.brand_code: one for one in started}
    print_rows(output, _PLAN, [_planned(one, sizes, open_.get(one), rate) for one in codes])
    if not execute:
        say("nothing was started; add --execute to do it")


@sweeps_app.command()
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
    found = run_cut(customer, sweeps.latest, attrgetter("brand_code"), only=brand)
    shown = [one for one in found if brand is None or one.brand_code in brand]
    print_rows(output, TITLES, [sweep_row(one) for one in shown], below=True)
    exit_if([one for one in shown if one.error is not None or one.skipped_groups])


@sweeps_app.command()
def stop(*, brand: BrandsOption = None, by: ByOption) -> None:
    """Stop the open sweeps of brands; what they have found stays.

    A sweep that is started later begins at the first key. Who ordered it is written to the history.
    """
    stopped = run_on_ledger(lambda ledger: sweeps.stop(ledger, brand, by=by, now=datetime.now(UTC)))
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


@app.command()
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
    found = run_cut(
        customer,
        lambda ledger: sweeps.latest_counts(ledger, brand, since=since),
        attrgetter("brand_code"),
        only=None if brand is None else [brand],
    )
    last = {one.brand_code: one for one in reversed(found)}
    rows = cells(
        _COUNTED,
        found,
        remedy=lambda one: remedy_of_count(one) if one is last[one.brand_code] else None,
    )
    print_rows(output, _COUNTED, rows, below=True)
    if not found:
        say("nothing was counted yet: a sink worker counts once a day")
    exit_if([one for one in last.values() if one.differs])


app.add_typer(daily, name="daily")
app.add_typer(sweeps_app, name="sweep")
app.add_typer(push, name="push")


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
    exit_if([one for one in found if one.reputation is not Reputation.GOOD])
