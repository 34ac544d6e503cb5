"""Addresses and consents of a customer's brands, counted exactly: by the ledger or in files."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from izin.consent.model import Channel
from izin.onboarding.address_book import AddressCount
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements

_SQL = statements("onboarding")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCount:
    """The consents of a brand and channel."""

    held: int = 0
    """ONAY at İYS."""
    opted_out: int = 0
    """RET at İYS."""
    waiting: int = 0
    """ONAY that İYS is to hold."""
    void: int = 0
    """ONAY that was not registered in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandCounts:
    """The addresses and consents of a brand."""

    addresses: AddressCount
    """Those that İYS holds or is to hold."""
    channels: Mapping[Channel, ChannelCount] = field(default_factory=dict)


async def brand_counts(ledger: Ledger, customer_id: str) -> dict[int, BrandCounts]:
    """Return the counts of each brand of a customer, as the ledger has them."""
    values = {"customer_id": customer_id}
    channels: dict[int, dict[Channel, ChannelCount]] = {}
    for row in await ledger.fetch(_SQL["channels"], values):
        channels.setdefault(row["brand_code"], {})[Channel(row["channel"])] = ChannelCount(
            held=row["held"],
            opted_out=row["opted_out"],
            waiting=row["waiting"],
            void=row["void"],
        )
    return {
        row["brand_code"]: BrandCounts(
            addresses=AddressCount(phones=row["phones"], emails=row["emails"]),
            channels=channels.get(row["brand_code"], {}),
        )
        for row in await ledger.fetch(_SQL["addresses"], values)
    }
