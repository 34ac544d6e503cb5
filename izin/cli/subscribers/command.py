"""``izin subscribers``: systems to which events are posted, and what they are sent again."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import filterfalse
from typing import Annotated, Any

import typer

from izin.cli.subscribers.compare import compare
from izin.cli.terminal import (
    ONE_DAY,
    BrandsOption,
    ByOption,
    ChannelsOption,
    ExecuteOption,
    GraceOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    RecipientOption,
    SinceOption,
    UntilOption,
    exit_if,
    filled,
    is_key,
    kafka_settings,
    named_recipients,
    print_fields,
    print_json,
    print_rows,
    say,
    say_dry_run,
    takes,
    turkish,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.kafka.clients import codec
from izin.ledger.db import Ledger
from izin.ledger.webhooks import registry
from izin.ledger.webhooks.registry import EventFilter, NewSubscriber, PauseReason, WebhookType
from izin.runtime.settings import WebhookSettings
from izin.views.cut import cut_to
from izin.views.subscribers import ListedSubscriber, ResendOrder, counted, details, listed, ping
from izin.webhooks import resends
from izin.webhooks.partitions import cursors_at_end
from izin.webhooks.posting import AllowedTargets, check_url, new_secret
from izin.webhooks.resends import CountedResend, Resend

app = typer.Typer(
    help="Add and look after subscribers: systems to which events are posted, signed.\n\n"
    "Opt-outs, permissions and outcomes are posted to their URL until they acknowledge them, by "
    "izin webhooks. Who ordered what is written to the history.",
    no_args_is_help=True,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LIST = {
    "name": "name",
    "customer_id": "customer",
    "state": "state",
    "url": "URL",
    "types": "types",
    "brands": "brands",
    "channels": "channels",
    "origins": "origins",
}
ATTEMPTS = ("when (Turkey)", "record", "attempt", "status", "failure")


def _facts(view: Mapping[str, Any]) -> Sequence[tuple[str, object]]:
    """Return questions about a subscriber that was looked at, and the answers."""
    waiting = [
        f"{lane}: {count['open']} open, {count['unread']} unread"
        for lane, count in view["backlog"].items()
    ]
    return [
        *zip(LIST.values(), list_row(view), strict=True),
        ("requests at a time", view["parallel"]),
        ("added", view["created_at"]),
        ("had everything last", view["had_everything_at"]),
        ("paused", view["paused_at"]),
        ("failing since", view["failing_since"]),
        ("last failure", view["last_failure"]),
        ("of", view["last_failure_at"]),
        ("signed with the former secret until", view["former_secret_until"]),
        ("backlog", "; ".join(waiting)),
        ("resend", view["resend"] and _in_words(view["resend"])),
    ]


def list_row(known: Mapping[str, Any]) -> list[object]:
    """Return the row of a subscriber in the list."""
    several = {"types", "brands", "channels", "origins"}
    return [
        " ".join(map(str, known[name])) or "all" if name in several else known[name]
        for name in LIST
    ]


def _in_words(resend: Mapping[str, Any]) -> str:
    ended = f" {turkish(resend['finished_at'])}".rstrip()
    taken = f"{resend['brought']} of {resend['planned']} events taken"
    return (
        f"no. {resend['id']} of {turkish(resend['ordered_at'])}, {resend['state']}{ended}: {taken}"
    )


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise typer.BadParameter(
            "a name has up to 64 letters, digits, dots, hyphens and underscores"
        )
    return text


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the subscriber.", callback=_name)
]


def event_filter(
    *,
    events: Annotated[
        list[WebhookType] | None,
        typer.Option("--event", help="Only events of this kind; repeat it. Else every one."),
    ] = None,
    brands: BrandsOption = None,
    channels: ChannelsOption = None,
    origins: Annotated[
        list[str] | None,
        typer.Option(
            "--origin",
            help="Only of this origin, such as iys; repeat it. Permissions have none, and come "
            "always.",
        ),
    ] = None,
) -> EventFilter:
    """Return which events a subscriber gets, by these options; of which customer is not said."""
    return EventFilter(
        customer_id="",
        types=frozenset(map(str, events or ())),
        brands=frozenset(brands or ()),
        channels=frozenset(map(str, channels or ())),
        origins=frozenset(map(filled, origins or ())),
    )


@app.command()
@takes("chosen", event_filter)
def add(
    name: NameArgument,
    *,
    customer: Annotated[str, typer.Option(help="Whose events it gets.", callback=filled)],
    url: Annotated[str, typer.Option(help="Where they are posted: https://host/path.")],
    chosen: EventFilter,
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
    new = NewSubscriber(
        name=name,
        url=url,
        filter=replace(chosen, customer_id=customer),
        parallel=parallel,
        secret=secret,
    )
    asyncio.run(check_url(AllowedTargets.parse(WebhookSettings().allowed), url))
    cursors = cursors_at_end(kafka_settings())
    run_on_ledger(lambda ledger: registry.add(ledger, new, cursors, by=by, now=now))
    _print_secret(output, name, secret, f"subscriber {name} gets what comes from now on")


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the subscribers, what each gets, and whether it takes it."""
    now = datetime.now(UTC)
    found = run_on_ledger(lambda ledger: _listed(ledger, customer, now))
    print_rows(output, LIST, [list_row(one.shown()) for one in found])


async def _listed(
    ledger: Ledger, customer: str | None, now: datetime
) -> tuple[ListedSubscriber, ...]:
    return await listed(ledger, await cut_to(ledger, customer), now=now)


@app.command()
def show(name: NameArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """Show a subscriber: its state, what it still lacks, its latest failures and resend.

    Exit code 1 if it fails or is paused, 3 if there is none of this name.
    """
    now, kafka = datetime.now(UTC), kafka_settings()
    view = run_on_ledger(lambda ledger: details(ledger, kafka, name, now=now)).shown()
    match output:
        case OutputFormat.JSON:
            print_json(view)
        case OutputFormat.TABLE:
            print_fields(_facts(view))
            if view["attempts"]:
                place = "{topic}/{partition}/{offset}".format
                rows = [
                    (one["failed_at"], place(**one), *(one[name] for name in ATTEMPTS[2:]))
                    for one in view["attempts"]
                ]
                print_rows(output, ATTEMPTS, rows)
    exit_if(view["state"] != "active")


@app.command("test")
def send_test(
    name: NameArgument, *, by: ByOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Post a signed event of the type test.ping now, and show what came of it. Where it is taken,
    what the subscriber refused before is posted now, too.

    Exit code 1 if the subscriber does not take it, 3 if there is none of this name.
    """
    reply = run_on_ledger(lambda ledger: ping(ledger, WebhookSettings(), name, by=by))
    result = {"status": reply.status, "failure": reply.failure}
    print_rows(output, tuple(result), [tuple(result.values())], as_json=result)
    exit_if(reply.failure)


@app.command()
def pause(name: NameArgument, *, by: ByOption) -> None:
    """Post nothing more to a subscriber; what comes is kept for it, as long as the topics are.

    Exit code 3 if there is none of this name.
    """
    found = run_on_ledger(
        lambda ledger: registry.pause(
            ledger, name, reason=PauseReason.OPERATOR, by=by, now=datetime.now(UTC)
        )
    )
    say(f"subscriber {name} {'is paused already' if found is None else 'paused'}")


@app.command()
def resume(name: NameArgument, *, by: ByOption) -> None:
    """Post to a paused subscriber again, beginning with what was kept for it; to one that fails,
    now instead of at the end of its pause.

    Exit code 3 if there is none of this name.
    """
    found = run_on_ledger(
        lambda ledger: registry.resume(ledger, name, by=by, now=datetime.now(UTC))
    )
    say(f"subscriber {name} {'neither is paused nor fails' if found is None else 'resumed'}")


@app.command()
def remove(name: NameArgument, *, execute: ExecuteOption = False, by: ByOption) -> None:
    """Remove a subscriber: nothing more is posted to it, and its name is free.

    Without --execute it only says what would stop. What waits for it is not posted; what it has
    acknowledged stays in the ledger. Exit code 3 if there is none of this name.
    """
    now = datetime.now(UTC)
    if execute:
        run_on_ledger(lambda ledger: registry.remove(ledger, name, by=by, now=now))
        say(f"subscriber {name} removed")
        return
    view = run_on_ledger(lambda ledger: details(ledger, kafka_settings(), name, now=now))
    one, is_unread = view.subscriber, any(lane["unread"] for lane in view.backlog.values())
    # What is unread is also of others: how much of it is for this one, nobody knows yet.
    more = ", and more that was not read for it yet" if is_unread else ""
    say(f"subscriber {name} of {one.customer_id} would get nothing more at {one.url}")
    say_dry_run(f"{view.open} records wait for it{more}")


@app.command("rotate-secret")
def rotate_secret(
    name: NameArgument,
    *,
    grace: GraceOption = ONE_DAY,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Sign with a new secret, which is printed once, and for the grace with the former one too.

    Give the subscriber the new one within the grace. Exit code 3 if there is none of this name.
    """
    now, secret = datetime.now(UTC), new_secret()
    until = now + grace
    run_on_ledger(
        lambda ledger: registry.rotate_secret(
            ledger, name, secret=secret, until=until, by=by, now=now
        )
    )
    _print_secret(output, name, secret, f"the former secret signs too until {turkish(until)}")


def _print_secret(output: OutputFormat, name: str, secret: str, beside: str) -> None:
    match output:
        case OutputFormat.JSON:
            print_json({"name": name, "secret": secret})
        case OutputFormat.TABLE:
            say(f"{beside}; its secret is printed once:")
            typer.echo(secret)


def resend_order(
    *,
    since: SinceOption = None,
    until: UntilOption = None,
    recipients: RecipientOption = None,
    chosen: EventFilter,
) -> ResendOrder:
    """Return what is sent again by these options, and of which recipients or keys; none: of all."""
    if not (since or recipients):
        raise typer.BadParameter("say what is sent: --since or --recipient")
    given = frozenset(named_recipients(recipients or ()))
    return ResendOrder(
        resend=Resend(ordered_at=datetime.now(UTC), filter=chosen, since=since, until=until),
        keys=frozenset(filter(is_key, given)),
        recipients=frozenset(filterfalse(is_key, given)),
    )


@app.command()
@takes("order", takes("chosen", event_filter)(resend_order))
def resend(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="Names of the subscribers; nobody else gets anything.",
            callback=lambda names: [*dict.fromkeys(map(_name, names))],
        ),
    ],
    *,
    order: ResendOrder,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Send named subscribers again what came since an instant, or what concerns recipients.

    Each event says that it is a repetition and keeps its id, and none is sent over something newer:
    of permissions what holds now, of opt-outs (RET) all but those that a newer consent has
    overtaken. Opt-outs that are older than their topic come from the history. Without --execute it
    only counts, by subscriber, source and type. A process that is killed amid it goes on where it
    was; izin subscribers show says how far it is. Exit code 3 if there is no subscriber of such a
    name, or an earlier resend is not done (izin subscribers cancel-resend).
    """
    kafka = kafka_settings()
    encoder = codec(kafka)
    plans = run_on_ledger(lambda ledger: counted(ledger, kafka, encoder, names, order))
    if execute:
        run_on_ledger(lambda ledger: resends.begin(ledger, plans, by=by, now=datetime.now(UTC)))
    rows = [(plan.name, *part, plan.events[part]) for plan in plans for part in sorted(plan.events)]
    print_rows(output, ("subscriber", "source", "type", "events"), rows)
    say(*(line for plan in plans for line in _lines(plan, is_ordered=execute)))


@app.command("cancel-resend")
def cancel_resend(name: NameArgument, *, by: ByOption) -> None:
    """Cancel the resend to a subscriber that is not done; what was sent stays with it.

    Exit code 3 if there is no subscriber of this name, or no such resend.
    """
    number = run_on_ledger(
        lambda ledger: resends.cancel(ledger, name=name, by=by, now=datetime.now(UTC))
    )
    say(f"resend {number} of {name} cancelled")


def _lines(plan: CountedResend, *, is_ordered: bool) -> Iterator[str]:
    """Yield what is sent, and what to do next."""
    name, total = plan.name, plan.events.total()
    if not total:
        yield f"{name}: nothing is to be sent again"
    elif is_ordered:
        yield (
            f"{name}: {total} events are sent again, beside what comes; see izin subscribers show "
            f"{name}"
        )
    else:
        yield f"{name}: add --execute to send {total} events again"


app.command()(compare)
