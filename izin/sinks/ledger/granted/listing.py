"""The brands that İYS lists, as the ledger keeps them; those not registered here are offers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from psycopg.types.json import Jsonb

from izin.consent.model import Channel
from izin.iys.wire_format.account import BrandSummary, GrantedBrand, Right
from izin.sinks.ledger import suspensions
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements

_SQL = statements("granted")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBrand:
    """A brand as İYS last listed it to an account."""

    account: str
    brand_code: int
    iys_code: int
    name: str
    title: str
    """The provider's name in the trade register; empty where İYS does not show it."""
    is_master: bool
    writes: tuple[Channel, ...] | None
    """The channels it may write; None, as for ``reads``: İYS lists no rights to a provider."""
    reads: tuple[Channel, ...] | None
    agreement_control: bool | None
    via_control: bool | None
    unread_since: Mapping[Channel, datetime]
    """When channels that may not be read any more were last listed as readable."""
    listed_at: datetime
    gone_at: datetime | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the brand of a row of ``granted_brands``."""
        unread = {
            Channel(one): datetime.fromisoformat(at) for one, at in row["unread_since"].items()
        }
        return cls(
            **{
                **row,
                "writes": _channels(row["writes"]),
                "reads": _channels(row["reads"]),
                "unread_since": unread,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRight:
    """A right to a channel that a brand has not any more, or that İYS does not list."""

    brand_code: int
    right: str
    """``write``, or ``read``."""
    channel: str
    since: datetime
    """When it was found lost; of a right to read, when the list last had it."""


def writes_of(brand: GrantedBrand) -> tuple[Channel, ...]:
    """Return the channels that may be written, in the order of the channels."""
    return tuple(one for one in Channel if brand.rights.get(one) is Right.WRITE)


def reads_of(brand: GrantedBrand) -> tuple[Channel, ...]:
    """Return the channels that may be read: who may write may read."""
    return tuple(one for one in Channel if one in brand.rights)


async def every(ledger: Ledger, account: str | None = None) -> tuple[ListedBrand, ...]:
    """Return the brands that İYS lists to ``account``, or to every account, by provider."""
    rows = await ledger.fetch(_SQL["all"], {"account": account})
    return tuple(ListedBrand.from_row(row) for row in rows)


async def lost_rights(ledger: Ledger) -> tuple[LostRight, ...]:
    """Return the rights that active brands have lost, by brand; none that a person declared
    missing.
    """
    return tuple(LostRight(**row) for row in await ledger.fetch(_SQL["lost-rights"]))


async def store(
    connection: Connection,
    account: str,
    brand: GrantedBrand,
    *,
    unread_since: Mapping[Channel, datetime],
    now: datetime,
) -> None:
    """Store a brand as İYS lists it now."""
    values = {
        "account": account,
        "brand_code": brand.brand_code,
        "iys_code": brand.iys_code,
        "name": brand.name,
        "title": brand.title,
        "is_master": brand.is_master,
        "writes": [*map(str, writes_of(brand))],
        "reads": [*map(str, reads_of(brand))],
        "agreement_control": brand.agreement_control,
        "via_control": brand.via_control,
        "unread_since": _instants(unread_since),
        "now": now,
    }
    await connection.execute(_SQL["list"], values)


async def store_gone(
    connection: Connection,
    account: str,
    brand_code: int,
    *,
    unread_since: Mapping[Channel, datetime],
    now: datetime,
) -> None:
    """Store that İYS lists a brand no more: it has no rights."""
    values = {"account": account, "brand_code": brand_code, "now": now}
    await connection.execute(_SQL["gone"], {**values, "unread_since": _instants(unread_since)})


async def forget(connection: Connection, account: str, *, now: datetime) -> None:
    """Forget the brands that are neither in the list that was read whole at ``now`` nor registered
    here.
    """
    await connection.execute(_SQL["forget"], {"account": account, "now": now})


async def store_own(
    ledger: Ledger, account: str, iys_code: int, found: Collection[BrandSummary], *, now: datetime
) -> None:
    """Store the brands that İYS lists to a provider's own account, without rights."""
    values = {
        "account": account,
        "iys_code": iys_code,
        "brand_codes": [one.brand_code for one in found],
        "names": [one.name for one in found],
        "masters": [one.is_master for one in found],
        "now": now,
    }
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["list-own"], values)
        await connection.execute(_SQL["forget-own"], values)


async def readable(connection: Connection, brand_code: int) -> tuple[Channel, ...]:
    """Return the channels of a brand that may be read: as İYS lists them, else those that no
    suspension closes.
    """
    scope = {"brand_code": brand_code}
    row = await (await connection.execute(_SQL["is-listed"], scope)).fetchone()
    if row is None or not row["exists"]:
        return await suspensions.rights_of(connection, brand_code)
    rows = await (await connection.execute(_SQL["unreadable"], scope)).fetchall()
    unreadable = {row["channel"] for row in rows}
    return tuple(one for one in Channel if one not in unreadable)


def _channels(names: Collection[str] | None) -> tuple[Channel, ...] | None:
    return None if names is None else tuple(one for one in Channel if one in names)


def _instants(unread_since: Mapping[Channel, datetime]) -> Jsonb:
    return Jsonb({str(channel): at.isoformat() for channel, at in unread_since.items()})
