"""``izin subscribers``: systems to which events are posted by webhook."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated

import typer

from izin.console.subscribers import options, views
from izin.console.subscribers.compare import compare
from izin.console.subscribers.options import NameArgument
from izin.console.subscribers.resend import resend
from izin.console.terminal.arguments import (
    ByOption,
    ExecuteOption,
    OneCustomerOption,
    duration,
    filled,
)
from izin.console.terminal.ledger_session import run_cut, run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
    print_fields,
    print_json,
    print_rows,
    say,
    turkish,
)
from izin.runtime.settings import WebhookSettings
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import registry
from izin.sinks.ledger.webhooks.registry import NewSubscriber, PauseReason
from izin.sinks.webhooks.events import PING, body_of
from izin.sinks.webhooks.partitions import cursors_at_end
from izin.sinks.webhooks.posting import AllowedTargets, Poster, Reply, check_url, new_secret, signed

app = typer.Typer(
    help="Add and look after subscribers: systems to which events are posted, signed.\n\n"
    "Opt-outs, permissions and outcomes are posted to their URL until they acknowledge them, by "
    "izin webhooks. Who ordered what is written to the history.",
    no_args_is_help=True,
)

_DAY = timedelta(days=1)


@app.command()
def add(
    name: NameArgument,
    *,
    customer: Annotated[str, typer.Option("--customer", help="Whose events it gets.")],
    url: Annotated[str, typer.Option("--url", help="Where they are posted: https://host/path.")],
    types: options.TypesOption = None,
    brands: options.BrandsOption = None,
    channels: options.ChannelsOption = None,
    origins: options.OriginsOption = None,
    parallel: Annotated[
        int,
        typer.Option(min=1, max=64, help="Requests at a time; one for each recipient at most."),
    ] = 8,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Add a subscriber, and print the secret that signs what it gets, once.

    It gets what comes from now on; izin subscribers resend sends what came before. Exit code 3 if
    the name is taken, the customer or a brand is not registered, or nothing may be posted to the
    URL.
    """
    now, secret = datetime.now(UTC), new_secret()
    chosen = options.event_filter(
        filled(customer), types=types, brands=brands, channels=channels, origins=origins
    )
    new = NewSubscriber(name=name, url=url, filter=chosen, parallel=parallel, secret=secret)
    with exit_on_error():
        asyncio.run(check_url(AllowedTargets.parse(WebhookSettings().allowed), url))
        cursors = cursors_at_end(kafka_settings())
        run_on_ledger(lambda ledger: registry.add(ledger, new, cursors, by=by, now=now))
    _print_secret(output, name, secret, f"subscriber {name} gets what comes from now on")


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the subscribers, what each gets, and whether it takes it."""
    now = datetime.now(UTC)
    with exit_on_error():
        found = run_cut(customer, registry.every, attrgetter("customer_id"))
    print_rows(output, views.LIST, [views.list_row(one, now) for one in found])


@app.command()
def show(name: NameArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """Show a subscriber: its state, what it still lacks, its latest failures and resend.

    Exit code 1 if it fails or is paused, 3 if there is none of this name.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        kafka = kafka_settings()
        view = run_on_ledger(lambda ledger: views.look(ledger, kafka, name, now=now))
    match output:
        case OutputFormat.JSON:
            print_json(view.as_json())
        case OutputFormat.TABLE:
            print_fields(view.facts())
            if view.attempts:
                rows = [views.attempt_row(row) for row in view.attempts]
                print_rows(output, views.ATTEMPTS, rows)
    exit_if(view.subscriber.state_at(now) != "active")


@app.command("test")
def send_test(
    name: NameArgument, *, by: ByOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Post a signed event of the type test.ping now, and show what came of it. Where it is taken,
    what the subscriber refused before is posted now, too.

    Exit code 1 if the subscriber does not take it, 3 if there is none of this name.
    """
    with exit_on_error():
        reply = run_on_ledger(lambda ledger: ping(ledger, WebhookSettings(), name, by=by))
    result = {"status": reply.status, "failure": reply.failure}
    match output:
        case OutputFormat.JSON:
            print_json(result)
        case OutputFormat.TABLE:
            say(reply.failure or f"taken, with status {reply.status}")
    exit_if(reply.failure)


async def ping(ledger: Ledger, settings: WebhookSettings, name: str, *, by: str) -> Reply:
    """Post a test event to the subscriber of a name, and record that; where it is taken, what the
    subscriber refused before is posted at once.

    Raises:
        UnknownSubscriberError: there is none.
    """
    found, now = await registry.of_name(ledger, name), datetime.now(UTC)
    poster = Poster.to(found, settings, settings.tls_context())
    body = body_of(PING, now, {"customer_id": found.customer_id, "subscriber": found.name})
    webhook_id = f"msg_{secrets.token_hex(20)}"
    try:
        headers = signed(found.secrets_at(now), webhook_id, now, body)
        reply = await poster.post(headers, body)
    finally:
        await poster.close()
    result = reply.failure or f"status {reply.status}"
    await registry.tested(
        ledger, name, result=result, is_taken=reply.is_acknowledgement, by=by, now=now
    )
    return reply


@app.command()
def pause(name: NameArgument, *, by: ByOption) -> None:
    """Post nothing more to a subscriber; what comes is kept for it, as long as the topics are.

    Exit code 3 if there is none of this name.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        found = run_on_ledger(
            lambda ledger: registry.pause(ledger, name, reason=PauseReason.OPERATOR, by=by, now=now)
        )
    say(f"subscriber {name} {'is paused already' if found is None else 'paused'}")


@app.command()
def resume(name: NameArgument, *, by: ByOption) -> None:
    """Post to a paused subscriber again, beginning with what was kept for it; to one that fails,
    now instead of at the end of its pause.

    Exit code 3 if there is none of this name.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        found = run_on_ledger(lambda ledger: registry.resume(ledger, name, by=by, now=now))
    say(f"subscriber {name} {'neither is paused nor fails' if found is None else 'resumed'}")


@app.command()
def remove(
    name: NameArgument,
    *,
    execute: ExecuteOption = False,
    by: ByOption,
) -> None:
    """Remove a subscriber: nothing more is posted to it, and its name is free.

    Without --execute it only says what would stop. What waits for it is not posted; what it has
    acknowledged stays in the ledger. Exit code 3 if there is none of this name.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        if execute:
            run_on_ledger(lambda ledger: registry.remove(ledger, name, by=by, now=now))
            say(f"subscriber {name} removed")
            return
        kafka = kafka_settings()
        view = run_on_ledger(lambda ledger: views.look(ledger, kafka, name, now=now))
    found, waiting = view.subscriber, sum(view.open.values())
    # What is unread is also of others: how much of it is for this one, nobody knows yet.
    more = ", and more that was not read for it yet" if any(view.unread.values()) else ""
    say(f"subscriber {name} of {found.customer_id} would get nothing more at {found.url}")
    say(f"{waiting} records wait for it{more}; add --execute to remove it")


def _grace(text: str) -> timedelta:
    found = duration(text)
    if found < timedelta(0):
        raise typer.BadParameter("it is negative; PT0S signs with the new secret alone at once")
    return found


@app.command("rotate-secret")
def rotate_secret(
    name: NameArgument,
    *,
    grace: Annotated[
        timedelta,
        typer.Option(
            parser=_grace,
            metavar="DURATION",
            show_default="PT24H",
            help="How long the former secret signs too, as PT24H.",
        ),
    ] = _DAY,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Sign with a new secret, which is printed once, and for the grace with the former one too.

    Give the subscriber the new one within the grace. Exit code 3 if there is none of this name.
    """
    now, secret = datetime.now(UTC), new_secret()
    until = now + grace
    with exit_on_error():
        run_on_ledger(
            lambda ledger: registry.rotate_secret(
                ledger, name, secret=secret, until=until, by=by, now=now
            )
        )
    _print_secret(output, name, secret, f"the former secret signs too until {turkish(until)}")


app.command()(resend)
app.command()(compare)


def _print_secret(output: OutputFormat, name: str, secret: str, beside: str) -> None:
    match output:
        case OutputFormat.JSON:
            print_json({"name": name, "secret": secret})
        case OutputFormat.TABLE:
            say(f"{beside}; its secret is printed once:")
            typer.echo(secret)
