"""``izin brands rights``: which types a person says a brand may write at İYS.

The others are not told there, for İYS would refuse them (H353) and count each refusal against our
address.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from izin.consent.model import Channel, Status
from izin.console.brands.parked import ByOption, known, who
from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import say, told
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger import reads
from izin.sinks.ledger import suspensions as standing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from izin.sinks.ledger.reads import Count
    from izin.sinks.ledger.suspensions import Stop

_WAITING = frozenset({"pending", "retryable"})


def rights_(
    brand_code: Annotated[int, typer.Argument(min=1, help="İYS brandCode.")],
    *,
    types: Annotated[
        list[Channel] | None, typer.Option("--type", help="What it may write; once a type.")
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="It may write nothing.")] = False,
    by: ByOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only told.")] = False,
) -> None:
    """Say which types a brand has the right to write at İYS: those named, and no others.

    Records of the others wait here, "yes" and "no" alike, until the right is given back; then they
    go on by themselves. The opt-outs among them a person withdraws on İYS's own pages: izin
    deadlines opt-outs.
    """
    if bool(types) is none:
        raise typer.BadParameter("name each type it may write with --type, or say --none")
    channels = frozenset(types or ())
    with told():
        found, counts = asyncio.run(_look(LedgerSettings(), brand_code))
        lines = changes(brand_code, found, channels, counts)
        if not lines:
            say(f"brand {brand_code} stands so already")
            return
        for line in lines:
            say(line)
        if not yes:
            say(f"add --yes to change the rights of brand {brand_code}")
            return
        asyncio.run(_keep(LedgerSettings(), brand_code, channels, by or who()))
        say(f"the rights of brand {brand_code} are changed")


def changes(
    brand_code: int, found: Iterable[Stop], channels: Collection[Channel], counts: Iterable[Count]
) -> list[str]:
    """Return, a line a type, what changes where the brand may write ``channels`` and no others."""
    left = [one for one in counts if one.state in _WAITING]
    of = {one.channel: one for one in found if one.status == standing.EVERY}
    lines = []
    for channel in Channel:
        stop = of.get(channel)
        is_kept = stop is not None and stop.is_of_a_person
        if channel in channels and is_kept:
            lines.append(f"{channel}: no -> write; {_told(left, channel)} go on by themselves")
        elif channel in channels and stop is not None:
            lines.append(
                f"{channel}: no, for İYS refused it: once it is mended there, "
                f"izin brands try {brand_code}"
            )
        elif channel not in channels and not is_kept:
            was = "write" if stop is None else "no, as İYS said"
            lines.append(
                f"{channel}: {was} -> no; {_told(left, channel)} wait until it is given back; "
                f"opt-outs that cannot: izin deadlines opt-outs {brand_code}"
            )
    return lines


def _told(left: Iterable[Count], channel: Channel) -> str:
    of = [one for one in left if one.channel == channel]
    noes = sum(one.keys for one in of if one.desired_status == Status.RET)
    return f"{noes} opt-outs and {sum(one.keys for one in of) - noes} consents"


async def _look(settings: LedgerSettings, code: int) -> tuple[tuple[Stop, ...], tuple[Count, ...]]:
    """Return what is kept of a brand from İYS, and how many records stand where."""
    async with open_ledger(settings) as ledger:
        await known(ledger, code)
        stops = tuple(one for one in await standing.stops(ledger) if one.brand_code == code)
        counts = tuple(one for one in await reads.counts(ledger) if one.brand_code == code)
        return stops, counts


async def _keep(
    settings: LedgerSettings, code: int, channels: Collection[Channel], by: str
) -> None:
    async with open_ledger(settings) as ledger:
        await standing.keep_rights(ledger, code, channels, by=by, now=datetime.now(UTC))
