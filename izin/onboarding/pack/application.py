"""The application pack: what İYS asks of a customer before its first loading, as values.

Addresses and consents are counted exactly, by the ledger or in files. The checklist says what the
customer has given, and what is missing (İYS's application, reference 8). The MERSİS number of a
natural person begins with its T.C. number, which is never stored: such a customer enters it at İYS
itself.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime

from izin.consent.due_dates import THRESHOLD
from izin.consent.model import Channel
from izin.onboarding.address_book import AddressBook, AddressCount, LaneCount
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.registry.application_items import (
    DAYS,
    OF_BRANDS,
    ApplicationItem,
    GivenItem,
    SignatureKind,
)
from izin.sinks.ledger.registry.customers import Customer, PersonKind
from izin.sinks.record.brand import Brand

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


MERSIS = "mersis"
_WORDS: Mapping[str, tuple[str, str]] = {
    MERSIS: ("MERSİS number", "MERSİS numarası"),
    ApplicationItem.TRADE_MARK: ("trade-mark registration", "Marka tescili"),
    ApplicationItem.UNDERTAKING: (
        "undertaking on basic services, with electronic signature",
        "Temel hizmetler kullanım taahhütnamesi (e-imzalı)",
    ),
    ApplicationItem.SIGNATURE: (
        "whether the signatories sign alone or jointly",
        "İmza yetkisi (münferit veya müşterek)",
    ),
    ApplicationItem.SIGNATORY: ("signatory", "İmza yetkilisi"),
    ApplicationItem.SECOND_SIGNATORY: ("second signatory", "İkinci imza yetkilisi"),
    ApplicationItem.AUTHORISATION: (
        "authorisation of the business partner at İYS",
        "İYS'de iş ortağı yetkilendirmesi",
    ),
    ApplicationItem.OPT_OUT_NUMBER: ("number to opt out by a call", "Arama ile ret numarası"),
    ApplicationItem.OPT_OUT_SMS: ("short message to opt out", "Kısa mesaj ile ret bilgisi"),
    ApplicationItem.OPT_OUT_URL: ("address to opt out by a click", "Tıklama ile ret adresi"),
}
_SIGNATURES: Mapping[str, str] = {
    SignatureKind.ALONE: "münferit",
    SignatureKind.JOINTLY: "müşterek",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistLine:
    """An item of the checklist."""

    item: str
    brand_code: int | None
    title: str
    """In English."""
    title_tr: str
    value: str | None
    value_tr: str | None
    given_by: str | None
    given_at: datetime | None
    is_needed: bool

    @property
    def is_missing(self) -> bool:
        """Whether the customer must still give it."""
        return self.is_needed and self.value is None

    @property
    def name(self) -> str:
        """How a person names it, as ``trade-mark:100001``."""
        return self.item if self.brand_code is None else f"{self.item}:{self.brand_code}"


def checklist(
    customer: Customer, brands: Iterable[Brand], given: Iterable[GivenItem]
) -> tuple[ChecklistLine, ...]:
    """Return every item, with what the customer has given of it."""
    known = {(one.item, one.brand_code): one for one in given}
    return tuple(_lines(customer, [one.brand_code for one in brands], known))


def _lines(
    customer: Customer, codes: list[int], known: Mapping[tuple[str, int], GivenItem]
) -> Iterator[ChecklistLine]:
    is_legal = customer.kind in {None, PersonKind.LEGAL}
    enters_itself = None if is_legal else "entered at İYS by the customer: it is never stored here"
    yield ChecklistLine(
        item=MERSIS,
        brand_code=None,
        title=_WORDS[MERSIS][0],
        title_tr=_WORDS[MERSIS][1],
        value=customer.mersis or enters_itself,
        value_tr=customer.mersis or (None if is_legal else "başvuru sahibi İYS'de kendisi girer"),
        given_by=None,
        given_at=None,
        is_needed=is_legal,
    )
    signature = known.get((ApplicationItem.SIGNATURE, 0))
    is_joint = signature is not None and signature.value == SignatureKind.JOINTLY
    for item in ApplicationItem:
        for code in codes if item in OF_BRANDS else [0]:
            found = known.get((item, code))
            value = None if found is None else found.value
            yield ChecklistLine(
                item=item,
                brand_code=code or None,
                title=_WORDS[item][0],
                title_tr=_WORDS[item][1],
                value=value,
                value_tr=_turkish(item, value) if value else None,
                given_by=None if found is None else found.given_by,
                given_at=None if found is None else found.given_at,
                is_needed=item is not ApplicationItem.SECOND_SIGNATORY or is_joint,
            )


def _turkish(item: ApplicationItem, value: str) -> str:
    """Return a value as the page has it: days as Turkish writes them."""
    if item in DAYS:
        with suppress(ValueError):
            return f"{date.fromisoformat(value):%d.%m.%Y}"
    return _SIGNATURES.get(value, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCounts:
    """The addresses of a provider over all of its brands: its message package is for so many."""

    iys_code: int
    addresses: int
    limit: int | None
    """What its subscription allows; None: İYS does not show it, as to every partner."""

    @property
    def is_above_threshold(self) -> bool:
        """Whether it has more than 150,000 addresses."""
        return self.addresses > THRESHOLD

    @property
    def beyond_limit(self) -> int:
        """How many addresses İYS would refuse (H525)."""
        return 0 if self.limit is None else max(0, self.addresses - self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationPack:
    """What İYS asks of a customer before its first loading."""

    customer: Customer
    brands: Mapping[int, Brand]
    counts: Mapping[int, BrandCounts]
    counted_in: tuple[str, ...]
    """The names of the files that were counted; none: the ledger was."""
    counted_in_ledger: tuple[int, ...] = ()
    """Brands that are in none of these files: they have the counts of the ledger."""
    providers: tuple[ProviderCounts, ...]
    checklist: tuple[ChecklistLine, ...]
    made_at: datetime

    @property
    def missing(self) -> tuple[ChecklistLine, ...]:
        """What the customer must still give."""
        return tuple(one for one in self.checklist if one.is_missing)


def providers_of(
    brands: Mapping[int, Brand], counts: Mapping[int, BrandCounts]
) -> tuple[ProviderCounts, ...]:
    """Return the providers of ``brands``: a customer mostly is one."""
    totals: Counter[int] = Counter()
    limits: dict[int, int | None] = {}
    for code, brand in brands.items():
        totals[brand.iys_code] += counts[code].addresses.total if code in counts else 0
        limits[brand.iys_code] = limits.get(brand.iys_code) or brand.consent_limit
    return tuple(
        ProviderCounts(
            iys_code=iys_code,
            addresses=total,
            limit=limits[iys_code],
        )
        for iys_code, total in sorted(totals.items())
    )
