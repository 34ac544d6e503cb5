"""``izin subscribers resend``: send subscribers again what they were sent, or never took."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.subscribers import options
from izin.console.terminal.arguments import (
    ByOption,
    ExecuteOption,
    RecipientOption,
    instant,
    is_key,
    named_recipients,
)
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_on_error,
    kafka_settings,
    print_rows,
    say,
)
from izin.runtime.kafka import codec
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.webhooks import resends
from izin.sinks.webhooks.resends import CountedResend, Resend, planned

SinceOption = Annotated[
    datetime | None,
    typer.Option(
        parser=instant,
        metavar="INSTANT",
        help="What came since then, in Turkish time, as 2026-03-31T12:00.",
    ),
]
UntilOption = Annotated[
    datetime | None, typer.Option(parser=instant, metavar="INSTANT", help="And before then.")
]


def resend(
    names: options.NamesArgument,
    *,
    since: SinceOption = None,
    until: UntilOption = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only what it has never acknowledged.")
    ] = False,
    recipients: RecipientOption = None,
    types: options.TypesOption = None,
    brands: options.BrandsOption = None,
    channels: options.ChannelsOption = None,
    origins: options.OriginsOption = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the resends of these subscribers instead.")
    ] = False,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Send named subscribers again what came since an instant, or what they never acknowledged.

    Each event says that it is a repetition and keeps its id, and none is sent over something newer:
    of permissions what holds now, of opt-outs (RET) all but those that a newer consent has
    overtaken. Opt-outs that are older than their topic come from the history. Without --execute it
    only counts, by subscriber, source and type. A process that is killed amid it goes on where it
    was; izin subscribers show says how far it is. Exit code 3 if there is no subscriber of such a
    name, or an earlier resend is not done.
    """
    now = datetime.now(UTC)
    given = (since, missing, recipients, until, types, brands, channels, origins, execute)
    if cancel and any(given):
        raise typer.BadParameter("--cancel takes the names of the subscribers alone")
    if cancel:
        with exit_on_error():
            for name in names:
                number = run_on_ledger(partial(resends.cancel, name=name, by=by, now=now))
                say(f"resend {number} of {name} cancelled; what was sent stays with it")
        return
    if not any(given[:3]):
        raise typer.BadParameter("say what is sent: --since INSTANT, --missing or --recipient")
    order = Resend(
        ordered_at=now,
        filter=options.event_filter(
            "", types=types, brands=brands, channels=channels, origins=origins
        ),
        only_missing=missing,
        since=since,
        until=until,
    )
    with exit_on_error():
        plans = run_on_ledger(lambda ledger: _counted(ledger, names, order, recipients))
        if execute:
            run_on_ledger(lambda ledger: resends.begin(ledger, plans, by=by, now=now))
    _print(plans, output, is_ordered=execute)


async def _counted(
    ledger: Ledger, names: Sequence[str], order: Resend, recipients: Iterable[str] | None
) -> Sequence[CountedResend]:
    """Return what each subscriber would be sent of ``recipients``; None: of all.

    Raises:
        SourceError: one of them cannot be read, or nothing is known of any.
    """
    kafka = kafka_settings()
    encoder = codec(kafka)
    if recipients:
        given = set(named_recipients(recipients))
        keys = {one for one in given if is_key(one)}
        for found in (await reads.keys_of(ledger, given - keys)).values():
            keys.update(found)
        if not keys:
            raise SourceError("nothing is known of any recipient given")
        order = replace(order, keys=frozenset(keys))
    return [await planned(ledger, kafka, encoder, name, order) for name in names]


def _print(plans: Sequence[CountedResend], output: OutputFormat, *, is_ordered: bool) -> None:
    rows = [(plan.name, *part, plan.events[part]) for plan in plans for part in sorted(plan.events)]
    print_rows(output, ("subscriber", "source", "type", "events"), rows)
    for plan in plans:
        name, total = plan.name, plan.events.total()
        if not total:
            say(f"{name}: nothing is to be sent again")
        elif is_ordered:
            say(
                f"{name}: {total} events are sent again, beside what comes; see izin subscribers "
                f"show {name}"
            )
        else:
            say(f"{name}: add --execute to send {total} events again")
