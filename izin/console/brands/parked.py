"""``izin brands parked``, ``stops`` and their like: what waits for a person, and what that person
does about it.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from izin.consent.errors import SourceError
from izin.consent.model import Channel, Status
from izin.consent.obligation import Why
from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    kafka_settings,
    print_rows,
    say,
    told,
)
from izin.runtime.registry import codec
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger import reads, retailers
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.suspensions import EVERY, Stop
from izin.sinks.record import transitions
from izin.sinks.record.messages import Announcer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from izin.sinks.ledger.brands import Brand
    from izin.sinks.ledger.db.connection import Ledger
    from izin.sinks.ledger.reads import Parked

_STOPS = ("brand_code", "channel", "status", "code", "why", "reach", "since", "recheck_at", "cure")
_RETAILERS = ("key", "told_code", "told_access", "wanted_code", "wanted_access", "since")
_PARKED = ("brand_code", "channel", "desired_status", "why", "code", "keys", "cure")
_LOOK = "see izin explain"

ByOption = Annotated[
    str | None, typer.Option("--by", help="Who orders it; else the operating system's user.")
]

CURES: Mapping[str, str] = {
    str(Why.RECONSENT): "the citizen said no at İYS; with a new consent in hand: {requeue}",
    str(Why.NOT_REGISTRABLE): "correct the record at its source, and send it again from there",
    str(Why.TACIR_UPDATE_INCOMPLETE): "send it again from its source, with date and source",
    transitions.UNKNOWN_BRAND: "register the brand, and they go on by themselves: {add}",
    "unknown-code": "read what İYS answered with izin explain; once it is mended: {requeue}",
    retailers.DIFFERENCE: "change them at İYS ({retailers} says which); then: {requeue}",
    "no-such-retailer": "correct the retailer code, or have İYS know the retailer; then: {requeue}",
    "opt-out-refused": "withdraw the consent on İYS's own pages today; then: {requeue}",
    "quota-spent": "have İYS raise the subscription's quota; then: {requeue}",
    "iys-says-otherwise": "compare with İYS's own pages; then: {requeue}",
    "question-refused": "correct the recipient at its source, or compare with İYS's own pages",
}
"""What a person does about each reason for which records are parked."""


def parked(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List what waits for a person, by reason, and what to do about each.

    Exit code 1 if anything waits.
    """
    with told():
        found = asyncio.run(_parked(LedgerSettings()))
    rows = [
        (*(getattr(one, name) for name in _PARKED[:-1]), cure_of_parked(one.brand_code, one.why))
        for one in found
    ]
    print_rows(
        output, _PARKED, rows, titles=("brand", "channel", "we want", *_PARKED[3:]), below=True
    )
    if found:
        raise typer.Exit(ExitCode.WRONG)


def retailers_(
    brand_code: Annotated[int, typer.Argument(min=1, help="İYS brandCode.")],
    *,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List the consents that İYS holds with other retailers than their statements name.

    Exit code 1 if there are any. The output is personal data.
    """
    with told():
        found = asyncio.run(_differences(LedgerSettings(), brand_code))
    print_rows(output, _RETAILERS, [[getattr(one, name) for name in _RETAILERS] for one in found])
    if found:
        raise typer.Exit(ExitCode.WRONG)


def stops(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List what is kept from İYS because İYS refused the right to it, or a person said there is
    none; when it is tried again, and what to do about each.

    Exit code 1 if anything is.
    """
    with told():
        found = asyncio.run(_stops(LedgerSettings()))
    rows = [(*(getattr(one, name) for name in _STOPS[:-1]), cure_of(one, found)) for one in found]
    print_rows(
        output, _STOPS, rows, titles=("brand", *_STOPS[1:-2], "tried again", "cure"), below=True
    )
    if found:
        raise typer.Exit(ExitCode.WRONG)


def try_(brand_code: Annotated[int, typer.Argument(min=1, help="İYS brandCode.")]) -> None:
    """Let one record of each stop of a brand be tried at once, for it was mended at İYS.

    If İYS takes it, all go on; else the stop stands, and is tried again by itself.
    """
    with told():
        stopped = asyncio.run(_try(LedgerSettings(), brand_code))
        if not stopped:
            raise SourceError(
                f"nothing of brand {brand_code} is stopped that could be tried; "
                "see: izin brands stops"
            )
        say(f"{stopped} stops of brand {brand_code} are tried now")


def requeue(
    brand_code: Annotated[int, typer.Argument(min=1, help="İYS brandCode.")],
    *,
    why: Annotated[str, typer.Option(help="The reason, as izin brands parked names it.")],
    by: ByOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only told.")] = False,
) -> None:
    """Have a brand's parked records of one reason looked at again, and sent where that is lawful.

    Who requeues the reason reconsent vouches that the recipient has consented anew; who requeues
    retailer-access, that İYS was told of the retailers. Who it was stands in each record's history.
    """
    with told():
        found = asyncio.run(_parked(LedgerSettings(), brand_code))
        keys = sum(one.keys for one in found if one.why == why)
        if not keys:
            raise SourceError(
                f"brand {brand_code} has nothing parked for {why}; see: izin brands parked"
            )
        if not yes:
            say(f"{keys} records of brand {brand_code} would be requeued; add --yes to do it")
            return
        order = _requeue(kafka_settings(), LedgerSettings(), brand_code, why, by or who())
        seen = asyncio.run(order)
        say(f"{seen} records of brand {brand_code} were requeued")


def who() -> str:
    """Return the name of the operating system's user, or its number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def cure_of_parked(brand_code: int, why: str | None) -> str:
    """Return what a person does about what is parked for this reason, with the whole commands."""
    return CURES.get(why or "", _LOOK).format(
        add=f"izin brands add {brand_code} --help",
        requeue=f"izin brands requeue {brand_code} --why {why}",
        retailers=f"izin brands retailers {brand_code}",
    )


def cure_of(stop: Stop, found: Iterable[Stop]) -> str:
    """Return what a person does about a stop, one of all that are ``found``, and about the opt-outs
    behind it.
    """
    opt_outs = f"opt-outs that cannot wait: izin deadlines opt-outs {stop.brand_code}"
    if stop.is_of_a_person:
        # A right that is not named is taken: the line names all that the brand has, too.
        lost = {
            one.channel
            for one in found
            if one.is_of_a_person and one.brand_code == stop.brand_code and one != stop
        }
        types = " ".join(f"--type {one}" for one in Channel if one not in lost)
        return (
            f"once the brand may write {stop.channel} at İYS: "
            f"izin brands rights {stop.brand_code} {types}; {opt_outs}"
        )
    if stop.status == Status.ONAY:
        mend = "have İYS raise the subscription's quota"
    elif stop.reach == "account":
        mend = "mend our account at İYS, or IYS_USERNAME and IYS_PASSWORD"
    elif stop.reach == "provider":
        mend = "have the provider's subscription mended at İYS"
    elif stop.channel != EVERY:
        mend = f"have İYS give back the right to write {stop.channel}"
    else:
        mend = "mend at İYS what its code names (docs/codes.md)"
    cure = f"{mend}, then izin brands try {stop.brand_code}"
    if stop.status == Status.ONAY:
        return cure
    return f"{cure}; {opt_outs}"


async def known(ledger: Ledger, brand_code: int) -> Brand:
    """Return a brand; raises SourceError if nobody knows it."""
    async with ledger.transaction() as connection:
        found = (await registry.of_codes(connection, [brand_code])).get(brand_code)
    if found is None:
        raise SourceError(f"brand {brand_code} is not registered; see: izin brands add --help")
    return found


async def _parked(settings: LedgerSettings, brand_code: int | None = None) -> tuple[Parked, ...]:
    """Return what is parked: of a brand, if one is given."""
    async with open_ledger(settings) as ledger:
        found = await reads.parked(ledger)
        if brand_code is None:
            return found
        await known(ledger, brand_code)
        return tuple(one for one in found if one.brand_code == brand_code)


async def _differences(
    settings: LedgerSettings, brand_code: int
) -> tuple[retailers.Difference, ...]:
    async with open_ledger(settings) as ledger:
        await known(ledger, brand_code)
        return await retailers.differences(ledger, brand_code)


async def _stops(settings: LedgerSettings) -> tuple[Stop, ...]:
    async with open_ledger(settings) as ledger:
        return await standing.stops(ledger)


async def _requeue(
    kafka: KafkaSettings, settings: LedgerSettings, code: int, why: str, by: str
) -> int:
    announcer = Announcer(codec(kafka), kafka.topics)
    async with open_ledger(settings) as ledger:
        return await registry.requeue(
            ledger, announcer, code, by=by, now=datetime.now(UTC), why=why
        )


async def _try(settings: LedgerSettings, code: int) -> int:
    async with open_ledger(settings) as ledger:
        await known(ledger, code)
        return await standing.try_now(ledger, code, now=datetime.now(UTC))
