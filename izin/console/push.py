"""``izin iys push``: register our receiver for İYS's pushes, see what is registered, free a place.

Sink workers register themselves; these commands are for what a person must see and decide.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from pydantic import SecretStr

from izin.consent.errors import OurError, SourceError
from izin.consent.model import Channel
from izin.console.terminal.arguments import BrandArgument, ByOption, ExecuteOption
from izin.console.terminal.iys_session import run_at_iys
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_rows,
    say,
)
from izin.iys.client import IysClient
from izin.iys.errors import CallError, MisconfiguredError
from izin.iys.wire_format.account import PushConnection
from izin.runtime.settings import SinkSettings
from izin.sinks.inbound import push_connections
from izin.sinks.inbound.push import Credentials, PushRegistrations, push_credentials
from izin.sinks.inbound.push_connections import (
    MOST,
    ChannelConnections,
    FullChannelError,
    PushConnections,
)
from izin.sinks.ledger.brands import registered_brand
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history.append import brand_key, record_act
from izin.sinks.record.brand import Brand

app = typer.Typer(
    help="See and change where İYS pushes what citizens do there.\n\n"
    f"İYS pushes per brand and channel, to at most {MOST} receivers each, once its support has "
    "enabled push for the brand.",
    no_args_is_help=True,
)

TypesOption = Annotated[
    list[Channel] | None,
    typer.Option("--type", help="A channel; repeat it for each. Without it all."),
]

_COLUMNS = {
    "brand_code": "brand",
    "type": "type",
    "url": "URL",
    "ours": "ours",
    "status": "status at İYS",
    "registered_at": "registered",
    "remedy": "remedy",
}


@app.command()
def status(brand_code: BrandArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """List a brand's push connections at İYS: of each channel ours (IZIN_PUSH_URL) and others.

    Asks İYS, and changes nothing. Times are Turkish. Exit code 1 if İYS does not push a channel to
    us with the credentials of the settings.
    """
    with exit_on_error():
        sink = SinkSettings()
        found = run_at_iys(lambda ledger, client: _states(ledger, client, brand_code, sink))
    rows = [row for one in found for row in _rows(brand_code, one, sink.push_url)]
    print_rows(output, _COLUMNS, rows, below=True)
    exit_if(any(row[-1] for row in rows))


@app.command()
def register(
    brand_code: BrandArgument,
    *,
    types: TypesOption = None,
    by: ByOption,
    execute: ExecuteOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Have İYS push what citizens do to our receiver (IZIN_PUSH_URL), for each channel of a brand.

    İYS tests the receiver before it answers: a sink worker must run. Who ordered it is written to
    the history. Exit code 1 if İYS does not take a channel, or others have every place of it.
    """
    with exit_on_error():
        url, credentials = _receiver(SinkSettings())
        wanted, by_whom = frozenset(types or Channel), by if execute else None

        async def order(ledger: Ledger, client: IysClient) -> Sequence[tuple[Channel, str, str]]:
            brand = await registered_brand(ledger, brand_code)
            at_iys = PushConnections(
                client=client,
                registrations=PushRegistrations(ledger=ledger, url=url),
                credentials=credentials,
                clock=ledger.clock.now,
            )
            return await _register(ledger, at_iys, brand, wanted, by_whom)

        done = run_at_iys(order)
    columns = ("brand_code", "type", "url", "result", "remedy")
    rows = [(brand_code, channel, url, result, remedy) for channel, result, remedy in done]
    print_rows(output, columns, rows, below=True)
    if not execute:
        say("add --execute to register them")
    exit_if(any(remedy for *_, remedy in done))


@app.command()
def unregister(
    brand_code: BrandArgument,
    *,
    channel: Annotated[Channel, typer.Option("--type", help="The channel.")],
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
    with exit_on_error():
        given = SinkSettings().push_old_password
        run_at_iys(lambda ledger, client: _check(ledger, client, brand_code, channel, url))
        if not execute:
            say(f"İYS would push {channel} of brand {brand_code} to {url} no more; add --execute")
            return
        password = given or SecretStr(typer.prompt("Its password", hide_input=True, err=True))
        old = PushConnection(url=url, type=channel, username=username, password=password)
        run_at_iys(lambda ledger, client: _unregister(ledger, client, brand_code, old, by))
    say(f"İYS pushes {channel} of brand {brand_code} to {url} no more")


def _receiver(sink: SinkSettings) -> tuple[str, Credentials]:
    """Return URL and credentials of our receiver; raises OurError where the settings have none."""
    credentials = push_credentials(sink)
    if sink.push_url is None or credentials is None:
        raise OurError(
            "no push receiver is set: set IZIN_PUSH_URL, IZIN_PUSH_USERNAME and "
            "IZIN_PUSH_PASSWORD as the sink workers have them"
        )
    return sink.push_url, credentials


async def _register(
    ledger: Ledger,
    at_iys: PushConnections,
    brand: Brand,
    wanted: frozenset[Channel],
    by: str | None,
) -> Sequence[tuple[Channel, str, str]]:
    """Register each channel that İYS does not have as ours, or say that it would, without ``by``;
    return what became of each, and what to do about a failure.

    Raises:
        CallError: İYS does not show its connections.
    """
    done = []
    for state in await at_iys.of(brand):
        if state.channel in wanted:
            result, remedy = await _registered(at_iys, brand, state, is_ordered=by is not None)
            done.append((state.channel, result, remedy))
    registered = [str(channel) for channel, result, _ in done if result == "registered"]
    if by is not None and registered:
        async with ledger.transaction() as connection:
            await record_act(
                connection,
                "register push",
                brand_key(brand.brand_code),
                by=by,
                now=ledger.clock.now(),
                before={},
                after={"url": at_iys.registrations.url, "channels": registered},
                customer_id=brand.customer_id,
            )
    return done


async def _registered(
    at_iys: PushConnections, brand: Brand, state: ChannelConnections, *, is_ordered: bool
) -> tuple[str, str]:
    """Register a channel if that is ordered; return what became of it, and the remedy."""
    if state.is_established and state.has_credentials:
        return "is registered", ""
    if not is_ordered and not state.is_full:
        return "would be registered", ""
    try:
        await at_iys.register(brand, state)
    except FullChannelError as error:
        return "full", str(error)
    except CallError as error:
        return f"refused ({error})", push_connections.remedy_of(error)
    return "registered", ""


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
        return "set IZIN_PUSH_URL and its credentials as the sink workers have them"
    if one.is_full:
        return (
            f"free a place of {one.channel}: izin iys push unregister {brand_code} "
            f"--type {one.channel}"
        )
    if one.is_established and one.has_credentials:
        return ""
    return f"izin iys push register {brand_code} --type {one.channel} --execute"
