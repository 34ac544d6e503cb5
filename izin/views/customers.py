"""The customers and their brands: what İYS asks of them, what each brand may write, what holds its
records back, and what a change would affect.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from izin.consent import WAITING, Channel, Status
from izin.ledger import brands as brand_registry, reads, suspensions as stored
from izin.ledger.db import Ledger
from izin.ledger.reads import Count
from izin.ledger.record import EVERY, NOT_GRANTED, Brand, BrandOfAnotherError, Suspension
from izin.ledger.registry import (
    api_keys,
    application_items,
    customers,
    granted as listing,
    suspension_orders,
)
from izin.ledger.registry.customers import Customer
from izin.ledger.registry.granted import ListedBrand, offers
from izin.ledger.registry.suspension_orders import SuspensionOrder, of_brand
from izin.onboarding.address_book import AddressBook, AddressCount
from izin.onboarding.pack import (
    ApplicationPack,
    ChecklistLine,
    address_counts,
    checklist,
    providers_of,
)
from izin.onboarding.preview import check_brands
from izin.schemas.api_keys import ApiKey
from izin.views.cut import CustomerCut
from izin.views.remedies import remedy_of_suspension
from izin.views.sentences import Instruction, Sentence, sentence

NUMBERS = (("MERSİS", "mersis"), ("VKN", "vkn"), ("İYS code", "iys_code"))
_AFFECTS_RECORDS = {
    "iys_code": "İYS code",
    "customer_id": "customer",
    "activated_at": "active since",
    "loading_deadline": "load by",
    "status": "status",
    "account": "account",
    "egress_address": "address",
}
"""Fields that change terms, owner or route of records that exist already."""
_KEPT = {"activated_at", "account", "egress_address"}
"""Fields that are kept where they are not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCustomers:
    """Who the customers and brands are, to say whose an offered brand may be."""

    customers: Sequence[Customer]
    brands: Sequence[Brand]

    def owner_of(self, iys_code: int) -> str | None:
        """Return the customer whose provider this is; None where none or several are."""
        found = {
            customer.customer_id for customer in self.customers if customer.iys_code == iys_code
        }
        found = found or {brand.customer_id for brand in self.brands if brand.iys_code == iys_code}
        return found.pop() if len(found) == 1 else None

    def of(self, customer_id: str) -> tuple[Brand, ...]:
        """Return the brands of a customer."""
        return tuple(brand for brand in self.brands if brand.customer_id == customer_id)


async def known_customers(ledger: Ledger) -> KnownCustomers:
    """Return who is registered."""
    return KnownCustomers(
        customers=await customers.every(ledger), brands=await brand_registry.every(ledger)
    )


async def brands_in(ledger: Ledger, cut: CustomerCut) -> list[Brand]:
    """Return the brands of a customer, or of all."""
    return [one for one in await brand_registry.every(ledger) if cut.has(one.brand_code)]


def shared_numbers(
    customer: Customer, known: Iterable[Customer]
) -> Iterator[tuple[str, list[str]]]:
    """Yield which numbers of ``customer`` others of ``known`` have, and which: a company is one
    customer.
    """
    others = [one for one in known if one.customer_id != customer.customer_id]
    for name, field in NUMBERS:
        value = getattr(customer, field)
        same = [
            one.customer_id
            for one in others
            if value is not None and getattr(one, field) == value and one.offboarded_at is None
        ]
        if same:
            yield name, same


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandState:
    """A brand with what it may write, and what holds its records back."""

    brand: Brand
    rights: tuple[Channel, ...]
    orders: Mapping[str, SuspensionOrder]
    """By part what a person has suspended."""
    suspensions: tuple[tuple[Suspension, Sentence], ...]
    """Each with its remedy."""

    @property
    def is_tried(self) -> bool:
        """Whether İYS may be tried about one of its suspensions."""
        return any(not one.is_by_operator for one, _ in self.suspensions)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerState:
    """A customer with its brands, and how far its application to İYS is."""

    customer: Customer
    brands: tuple[BrandState, ...]
    keys: tuple[ApiKey, ...]
    """The API keys that are valid."""
    checklist: tuple[ChecklistLine, ...]
    offers: tuple[ListedBrand, ...]
    """The brands that İYS lists to us, and that are not registered here."""
    now: datetime

    @property
    def steps(self) -> Mapping[str, bool]:
        """The steps of onboarding, in their order, and whether each is done."""
        registered = [one.brand for one in self.brands]
        return {
            "The customer is registered": True,
            "Papers and data of the application are complete": not any(
                line.is_missing for line in self.checklist
            ),
            "Its brands are registered": bool(registered),
            "Each brand may write at least one channel": bool(registered)
            and all(one.rights for one in self.brands),
            "The first loading is done: each brand is active": bool(registered)
            and all(one.activated_at and one.activated_at <= self.now for one in registered),
        }


def brand_states(
    brands: Iterable[Brand], found: Sequence[Suspension], orders: Sequence[SuspensionOrder]
) -> tuple[BrandState, ...]:
    """Return ``brands`` with what of ``found`` and ``orders`` concerns each."""
    return tuple(
        BrandState(
            brand=brand,
            rights=stored.rights(own),
            orders=of_brand(brand, orders),
            suspensions=tuple((one, remedy_of_suspension(one, found)) for one in own),
        )
        for brand in brands
        for own in [[one for one in found if one.brand_code == brand.brand_code]]
    )


async def customer_state(ledger: Ledger, customer_id: str, *, now: datetime) -> CustomerState:
    """Return a customer; raises UnknownCustomerError."""
    customer, known = await customers.find(ledger, customer_id), await known_customers(ledger)
    brands = known.of(customer_id)
    registered = {brand.brand_code for brand in known.brands}
    listed = offers(await listing.every(ledger), registered)
    return CustomerState(
        customer=customer,
        brands=brand_states(
            brands, await stored.every(ledger), await suspension_orders.every(ledger)
        ),
        keys=tuple(
            key
            for key in await api_keys.every(ledger)
            if customer_id in key.customers and key.is_valid(now)
        ),
        checklist=checklist(
            customer, brands, await application_items.of_customer(ledger, customer_id)
        ),
        offers=tuple(one for one in listed if known.owner_of(one.iys_code) == customer_id),
        now=now,
    )


async def application_pack(
    ledger: Ledger, customer_id: str, book: AddressBook | None, *, now: datetime
) -> ApplicationPack:
    """Return the pack of a customer, with the counts of ``book``, None: of the ledger.

    Raises:
        UnknownCustomerError: it is not registered.
        OtherBrandsError: the book has another customer's brand.
    """
    brands = await brand_registry.brands_of(ledger, customer_id)
    # A provider's package is for the addresses of all of its brands, also of those in no file.
    counts = await address_counts(ledger, customer_id)
    others = list[int]()
    if book is not None:
        check_brands(book, customer_id, brands)
        in_files, nothing = book.addresses(), AddressCount(phones=0, emails=0)
        others = [code for code in counts.keys() - set(book.brands()) if counts[code].total]
        counts |= {code: in_files.get(code, nothing) for code in book.brands()}
    customer = await customers.find(ledger, customer_id)
    return ApplicationPack(
        customer=customer,
        brands=brands,
        counts=counts,
        counted_in=(),
        counted_in_ledger=tuple(sorted(others)),
        providers=providers_of(brands, counts),
        checklist=checklist(
            customer, brands.values(), await application_items.of_customer(ledger, customer_id)
        ),
        made_at=now,
    )


class BrandChange(NamedTuple):
    """A field of a brand that changes for records that exist already."""

    title: str
    before: Any
    after: Any


def brand_changes(known: Brand, brand: Brand) -> list[BrandChange]:
    """Return what a change to ``brand`` changes for records that exist already."""
    fields = (
        BrandChange(title, getattr(known, name), getattr(brand, name))
        for name, title in _AFFECTS_RECORDS.items()
        if name not in _KEPT or getattr(brand, name) is not None
    )
    return [one for one in fields if (one.after or None) != one.before]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandPlan:
    """What registering or changing a brand would do."""

    known: Brand | None
    """As it is registered; None: it is not."""
    changes: Sequence[BrandChange]
    unsettled: int
    """Records that are not settled, and that the changes affect."""

    @property
    def digest(self) -> str:
        """What differs where the changes are others than somebody was shown."""
        return sha256(repr(self.changes).encode()).hexdigest()


async def brand_plan(ledger: Ledger, brand: Brand, former: str | None = None) -> BrandPlan:
    """Return what registering or changing ``brand`` would do; ``former`` is who has it now, where
    it moves.

    Raises:
        UnknownCustomerError: its customer is not registered.
        OffboardedCustomerError: it was offboarded.
        BrandOfAnotherError: another customer has it, and ``former`` does not name it.
    """
    async with ledger.transaction() as connection:
        await customers.require_active(connection, {brand.customer_id})
        found = await brand_registry.of_codes(connection, [brand.brand_code])
    known = found.get(brand.brand_code)
    if known is not None and known.customer_id not in {brand.customer_id, former}:
        raise BrandOfAnotherError(brand.brand_code)
    return BrandPlan(
        known=known,
        changes=[] if known is None else brand_changes(known, brand),
        unsettled=sum(one.keys for one in await reads.unsettled(ledger, brand.brand_code)),
    )


def waiting(counts: Iterable[Count]) -> Sentence:
    """Return how many opt-outs and consents wait to be sent to İYS."""
    found = [count for count in counts if count.state in WAITING]
    opt_outs = sum(one.keys for one in found if one.desired_status == Status.RET)
    return sentence(
        "%(opt_outs)s opt-outs and %(consents)s consents",
        opt_outs=opt_outs,
        consents=sum(one.keys for one in found) - opt_outs,
    )


async def suspended_and_counted(
    ledger: Ledger, brand_code: int
) -> tuple[tuple[Suspension, ...], tuple[Count, ...]]:
    """Return the suspensions of a brand, and how many of its unsettled keys are in which state."""
    found = [one for one in await stored.every(ledger) if one.brand_code == brand_code]
    return tuple(found), await reads.unsettled(ledger, brand_code)


def rights_changes(
    brand_code: int,
    found: Iterable[Suspension],
    channels: Collection[Channel],
    counts: Iterable[Count],
) -> list[Sentence]:
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
            lines.append(
                sentence(
                    "%(channel)s: no -> write%(until)s; %(waiting)s continue",
                    channel=channel,
                    until=sentence(until) if until else "",
                    waiting=waits,
                )
            )
        elif channel in channels and one is not None:
            lines.append(
                sentence(
                    "%(channel)s: no, for İYS refused it: once that is corrected at İYS, %(retry)s",
                    channel=channel,
                    retry=Instruction(f"izin brands retry {brand_code}", "try it now"),
                )
            )
        elif channel not in channels and (is_listed or not is_ours):
            was = "write" if one is None else "no, refused by İYS"
            lines.append(
                sentence(
                    "%(channel)s: %(was)s -> no; %(waiting)s wait until it is given back; opt-outs "
                    "that cannot: %(opt_outs)s",
                    channel=channel,
                    was=sentence("no, not granted at İYS" if is_listed else was),
                    waiting=waits,
                    opt_outs=Instruction(f"izin deadlines opt-outs {brand_code}", "see Deadlines"),
                )
            )
    return lines
