"""What a first loading would do: what İYS would take, what is lawful, how long, and until when.

Nothing is published by it. The files are read as the import reads them; what is known of their keys
comes from the ledger, and from İYS where it was asked.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from izin.consent.business_days import Calendar
from izin.consent.enums import Status
from izin.consent.forecast import DueGroup
from izin.onboarding.address_book import AddressBook, AddressCount, LaneCount
from izin.onboarding.loading_time import Limits, LoadingTime, loading_time
from izin.onboarding.review import LawfulReview
from izin.sinks.ledger.registry.customer_brands import OtherBrandsError
from izin.sinks.record.brand import Brand
from izin.sinks.record.suspension import EVERY, Suspension


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLoading:
    """Of what brands, when, and by which limits."""

    brands: Mapping[int, Brand]
    """Those that may be in the files."""
    limits: Limits
    now: datetime


class SuspendedLane(NamedTuple):
    """Records of a brand and channel that would be published, and wait here."""

    brand_code: int
    channel: str
    records: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingWhatIf:
    """What a first loading would do."""

    lanes: tuple[LaneCount, ...]
    addresses: Mapping[int, AddressCount]
    """With an opt-in in the files, by brand."""
    time: LoadingTime
    loading_ends: Mapping[int, datetime | None]
    """By when the loading of each brand must be done; None: no deadline is known."""
    now: datetime
    suspended: tuple[SuspendedLane, ...] = ()
    """What İYS would not get now: a right is missing, or a person has ordered it."""

    @property
    def void(self) -> int:
        """How many opt-ins are not lawful."""
        return sum(one.void for one in self.lanes)

    @property
    def missed(self) -> tuple[int, ...]:
        """The brands whose deadline does not hold."""
        ends_at = self.now + self.time.takes
        return tuple(
            code for code, at in self.loading_ends.items() if at is not None and at < ends_at
        )

    @property
    def is_short(self) -> bool:
        """Whether something is void, will be, or waits, or a deadline does not hold."""
        return bool(self.void or self.missed or self.time.forecast.lost or self.suspended)


def check_brands(book: AddressBook, customer_id: str, brands: Mapping[int, Brand]) -> None:
    """Check that every row is of one of ``brands``, which are those of the customer.

    Raises:
        OtherBrandsError: one is not.
    """
    if others := set(book.brands()) - brands.keys():
        raise OtherBrandsError(customer_id, others)


def review_of(
    book: AddressBook,
    brands: Mapping[int, Brand],
    *,
    now: datetime,
    calendar: Calendar,
    addresses: int | None = None,
) -> LawfulReview:
    """Return what decides which opt-ins of ``book`` are lawful, and have the book judge by it.

    ``addresses``: how many a provider had when the general transfers ended; None: as many as all of
    its brands have in the book.
    """
    totals: Counter[int] = Counter()
    for code, count in book.addresses().items():
        totals[brands[code].iys_code] += count.total
    review = LawfulReview(
        book=book,
        now=now,
        addresses={
            code: totals[brand.iys_code] if addresses is None else addresses
            for code, brand in brands.items()
        },
        calendar=calendar,
    )
    book.judge(review.lawful_until, review.is_transferable)
    return review


def what_if(
    book: AddressBook,
    loading: FirstLoading,
    waiting: Collection[DueGroup],
    suspensions: Collection[Suspension] = (),
) -> LoadingWhatIf:
    """Return what the loading would do, behind what is ``waiting`` for İYS already and held back by
    ``suspensions``; the book is judged by ``review_of``.
    """
    lanes = book.lanes(loading.now)
    time = loading_time(lanes, book.groups(loading.now), waiting, loading.limits, now=loading.now)
    return LoadingWhatIf(
        lanes=tuple(lanes),
        addresses=book.addresses(),
        time=time,
        loading_ends={
            code: _loading_ends(loading.brands[code], loading.now) for code in book.brands()
        },
        now=loading.now,
        suspended=tuple(_suspended(lanes, suspensions)),
    )


def _suspended(
    lanes: Collection[LaneCount], suspensions: Collection[Suspension]
) -> Iterator[SuspendedLane]:
    """Yield what is held back of each lane, by the first suspension that holds any of it."""
    for lane in lanes:
        for one in suspensions:
            is_its = one.brand_code == lane.brand_code and one.channel in {EVERY, lane.channel}
            records = {Status.ONAY: lane.to_send, Status.RET: lane.opt_outs}
            held = sum(n for status, n in records.items() if one.status in {EVERY, status})
            if is_its and held:
                yield SuspendedLane(lane.brand_code, lane.channel, held, one.reason)
                break


def _loading_ends(brand: Brand, now: datetime) -> datetime | None:
    """Return when İYS stops taking older dates of a brand in its first loading; None: it has
    stopped, or nobody has said when it does.
    """
    ends = [one for one in (brand.loading_deadline, brand.activated_at) if one is not None]
    is_active = brand.activated_at is not None and brand.activated_at <= now
    return min(ends) if ends and not is_active else None
