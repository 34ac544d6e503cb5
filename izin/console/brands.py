"""``izin brands``: whose consents these are, and since when the three-business-day rule binds."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from izin.console.output import Output, OutputOption, print_rows, told
from izin.runtime.registry import codec
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.sinks.announce import Announcer
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger.brands import Brand
from izin.sinks.ledger.database import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(help="The brands whose consents are kept.", no_args_is_help=True)

_COLUMNS = (
    "brand_code",
    "iys_code",
    "customer_id",
    "name",
    "activated_at",
    "loading_deadline",
    "status",
)


def open_ledger(settings: LedgerSettings) -> Ledger:
    """Return the ledger as one short-lived command uses it; enter it before use."""
    return Ledger(settings, owner=secrets.randbelow(2**31 - 1) + 1)


async def upsert(kafka: KafkaSettings, ledger: LedgerSettings, brands: Sequence[Brand]) -> None:
    """Write ``brands`` to the ledger; a sink worker tells them to the topic ``brands``."""
    announcer = Announcer(codec(kafka), kafka.topics)
    async with open_ledger(ledger) as opened:
        for brand in brands:
            await registry.upsert(opened, announcer, brand, now=datetime.now(UTC))


@app.command()
def add(
    brand_code: Annotated[int, typer.Argument(help="İYS brandCode.")],
    *,
    iys_code: Annotated[int, typer.Option(help="İYS code of the provider.")],
    customer: Annotated[str, typer.Option(help="Whose brand it is.")],
    name: Annotated[str, typer.Option(help="The brand's name.")],
    activated_at: Annotated[
        datetime | None,
        typer.Option(help="Since when it is active at İYS, UTC; leave out in first loading."),
    ] = None,
    loading_deadline: Annotated[
        datetime | None, typer.Option(help="By when the first loading must be done, UTC.")
    ] = None,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="Tell İYS nothing of this brand.")
    ] = False,
) -> None:
    """Add a brand, or change it; a sink worker then tells producers of it."""
    with told():
        brand = Brand(
            brand_code=brand_code,
            iys_code=iys_code,
            customer_id=customer,
            name=name,
            activated_at=_utc(activated_at),
            loading_deadline=_utc(loading_deadline),
            status="stopped" if stopped else "active",
        )
        asyncio.run(upsert(KafkaSettings(), LedgerSettings(), [brand]))


@app.command("list")
def list_(*, output: OutputOption = Output.TABLE) -> None:
    """List the brands."""
    with told():
        found = asyncio.run(_every(LedgerSettings()))
    print_rows(output, _COLUMNS, [[getattr(one, name) for name in _COLUMNS] for one in found])


async def _every(settings: LedgerSettings) -> tuple[Brand, ...]:
    async with open_ledger(settings) as ledger:
        return await registry.every(ledger)


def _utc(naive: datetime | None) -> datetime | None:
    return None if naive is None else naive.replace(tzinfo=UTC)
