"""``izin brands``: whose consents these are, since when the three-business-day rule binds, by whom
İYS is told of them, and what İYS shows of their subscription.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from izin.consent.errors import SourceError
from izin.consent.model import Channel
from izin.console.brands import parked, rights
from izin.console.terminal.arguments import filled, instant
from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    kafka_settings,
    print_rows,
    say,
    told,
    turkish,
)
from izin.runtime.registry import codec
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger import reads
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.brands import Brand
from izin.sinks.monitor.subscriptions import warnings_of
from izin.sinks.record.messages import Announcer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from izin.sinks.ledger.reads import Count
    from izin.sinks.ledger.suspensions import Stop

app = typer.Typer(help="The brands whose consents are kept.", no_args_is_help=True)

_TITLES = (
    "brand",
    "İYS code",
    "customer",
    "name",
    "active since",
    "load by",
    "status",
    "account",
    "address",
    "subscription",
    "rights",
)
_COLUMNS = (
    "brand_code",
    "iys_code",
    "customer_id",
    "name",
    "activated_at",
    "loading_deadline",
    "status",
    "account",
    "egress_address",
    "subscription",
    "rights",
)
_DANGEROUS = {
    "iys_code": "İYS code",
    "customer_id": "customer",
    "activated_at": "active since",
    "loading_deadline": "load by",
    "status": "status",
    "account": "account",
    "egress_address": "address",
}
"""What changes terms, or who is told what, of records that are there already."""
_UNSETTLED = frozenset(
    {"pending", "retryable", "in_flight", "awaiting_result", "unknown", "parked"}
)
_ANY = "any"


async def upsert(
    kafka: KafkaSettings, ledger: LedgerSettings, brands: Sequence[Brand]
) -> list[Brand]:
    """Write ``brands`` to the ledger, and return them as they stand.

    A sink worker tells them to the topic ``brands``.
    """
    announcer = Announcer(codec(kafka), kafka.topics)
    async with open_ledger(ledger) as opened:
        return [
            await registry.upsert(opened, announcer, brand, now=datetime.now(UTC))
            for brand in brands
        ]


@app.command()
def add(
    brand_code: Annotated[int, typer.Argument(min=1, help="İYS brandCode.")],
    *,
    iys_code: Annotated[int, typer.Option(min=1, help="İYS code of the provider.")],
    customer: Annotated[str, typer.Option(help="Whose brand it is.", callback=filled)],
    name: Annotated[str, typer.Option(help="The brand's name.", callback=filled)],
    activated_at: Annotated[
        datetime | None,
        typer.Option(
            parser=instant,
            metavar="DATE",
            help="Since when it is active at İYS, Turkish time, as 2024-01-31T12:00 (or with an "
            "offset); none in first loading.",
        ),
    ] = None,
    loading_deadline: Annotated[
        datetime | None,
        typer.Option(
            parser=instant,
            metavar="DATE",
            help="By when the first loading must be done, Turkish time.",
        ),
    ] = None,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="Tell İYS nothing of this brand.")
    ] = False,
    account: Annotated[
        str | None, typer.Option(help="The API user that tells it; empty: any (IYS_USERNAME).")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Whence it is told; empty: anywhere (IYS_EGRESS_ADDRESS).")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Change what is there; else it is only told.")
    ] = False,
) -> None:
    """Add a brand, or change it; a sink worker then tells producers of it.

    A change of what records that are there already hang on is told first, and made with --yes.
    """
    with told():
        brand = Brand(
            brand_code=brand_code,
            iys_code=iys_code,
            customer_id=customer,
            name=name,
            activated_at=activated_at,
            loading_deadline=loading_deadline,
            status="stopped" if stopped else "active",
            account=account,
            egress_address=address,
        )
        known, _, counts = asyncio.run(_look(LedgerSettings(), brand_code))
        changed = [] if known is None else changes(known, brand)
        if changed and not yes:
            keys = sum(one.keys for one in counts if one.state in _UNSETTLED)
            for line in changed:
                say(line)
            say(f"{keys} records not settled hang on it; add --yes to change brand {brand_code}")
            return
        (stands,) = asyncio.run(upsert(kafka_settings(), LedgerSettings(), [brand]))
        if known is None:
            say(f"brand {brand_code} is registered")
        elif known == stands:
            say(f"brand {brand_code} stands so already; what hangs on it was reckoned anew")
        else:
            say(f"brand {brand_code} is changed")


@app.command("list")
def list_(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the brands, and which types each has the right to write."""
    with told():
        found, stops = asyncio.run(_every(LedgerSettings()))
    rows = [
        (*(getattr(one, name) for name in _COLUMNS[:-1]), _rights_of(one, stops)) for one in found
    ]
    print_rows(output, _COLUMNS, rows, titles=_TITLES)


@app.command()
def show(
    brand_code: Annotated[int, typer.Argument(min=1, help="İYS brandCode.")],
    *,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print all that is known of a brand: terms, who tells it, subscription, rights, what is left.

    Times are Turkish. Exit code 1 if anything of it needs a person.
    """
    with told():
        brand, stops, counts = asyncio.run(_look(LedgerSettings(), brand_code))
        if brand is None:
            raise SourceError(f"brand {brand_code} is not registered; see: izin brands add --help")
    rows = described(brand, stops, counts, now=datetime.now(UTC))
    print_rows(output, ("what", "stands", "beware"), rows)
    if any(beware for _, _, beware in rows):
        raise typer.Exit(ExitCode.WRONG)


def changes(known: Brand, brand: Brand) -> list[str]:
    """Return, a line each, what the change to ``brand`` would change of what records hang on."""
    lines = []
    for name, title in _DANGEROUS.items():
        old, new = getattr(known, name), getattr(brand, name)
        kept = name in {"activated_at", "account", "egress_address"} and new is None
        if not kept and (new or None) != old:
            lines.append(f"{title}: {_shown(old)} -> {_shown(new)}")
    return lines


def described(
    brand: Brand, stops: Iterable[Stop], counts: Iterable[Count], *, now: datetime
) -> list[tuple[str, str, str]]:
    """Return what is known of a brand: a row a question, its answer, and what to beware of."""
    stopped = "nothing of it is told" if brand.status != "active" else ""
    in_loading = "first loading: no term runs" if brand.activated_at is None else ""
    used = "" if brand.consents_used is None else f", {brand.consents_used:,} addresses used"
    limit = "" if brand.consent_limit is None else f" of {brand.consent_limit:,}"
    asked = "never asked" if brand.asked_at is None else f"asked {_at(brand.asked_at)}"
    rows = [
        ("brand", f"{brand.brand_code} {brand.name}", ""),
        ("İYS code", str(brand.iys_code), ""),
        ("customer", brand.customer_id, ""),
        ("status", brand.status, stopped),
        ("active since", _at(brand.activated_at), in_loading),
        ("load by", _at(brand.loading_deadline), ""),
        ("told by account", brand.account or _ANY, ""),
        ("told from address", brand.egress_address or _ANY, ""),
        (
            "subscription",
            f"{brand.subscription or 'unknown'}{used}{limit}; {asked}",
            "; ".join(warnings_of(brand, now)),
        ),
    ]
    of = {(one.channel, one.status): one for one in stops}
    for channel in Channel:
        held = [one for (where, _), one in of.items() if where in {str(channel), standing.EVERY}]
        why = "; ".join(f"{one.why}, since {_at(one.since)}" for one in held)
        rows.append((f"right to {channel}", "no" if held else "write", why))
    left: dict[tuple[str, str], int] = {}
    for count in counts:
        if count.state in _UNSETTLED:
            place = (count.channel, count.state)
            left[place] = left.get(place, 0) + count.keys
    for (channel_name, state), keys in sorted(left.items()):
        beware = "izin brands parked" if state == "parked" else ""
        rows.append((f"{channel_name} {state}", f"{keys:,}", beware))
    return rows


def _rights_of(brand: Brand, stops: Iterable[Stop]) -> str:
    of_brand = (one for one in stops if one.brand_code == brand.brand_code)
    return " ".join(standing.rights(of_brand)) or "none"


async def _every(settings: LedgerSettings) -> tuple[tuple[Brand, ...], tuple[Stop, ...]]:
    async with open_ledger(settings) as ledger:
        return await registry.every(ledger), await standing.stops(ledger)


async def _look(
    settings: LedgerSettings, code: int
) -> tuple[Brand | None, tuple[Stop, ...], tuple[Count, ...]]:
    """Return a brand, what is kept of it from İYS, and how many records stand where."""
    async with open_ledger(settings) as ledger:
        async with ledger.transaction() as connection:
            brand = (await registry.of_codes(connection, [code])).get(code)
        stops = tuple(one for one in await standing.stops(ledger) if one.brand_code == code)
        counts = tuple(one for one in await reads.counts(ledger) if one.brand_code == code)
        return brand, stops, counts


def _shown(value: object) -> str:
    return turkish(value) if isinstance(value, datetime) else str(value or _ANY)


def _at(at: datetime | None) -> str:
    return turkish(at) or "-"


app.command("rights")(rights.rights_)
app.command()(parked.parked)
app.command("retailers")(parked.retailers_)
app.command()(parked.stops)
app.command("try")(parked.try_)
app.command()(parked.requeue)
