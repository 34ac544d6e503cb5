"""Addresses and consents of a customer's brands, counted exactly: by the ledger or in files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from izin.consent.model import Channel
from izin.onboarding.address_book import AddressBook, AddressCount, LaneCount
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

    @property
    def is_counted(self) -> bool:
        """Whether there is anything of the brand in what was counted."""
        return bool(self.channels)


def counts_in(
    book: AddressBook, lanes: Iterable[LaneCount], brand_codes: Iterable[int]
) -> dict[int, BrandCounts]:
    """Return the counts of files: every address with an opt-in, and what is known of consents."""
    channels: dict[int, dict[Channel, ChannelCount]] = {}
    for one in lanes:
        channels.setdefault(one.brand_code, {})[Channel(one.channel)] = ChannelCount(
            held=one.held,
            opted_out=one.refused,
            waiting=one.lawful - one.held,
            void=one.void,
        )
    addresses = book.addresses()
    nothing = AddressCount(phones=0, emails=0)
    return {
        code: BrandCounts(addresses=addresses.get(code, nothing), channels=channels.get(code, {}))
        for code in brand_codes
    }


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
