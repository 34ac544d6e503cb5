"""``izin iys push``: register our receiver for İYS's pushes, see what is registered, free a place.

Sink workers register themselves; these commands are for what a person must see and decide.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from pydantic import SecretStr

from izin.consent.model import Channel
from izin.console.push.registering import Registration
from izin.console.push.session import receiver
from izin.console.push.unregistering import Unregistration
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
from izin.runtime.settings import SinkSettings
from izin.sinks.inbound.push import push_credentials
from izin.sinks.inbound.push_connections import (
    MOST,
    ChannelConnections,
    connections_of,
)
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.push_registrations import PushRegistrations
from izin.sinks.ledger.registry.customer_brands import registered_brand

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
        url, credentials = receiver(SinkSettings())
        order = Registration(
            brand_code=brand_code,
            channels=types or tuple(Channel),
            url=url,
            credentials=credentials,
            by=by if execute else None,
        )
        done = run_at_iys(order.run)
    columns = ("brand_code", "type", "url", "result", "remedy")
    rows = [(brand_code, one.channel, url, one.result, one.remedy) for one in done]
    print_rows(output, columns, rows, below=True)
    if not execute:
        say("add --execute to register them")
    exit_if(any(one.remedy for one in done))


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
    order = Unregistration(brand_code=brand_code, channel=channel, url=url, username=username)
    with exit_on_error():
        given = SinkSettings().push_old_password
        run_at_iys(order.look)
        if not execute:
            say(f"İYS would push {channel} of brand {brand_code} to {url} no more; add --execute")
            return
        password = given or SecretStr(typer.prompt("Its password", hide_input=True, err=True))
        run_at_iys(lambda ledger, client: order.run(ledger, client, password=password, by=by))
    say(f"İYS pushes {channel} of brand {brand_code} to {url} no more")


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
    return connections_of(await client.push_registrations(brand.path), url, given)


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
