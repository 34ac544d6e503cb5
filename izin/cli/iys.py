"""``izin iys``: İYS's register beside ours, its daily files, its pushes and its limits.

Sink workers register themselves for pushes; ``izin iys push`` is for what a person must decide.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated

import typer
from pydantic import SecretStr

from izin.cli.brands.retailers_at_iys import app as retailers_app
from izin.cli.daily import app as daily
from izin.cli.terminal import (
    BrandArgument,
    BrandsOption,
    ByOption,
    ChannelOption,
    ExecuteOption,
    OneBrandOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    SinceOption,
    end_dry_run,
    exit_if,
    print_found,
    print_rows,
    say,
    say_dry_run,
    turkish,
)
from izin.cli.terminal.iys_session import WorkerSettings, run_at_iys
from izin.cli.terminal.ledger_session import chosen_brands, named_brand, run_cut, run_on_ledger
from izin.consent import Channel, SourceError
from izin.iys.client import IysClient
from izin.iys.errors import MisconfiguredError
from izin.iys.wire_format import PushConnection
from izin.ledger.brands import registered_brand
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import addresses
from izin.ledger.sweep import sweeps
from izin.ledger.sweep.sweeps import GroupSize, RegisterCount, Sweep
from izin.runtime.settings import SinkSettings
from izin.sinks.inbound import push_connections
from izin.sinks.inbound.push import PushRegistrations, push_credentials
from izin.sinks.inbound.push_connections import (
    MOST,
    ChannelConnections,
)

_COUNTS = {
    "queried": "queried",
    "confirmed": "as known",
    "shut": "shut",
    "asked": "asked alone",
    "found": "found",
    "skipped": "in motion",
    "refused": "refused",
}
TITLES = {
    "brand_code": "brand",
    "reason": "because",
    "started_at": "started",
    "ended_at": "ended",
    "keys": "keys",
    **_COUNTS,
    "state": "state",
}
"""The columns of a sweep; the last one is printed below."""


app = typer.Typer(
    help="Compare İYS's register with ours, and see what it counts, pushes and limits.\n\n"
    "İYS (İleti Yönetim Sistemi) is Turkey's national register of consents to commercial messages.",
    no_args_is_help=True,
)
push_app = typer.Typer(
    help="See and change where İYS pushes what citizens do there.\n\n"
    f"İYS pushes per brand and channel, to at most {MOST} receivers each, once its support has "
    "enabled push for the brand.",
    no_args_is_help=True,
)

_RECEIVER = "IZIN_PUSH_URL, IZIN_PUSH_USERNAME and IZIN_PUSH_PASSWORD"


@push_app.command("status")
def push_status(brand_code: BrandArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """List a brand's push connections at İYS: of each channel ours (IZIN_PUSH_URL) and others.

    Asks İYS, and changes nothing. Times are Turkish. Exit code 1 if İYS does not push a channel to
    us with the credentials of the settings.
    """
    sink = SinkSettings()
    rows = [
        row
        for one in run_at_iys(lambda ledger, client: _states(ledger, client, brand_code, sink))
        for row in _rows(brand_code, one, sink.push_url)
    ]
    print_rows(
        output,
        {
            "brand_code": "brand",
            "type": "type",
            "url": "URL",
            "ours": "ours",
            "status": "status at İYS",
            "registered_at": "registered",
            "remedy": "remedy",
        },
        rows,
        below=True,
    )
    exit_if(any(row[-1] for row in rows))


@push_app.command()
def unregister(
    brand_code: BrandArgument,
    *,
    channel: ChannelOption,
    url: Annotated[str, typer.Option(help="The URL, as izin iys push status shows it.")],
    username: Annotated[str, typer.Option(help="The user that it was registered with.")],
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Have İYS push a channel of a brand to a URL no more, so that its place is free.

    İYS frees a connection only with its own user and password. The password is that of
    IZIN_PUSH_OLD_PASSWORD (or of the file IZIN_PUSH_OLD_PASSWORD_FILE), else it is asked for. Our
    own receiver is registered again by the sink workers unless IZIN_PUSH_BRANDS leaves the brand
    out. Who ordered it is written to the history. Exit code 3 if İYS has no such connection, or
    user or password are wrong.
    """
    given = SinkSettings().push_old_password
    run_at_iys(lambda ledger, client: _check(ledger, client, brand_code, channel, url))
    end_dry_run(f"İYS would push {channel} of brand {brand_code} to {url} no more", execute=execute)
    password = given or SecretStr(typer.prompt("Its password", hide_input=True, err=True))
    old = PushConnection(url=url, type=channel, username=username, password=password)
    run_at_iys(lambda ledger, client: _unregister(ledger, client, brand_code, old, by))
    say(f"İYS pushes {channel} of brand {brand_code} to {url} no more")


async def _check(
    ledger: Ledger, client: IysClient, brand_code: int, channel: Channel, url: str
) -> None:
    """Raise SourceError where İYS pushes this channel of a brand to no such URL."""
    brand = await registered_brand(ledger, brand_code)
    found = await client.push_registrations(brand.path)
    if not any((one.type, one.url) == (channel, url) for one in found):
        raise SourceError(
            f"İYS pushes {channel} of brand {brand_code} to no {url}; see: "
            f"izin iys push status {brand_code}"
        )


async def _unregister(
    ledger: Ledger, client: IysClient, brand_code: int, connection: PushConnection, by: str
) -> None:
    """Have İYS push over ``connection`` no more.

    Raises:
        SourceError: İYS does not free it, for user or password are others.
        CallError: İYS does not answer.
    """
    brand = await registered_brand(ledger, brand_code)
    try:
        await push_connections.unregister(ledger, client, brand, connection, by=by)
    except MisconfiguredError as error:
        raise SourceError(
            f"İYS did not free it ({error}): user and password must be those that it was "
            "registered with; if nobody has them, ask İYS's support (API Destek Platformu)"
        ) from error


async def _states(
    ledger: Ledger, client: IysClient, brand_code: int, sink: SinkSettings
) -> Sequence[ChannelConnections]:
    """Return what İYS has for each channel; ours, where the settings have a receiver."""
    brand = await registered_brand(ledger, brand_code)
    url, credentials = sink.push_url or "", push_credentials(sink)
    given: frozenset[Channel] = frozenset()
    if credentials is not None:
        registrations = PushRegistrations(ledger=ledger, url=url)
        given = await registrations.registered(brand_code, credentials.secret)
    return push_connections.connections_of(await client.push_registrations(brand.path), url, given)


def _rows(
    brand_code: int, one: ChannelConnections, url: str | None
) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a channel: ours first, registered or not, with what is to be done."""
    ours = one.ours
    yield (
        brand_code,
        one.channel,
        url,
        True,
        "none" if ours is None else ours.status,
        None if ours is None else ours.registered_at,
        _remedy(brand_code, one, url),
    )
    for other in one.others:
        yield brand_code, one.channel, other.url, False, other.status, other.registered_at, ""


def _remedy(brand_code: int, one: ChannelConnections, url: str | None) -> str:
    if url is None:
        return f"set {_RECEIVER} as the sink workers have them"
    if one.is_full:
        return (
            f"free a place of {one.channel}: izin iys push unregister {brand_code} "
            f"--type {one.channel}"
        )
    if one.is_established and one.has_credentials:
        return ""
    return f"a sink worker registers it (its log: push registration failed), if {_RECEIVER} are set"


def sweep_row(sweep: Sweep) -> tuple[object, ...]:
    """Return the cells of a sweep."""
    own = (
        sweep.brand_code,
        {"gap": "gap", "order": "ordered", "schedule": "schedule"}[sweep.reason],
        sweep.started_at,
        sweep.ended_at,
        sweep.keys,
    )
    return *own, *(getattr(sweep.counts, name) for name in _COUNTS), sweep_state(sweep)


def sweep_state(sweep: Sweep) -> str:
    """Return how far a sweep is, and what holds it up."""
    words = [remaining(sweep)]
    if sweep.is_stopped:
        words.append("stopped")
    if sweep.error is not None:
        words.append(f"waits until {turkish(sweep.retry_at)}, for {sweep.error}")
    words += [
        f"left out {skipped_group}: give the right back at İYS"
        for skipped_group in sweep.skipped_groups
    ]
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
    codes, sizes, open_ = run_on_ledger(lambda ledger: _plan(ledger, brand), needed)
    if execute:
        started = run_on_ledger(
            lambda ledger: sweeps.order(ledger, codes, by=by, now=datetime.now(UTC)), needed
        )
        open_ |= {sweep.brand_code: sweep for sweep in started}
    print_rows(
        output,
        {
            "brand_code": "brand",
            "keys": "keys",
            "requests": "requests",
            "takes": "takes",
            "sweep": "sweep",
        },
        [_planned(code, sizes, open_.get(code), rate) for code in codes],
    )
    if not execute:
        say_dry_run("nothing was started")


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
    say(
        *(
            f"the sweep of brand {sweep.brand_code} is stopped: {remaining(sweep)}"
            for sweep in stopped
        )
    )
    if not stopped:
        say("no sweep is open")


async def _plan(
    ledger: Ledger, brand_codes: Sequence[int] | None
) -> tuple[list[int], tuple[GroupSize, ...], dict[int, Sweep]]:
    """Return the brands, how many keys they have, and their open sweeps.

    Raises:
        UnregisteredBrandError: a brand is not registered.
    """
    codes = [
        chosen_brand.brand_code
        for chosen_brand in await chosen_brands(ledger, brand_codes)
        if brand_codes or chosen_brand.status == "active"
    ]
    open_ = {
        sweep.brand_code: sweep for sweep in await sweeps.latest(ledger) if sweep.ended_at is None
    }
    return codes, await sweeps.sizes(ledger, codes), open_


def _planned(
    brand_code: int, sizes: Sequence[GroupSize], open_: Sweep | None, rate: float
) -> tuple[object, ...]:
    mine = [size for size in sizes if size.brand_code == brand_code]
    requests = sum(one.requests for one in mine)
    takes = timedelta(seconds=round(requests / rate))
    progress = "not started" if open_ is None else f"open: {remaining(open_)}"
    return brand_code, sum(one.keys for one in mine), requests, str(takes), progress


@app.command()
def counts(
    *,
    customer: OneCustomerOption = None,
    brand: OneBrandOption = None,
    since: SinceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show how many consents İYS counts of each brand, how many the ledger has, and the surplus.

    A sink worker counts once a day; shown is the last count, and with --since those before it too.
    The surplus is what İYS has beyond ours; no method of İYS lists a brand's keys. Exit code 1 if
    a difference of a last count is more than what was on its way to İYS then.
    """
    found = run_cut(
        customer,
        lambda ledger: sweeps.latest_counts(ledger, brand, since=since),
        attrgetter("brand_code"),
        only=named_brand(brand),
    )
    last = {one.brand_code: one for one in reversed(found)}
    print_found(
        output,
        {
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
        },
        found,
        below=True,
        remedy=lambda one: remedy_of_count(one) if one is last[one.brand_code] else None,
    )
    if not found:
        say("nothing was counted yet: a sink worker counts once a day")
    exit_if([one for one in last.values() if one.differs])


app.add_typer(daily, name="daily")
app.add_typer(sweeps_app, name="sweep")
app.add_typer(push_app, name="push")
app.add_typer(retailers_app, name="retailers")


@app.command("limits")
def rate_limits(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """Show each egress address: İYS's success rate of the day, its pace, and limited calls used.

    İYS counts failed calls against an address. Below 80 % success we slow an address down; below
    75 % it sends in bulk only what is due within a day. An address that İYS has taken off its list
    is answered no more: its brands are served from the others until it is. Exit code 1 if an
    address is below or off the list.
    """
    found = run_on_ledger(addresses)
    print_found(
        output,
        {
            "address": "address",
            "reputation": "reputation",
            "delisted_at": "off İYS's list since",
            "calls_24h": "calls in 24 h",
            "failed_24h": "failed",
            "pace": "pace",
            "paused_until": "paused until",
            "token_calls_1h": "token calls in 1 h",
            "token_paused_until": "token calls paused until",
            "status_calls_1h": "status calls in 1 h",
            "history_calls_1h": "histories in 1 h",
        },
        found,
        calls_24h=attrgetter("calls"),
        failed_24h=attrgetter("failures"),
        pace=lambda one: round(one.factor, 2),
        token_calls_1h=attrgetter("token_calls"),
        token_paused_until=attrgetter("token_silent_until"),
        status_calls_1h=attrgetter("status_calls"),
        history_calls_1h=attrgetter("history_calls"),
    )
    exit_if([one for one in found if not one.is_good])
