"""``izin deadlines``: what is due, at risk and missed; and the opt-outs a person can act on."""

from __future__ import annotations

import asyncio
import csv
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from izin.consent.clocks import TURKEY
from izin.consent.errors import SourceError
from izin.consent.forecast import forecast, records_per_second
from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    print_json,
    print_rows,
    say,
    settings_of,
    told,
    turkish,
)
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings
from izin.sinks.ledger import brands, reads
from izin.sinks.ledger import deadlines as ledger_deadlines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from izin.consent.forecast import Forecast
    from izin.sinks.ledger.deadlines import Margin, OpenOptOut

app = typer.Typer()

_COLUMNS = (
    "brand_code",
    "channel",
    "status",
    "keys",
    "missed",
    "past_95",
    "past_80",
    "past_50",
    "due_soon",
    "parked",
    "unknown",
    "first_due_at",
)
_TITLES = (
    "brand",
    "channel",
    "status",
    "to settle",
    "missed",
    "95 %",
    "80 %",
    "50 %",
    "due in 24 h",
    "parked",
    "unknown",
    "first due",
)
_FILE = ("recipient", "type", "recipientType", "status", "source", "consentDate", "due", "state")
_ONLY_US = 0o600


@app.callback(invoke_without_command=True)
def deadlines(context: typer.Context, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """What must be told to İYS, and by when: alone it does what `show` does."""  # noqa: D401 - a title
    command = context.invoked_subcommand
    if command is None:
        show(output=output)
    elif output is not OutputFormat.TABLE:
        raise typer.BadParameter(f"it stands after the command: izin deadlines {command} --output")


@app.command()
def show(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List what is not settled, by brand, channel and status: how much of it is missed, how much
    has 95, 80 and 50 percent of its term behind it; and what will be late at the pace İYS allows.

    Exit code 1 if anything is missed, will be late or lost, or is kept from İYS.
    """
    with told():
        iys, sink, ledger = settings_of(IysSettings, SinkSettings, LedgerSettings)
        pace = records_per_second(iys.requests_per_second, batch_size=sink.batch_size)
        margins, ahead, kept = asyncio.run(_look(ledger, pace))
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "deadlines": [
                        {name: getattr(one, name) for name in _COLUMNS} for one in margins
                    ],
                    "will_be_late": ahead.late,
                    "first_late_at": ahead.first_late_at,
                    "will_be_lost": ahead.lost,
                    "first_lost_at": ahead.first_lost_at,
                    "done_at": ahead.done_at,
                    "kept": kept,
                }
            )
        case OutputFormat.TABLE:
            rows = [[getattr(one, name) for name in _COLUMNS] for one in margins]
            print_rows(output, _COLUMNS, rows, titles=_TITLES)
            say(in_words(ahead, kept))
    if ahead.late or ahead.lost or kept or any(one.missed for one in margins):
        raise typer.Exit(ExitCode.WRONG)


@app.command("opt-outs")
def opt_outs(
    brand_code: Annotated[int, typer.Argument(min=1, help="İYS brandCode.")],
    *,
    file: Annotated[
        Path, typer.Option(help="Where they are written as CSV; it must not be there yet.")
    ],
) -> None:
    """Write a brand's opt-outs that İYS has not settled into a file, the earliest due first: what a
    person withdraws on İYS's own pages while İYS does not let us.

    The file holds personal data; only you may read it. Times are Turkish. When İYS shows what was
    done, by pull or push, the records settle by themselves.
    """
    with told():
        found = asyncio.run(_open(LedgerSettings(), brand_code))
        try:
            _write(file, found)
        except FileExistsError as error:
            raise SourceError(f"{file} is there already: name another file") from error
        except OSError as error:
            raise SourceError(
                f"{file} cannot be written ({error.strerror}): name one in a folder that is there "
                "and yours to write"
            ) from error
    say(f"{len(found)} opt-outs of brand {brand_code} are in {file}")


@app.command()
def breaches(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the latest opt-outs that İYS was told of after their third business day.

    Exit code 1 if there are any. The JSON holds the keys whole, and these are personal data.
    """
    with told():
        found = asyncio.run(_breaches(LedgerSettings()))
    match output:
        case OutputFormat.JSON:
            print_json(found)
        case OutputFormat.TABLE:
            rows = [
                (*str(one["key"]).split("/", 3)[:3], one["due_at"], one["told"]) for one in found
            ]
            columns = ("brand", "channel", "recipient type", "due", "told")
            print_rows(output, columns, rows)
    if found:
        raise typer.Exit(ExitCode.WRONG)


def in_words(ahead: Forecast, kept: int) -> str:
    """Return what becomes of the backlog, and how much is ``kept`` from İYS, in a sentence."""
    told_of = _forecast(ahead)
    if not kept:
        return told_of
    return f"{told_of}; {kept} are kept from İYS: izin brands stops, izin brands list"


def _forecast(ahead: Forecast) -> str:
    if ahead.lost:
        return f"{ahead.lost} will be lost, the first at {turkish(ahead.first_lost_at)}"
    if ahead.late:
        return f"{ahead.late} will be late, the first at {turkish(ahead.first_late_at)}"
    if ahead.done_at is None:
        return "nothing waits to be told"
    return f"all will be told in time, the last by {turkish(ahead.done_at)}"


async def _look(settings: LedgerSettings, pace: float) -> tuple[tuple[Margin, ...], Forecast, int]:
    """Return what is not settled, what becomes of it, and how much of it is kept from İYS."""
    now = datetime.now(UTC)
    async with open_ledger(settings) as ledger:
        margins = await ledger_deadlines.margins(ledger, now=now)
        backlog = await reads.backlog(ledger)
    ahead = forecast(backlog.telling, now=now, records_per_second=pace)
    return margins, ahead, sum(one.count for one in backlog.held)


async def _open(settings: LedgerSettings, brand_code: int) -> tuple[OpenOptOut, ...]:
    async with open_ledger(settings) as ledger:
        found = await ledger_deadlines.open_opt_outs(ledger, brand_code)
        known = {one.brand_code for one in await brands.every(ledger)}
        if not found and brand_code not in known:
            raise SourceError(f"brand {brand_code} is not registered; see: izin brands list")
        return found


async def _breaches(settings: LedgerSettings) -> list[dict[str, object]]:
    async with open_ledger(settings) as ledger:
        found = await ledger_deadlines.breaches(ledger)
    return [
        {
            "key": one["key"],
            "customer_id": one["customer_id"],
            "event_id": one["event_id"],
            "due_at": datetime.fromisoformat(one["due_at"]),
            "told": one["occurred_at"],
        }
        for one in found
    ]


def _write(path: Path, found: Sequence[OpenOptOut]) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _ONLY_US)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(_FILE)
        for one in found:
            lines.writerow(
                (
                    one.recipient,
                    one.channel,
                    one.recipient_type,
                    "RET",
                    one.desired_source or "",
                    _wire(one.desired_at),
                    "" if one.due_at is None else _wire(one.due_at),
                    one.why or one.state,
                )
            )


def _wire(at: datetime) -> str:
    return at.astimezone(TURKEY).strftime("%Y-%m-%d %H:%M:%S")
