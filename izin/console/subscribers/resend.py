"""``izin subscribers resend``: send subscribers again what they were sent, or never took."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import typer

from izin.consent.errors import SourceError
from izin.console.subscribers import options
from izin.console.subscribers.others import Others, others
from izin.console.subscribers.resends import CountedResend, ResendOrder, begin, count
from izin.console.terminal.arguments import ByOption, filled, is_key, normalised, recipients_in
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_on_error,
    kafka_settings,
    print_rows,
    say,
    turkish,
)
from izin.runtime.kafka import codec
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import resends
from izin.sinks.webhooks.resends.cursors import ResendPeriod

_ROWS = ("subscriber", "source", "partition", "type", "events", "overtaken")
_SUMS = ("subscriber", "from", "type", "events", "overtaken")


def resend(
    names: options.NamesArgument,
    *,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    missing: options.MissingOption = False,
    recipients: options.RecipientsOption = None,
    file: options.FileOption = None,
    types: options.TypesOption = None,
    brands: options.BrandsOption = None,
    channels: options.ChannelsOption = None,
    origins: options.OriginsOption = None,
    offsets: options.OffsetsOption = None,
    cancel: options.CancelOption = False,
    execute: options.ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Send named subscribers again what came since an instant, or what they never acknowledged.

    Each event says that it is a repetition and keeps its id, and none is sent over something newer:
    of permissions what holds now, of opt-outs (RET) all but those that a newer consent has
    overtaken. Opt-outs that are older than their topic come from the history. Without --execute it
    only counts, by subscriber, source and type, in JSON by partition too. A process that is killed
    amid it goes on where it was; izin subscribers show says how far it is. Exit code 3 if there is
    no subscriber of such a name, one of them reads by itself, or an earlier resend is not done.
    """
    listed = file is not None or bool(recipients)
    given = (since, missing, listed, offsets, until, types, brands, channels, origins, execute)
    if cancel and any(given):
        raise typer.BadParameter("--cancel takes the names of the subscribers alone")
    if cancel:
        _cancel(names, by, datetime.now(UTC))
        return
    if not any(given[:4]):
        raise typer.BadParameter(
            "say what is sent: --since INSTANT, --missing, --offsets, --recipient or --file"
        )
    every = ResendOrder(
        name="",
        period=ResendPeriod(since=since, until=until, ranges=tuple(offsets or ())),
        types=frozenset(map(str, types or ())),
        brands=frozenset(brands or ()),
        channels=frozenset(map(str, channels or ())),
        origins=frozenset(map(filled, origins or ())),
        only_missing=missing,
    )
    send_again(
        names, every, recipients=recipients, file=file, execute=execute, by=by, output=output
    )


def send_again(
    names: Sequence[str],
    every: ResendOrder,
    *,
    recipients: Sequence[str] | None,
    file: Path | None,
    execute: bool,
    by: str,
    output: OutputFormat,
) -> None:
    """Print what ``every`` subscriber of ``names`` would be sent again of the chosen recipients;
    with ``execute`` order it. The name in ``every`` is replaced by each of them.

    Raises:
        Exit: with the code that the command line documents, after a message.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        chosen = _chosen(recipients, file)
        apart, found = _counted(names, every, chosen, now)
        if execute and apart.remedies:
            raise SourceError("nothing is ordered: " + " ".join(apart.remedies))
        if execute:
            run_on_ledger(lambda ledger: begin(ledger, found, by=by, now=now))
    _print(apart, found, output, is_ordered=execute)


def _cancel(names: Sequence[str], by: str, now: datetime) -> None:
    with exit_on_error():
        for name in names:
            number = run_on_ledger(partial(resends.cancel, name=name, by=by, now=now))
            say(f"resend {number} of {name} cancelled; what was sent stays with it")


def _chosen(recipients: Sequence[str] | None, file: Path | None) -> list[str] | None:
    """Return the recipients that are given, as keys spell them; None: none is, so all are meant.

    Raises:
        SourceError: one cannot be read.
    """
    if not recipients and file is None:
        return None
    found = [normalised(one) for one in recipients or ()]
    return found if file is None else [*found, *recipients_in(file)]


def _counted(
    names: Sequence[str], every: ResendOrder, chosen: Collection[str] | None, now: datetime
) -> tuple[Others, Sequence[CountedResend]]:
    """Return who reads by itself, and what ``every`` other would be sent of the chosen recipients;
    None: of all.
    """
    kafka = kafka_settings()
    encoder = codec(kafka)

    async def look(ledger: Ledger) -> tuple[Others, Sequence[CountedResend]]:
        apart = await others(ledger, kafka, names)
        keys = None if chosen is None else await _keys(ledger, chosen)
        orders = [replace(every, name=name, keys=keys) for name in apart.webhooks]
        return apart, [await count(ledger, kafka, encoder, one, now=now) for one in orders]

    return run_on_ledger(look)


async def _keys(ledger: Ledger, recipients: Collection[str]) -> frozenset[str]:
    """Return the keys of ``recipients``, and those among them that are keys.

    Raises:
        SourceError: nothing is known of any of them.
    """
    keys = {one for one in recipients if is_key(one)}
    found = await reads.keys_of(ledger, [one for one in recipients if not is_key(one)])
    keys.update(key for some in found.values() for key in some)
    if not keys:
        raise SourceError("nothing is known of any recipient given")
    return frozenset(keys)


def _print(
    apart: Others, found: Sequence[CountedResend], output: OutputFormat, *, is_ordered: bool
) -> None:
    match output:
        case OutputFormat.JSON:
            print_rows(output, _ROWS, [row for one in found for row in one.rows()])
        case OutputFormat.TABLE:
            print_rows(output, _SUMS, [row for one in found for row in one.sums()])
    for remedy in apart.remedies:
        say(remedy)
    for one in found:
        _say(one, is_ordered=is_ordered)


def _say(counted: CountedResend, *, is_ordered: bool) -> None:
    """Say where events come from, what is left out and why, and what to do next."""
    name, total = counted.plan.name, counted.total
    if counted.reach is not None:
        say(
            f"{name}: the topic of opt-outs begins {turkish(counted.reach)}; of those before, "
            f"{len(counted.plan.older)} that still hold come from the history"
        )
    if overtaken := counted.overtaken.total():
        say(f"{name}: {overtaken} events are left out, for something newer holds")
    if counted.waiting:
        say(f"{name}: {counted.waiting} events wait for it, and come as first deliveries")
    if not total:
        say(f"{name}: nothing is to be sent again")
    elif is_ordered:
        say(
            f"{name}: {total} events are sent again, beside what comes; see izin subscribers show "
            f"{name}"
        )
    else:
        say(f"{name}: add --execute to send {total} events again")
