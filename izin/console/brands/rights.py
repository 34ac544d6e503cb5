"""``izin brands rights``: set for which channels a brand has the right to write at İYS.

Records of the other channels are not sent, for İYS would refuse them (H353) and count each refusal
against our address.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.consent.model import Channel
from izin.console.brands.description import waiting
from izin.console.brands.lookup import run_on_brand, suspended_and_counted
from izin.console.terminal.arguments import BrandArgument, ByOption, ExecuteOption
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import exit_on_error, say
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.reads import Count
from izin.sinks.record.suspension import EVERY, NOT_GRANTED, Suspension


def rights(
    brand_code: BrandArgument,
    *,
    types: Annotated[
        list[Channel] | None,
        typer.Option("--type", help="A channel it may write; repeat it for each."),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="It may write no channel.")] = False,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Set for which channels a brand has the right to write at İYS: those named, and no others.

    Records of the other channels, ONAY (opt-in) and RET (opt-out) alike, wait here until the right
    is given back, and then continue by themselves. Opt-outs that cannot wait are withdrawn by a
    person on İYS's own pages: izin deadlines opt-outs.
    """
    if bool(types) is none:
        raise typer.BadParameter("name each channel it may write with --type, or say --none")
    channels = frozenset(types or ())
    with exit_on_error():
        found, counts = run_on_brand(
            brand_code, lambda ledger: suspended_and_counted(ledger, brand_code)
        )
        lines = changes(brand_code, found, channels, counts)
        for line in lines:
            say(line)
        if not lines:
            say(f"brand {brand_code} has these rights already")
        elif not execute:
            say(f"add --execute to change the rights of brand {brand_code}")
        else:
            now = datetime.now(UTC)
            run_on_ledger(
                lambda ledger: standing.set_rights(ledger, brand_code, channels, by=by, now=now)
            )
            say(f"the rights of brand {brand_code} are changed")


def changes(
    brand_code: int,
    found: Iterable[Suspension],
    channels: Collection[Channel],
    counts: Iterable[Count],
) -> list[str]:
    """Return, a line a channel, what changes if the brand may write ``channels`` and no others."""
    suspended = {one.channel: one for one in found if one.status == EVERY}
    counted = list(counts)
    lines = []
    for channel in Channel:
        one = suspended.get(channel)
        waits = waiting(count for count in counted if count.channel == channel)
        is_ours = one is not None and one.is_by_operator
        is_listed = one is not None and one.code == NOT_GRANTED
        if channel in channels and is_ours:
            until = " until İYS's list is read again, which has no right" if is_listed else ""
            lines.append(f"{channel}: no -> write{until}; {waits} continue")
        elif channel in channels and one is not None:
            lines.append(
                f"{channel}: no, for İYS refused it: once that is corrected at İYS, "
                f"izin brands retry {brand_code}"
            )
        elif channel not in channels and (is_listed or not is_ours):
            was = "write" if one is None else "no, refused by İYS"
            was = "no, not granted at İYS" if is_listed else was
            lines.append(
                f"{channel}: {was} -> no; {waits} wait until it is given "
                f"back; opt-outs that cannot: izin deadlines opt-outs {brand_code}"
            )
    return lines
