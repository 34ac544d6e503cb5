"""What a first loading would do: what İYS would take, what is lawful, how long, and until when.

Nothing is published by it. The files are read as the import reads them; what is known of their keys
comes from the ledger, and from İYS where it was asked.

İYS takes older dates until a brand is activated; the law does not know that exception. An opt-in is
published while its lawful term runs (``consent.due_dates``), or where İYS is known to hold ONAY of
its key: it was registered in time then. Any other is reported, and never published. Preview and
import decide by the same review.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import ceil
from typing import cast

from izin.consent import (
    TURKEY,
    TURKEY_CALENDAR,
    AdmittedEvent,
    BrandTerms,
    Calendar,
    LawfulTerm,
    Status,
    Violation,
    admit,
    due_at,
    lawful_term,
    taken_until,
)
from izin.consent.forecast import DueGroup, Forecast, forecast, records_per_second
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.ledger.brands import OtherBrandsError
from izin.ledger.record import Brand
from izin.onboarding.address_book import AddressBook, LaneCount
from izin.producers.mapping.field_names import violation
from izin.producers.mapping.records import AcceptedRecord
from izin.sinks.outbound.schedule import QUERY_FIRST_OVER

_DAY = 24 * 60 * 60
_TURKEY = 3 * 60 * 60
"""Seconds ahead of UTC."""


@dataclass(frozen=True, kw_only=True)
class BookReview:
    """Notes in the book what would be published, and lets it all pass: for a first look."""

    book: AddressBook
    directory: BrandDirectory
    now: datetime
    calendar: Calendar = TURKEY_CALENDAR

    def __call__(self, accepted: AcceptedRecord) -> tuple[Violation, ...]:
        """Note ``accepted``."""
        one = admitted(accepted)
        terms, calendar = self._terms[one.key.brand_code], self.calendar
        due = due_at(one.effective_at, terms, now=self.now, calendar=calendar)
        is_ret = one.status is Status.RET
        ends = taken_until(one.effective_at, terms, now=self.now, calendar=calendar)
        self.book.add(one, due_at=due, expires_at=None if is_ret else ends)
        return ()

    @cached_property
    def _terms(self) -> Mapping[int, BrandTerms]:
        return {
            brand.brand_code: BrandTerms(
                activated_at=brand.activated_at, loading_deadline=brand.loading_deadline
            )
            for brand in self.directory
        }


@dataclass(frozen=True, kw_only=True)
class LawfulReview:
    """Lets the opt-ins pass that are lawful at an instant."""

    book: AddressBook
    now: datetime
    addresses: Mapping[int, int] = field(default_factory=dict)
    """How many its provider has, by brand."""
    calendar: Calendar = TURKEY_CALENDAR
    _known: dict[tuple[int, int], LawfulTerm] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """By day and addresses: a term is the same for all of a day."""

    def __call__(self, accepted: AcceptedRecord) -> tuple[Violation, ...]:
        """Return why an opt-in is not published."""
        if accepted.event.status == Status.RET:
            return ()
        one = admitted(accepted)
        term = self.term(int(one.effective_at.timestamp()), one.key.brand_code)
        if not term.is_over(self.now) or self.book.holds_onay(one.key):
            return ()
        code = "IZIN-VOID" if term.transfer is None else "IZIN-TRANSFER-ENDED"
        return (violation("consent_date", code, ended=f"{term.until.astimezone(TURKEY):%d.%m.%Y}"),)

    def term(self, at: int, brand_code: int) -> LawfulTerm:
        """Return the lawful term of an opt-in that was given ``at`` (seconds since 1970)."""
        day, addresses = (at + _TURKEY) // _DAY, self.addresses.get(brand_code, 0)
        found = self._known.get((day, addresses))
        if found is None:
            given_at = datetime.fromtimestamp(day * _DAY - _TURKEY, UTC)
            found = lawful_term(given_at, addresses=addresses, now=self.now, calendar=self.calendar)
            self._known[day, addresses] = found
        return found

    def lawful_until(self, at: int, brand_code: int) -> int:
        """Return the end of that term, in seconds since 1970."""
        return int(self.term(at, brand_code).until.timestamp())


def admitted(accepted: AcceptedRecord) -> AdmittedEvent:
    """Return a record that would be published as the order stage admits it."""
    event = accepted.event
    # It was admitted before, and is so again unchanged (docs/law.md).
    return cast(AdmittedEvent, admit(event, appended_at=cast(datetime, event.received_at)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What İYS and the settings allow an address."""

    requests_per_second: float
    batch_size: int
    result_delay: timedelta
    sweep_share: float
    """The part of the requests that asking about a thousand recipients may take."""

    def asking(self, requests: int) -> timedelta:
        """Return how long so many of those take."""
        return timedelta(seconds=requests / (self.requests_per_second * self.sweep_share))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingTime:
    """What a loading takes at İYS."""

    submissions: int
    """Requests that submit: batches, and opt-outs one by one where they are few."""
    queries: int
    """Requests that ask about opt-outs, a thousand each."""
    results: int
    """Requests that read the results of batches."""
    takes: timedelta
    """Until the last result is known."""
    forecast: Forecast
    """Of the loading, in its turn among what waits already: what of it will be late or lost."""


def loading_time(
    lanes: Collection[LaneCount],
    groups: Collection[DueGroup],
    waiting: Collection[DueGroup],
    limits: Limits,
    *,
    now: datetime,
) -> LoadingTime:
    """Return how long it takes to submit ``lanes``, whose deadlines are those of ``groups``, behind
    and beside what is ``waiting``.
    """
    batches = sum(ceil(lane.to_send / limits.batch_size) for lane in lanes)
    before = ceil(sum(group.count for group in waiting) / limits.batch_size)
    singles = queries = 0
    for one in lanes:
        batches += ceil(one.opt_outs_held / limits.batch_size)
        unknown = one.opt_outs - one.opt_outs_held
        if unknown > QUERY_FIRST_OVER:
            queries += ceil(unknown / limits.batch_size)
        else:
            singles += unknown
    rate = limits.requests_per_second
    pace = records_per_second(rate, batch_size=limits.batch_size)
    return LoadingTime(
        submissions=batches + singles,
        queries=queries,
        results=batches,
        takes=_takes(
            before + batches + singles + queries, before + batches, rate, limits.result_delay
        ),
        forecast=_own(groups, forecast([*groups, *waiting], now=now, records_per_second=pace)),
    )


def _own(groups: Collection[DueGroup], whole: Forecast) -> Forecast:
    """Return what ``whole`` says of ``groups`` themselves: others may have equal deadlines."""
    ours = {id(group) for group in groups}
    return Forecast(groups=tuple(one for one in whole.groups if id(one.group) in ours))


def _takes(first: int, results: int, rate: float, delay: timedelta) -> timedelta:
    """Return how long ``first`` requests take, of which so many have a result to be read."""
    submitted = timedelta(seconds=first / rate)
    if not results:
        return submitted
    return max(submitted + delay, timedelta(seconds=(first + results) / rate))


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLoading:
    """Of what brands, when, and by which limits."""

    brands: Mapping[int, Brand]
    """Those that may be in the files."""
    limits: Limits
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingPreview:
    """What a first loading would do."""

    lanes: tuple[LaneCount, ...]
    time: LoadingTime
    loading_ends: Mapping[int, datetime | None]
    """By when the loading of each brand must be done; None: no deadline is known."""
    now: datetime

    @property
    def void(self) -> int:
        """How many opt-ins are not lawful."""
        return sum(lane.void for lane in self.lanes)

    @property
    def missed(self) -> tuple[int, ...]:
        """The brands whose deadline does not hold."""
        ends_at = self.now + self.time.takes
        return tuple(
            code for code, at in self.loading_ends.items() if at is not None and at < ends_at
        )

    @property
    def is_short(self) -> bool:
        """Whether something is void, or will be, or a deadline does not hold."""
        return bool(self.void or self.missed or self.time.forecast.lost)


def check_brands(book: AddressBook, customer_id: str, brands: Mapping[int, Brand]) -> None:
    """Check that every row is of one of ``brands``, which are those of the customer.

    Raises:
        OtherBrandsError: one is not.
    """
    if others := set(book.brands()) - brands.keys():
        raise OtherBrandsError(customer_id, others)


def review_of(
    book: AddressBook, brands: Mapping[int, Brand], *, now: datetime, calendar: Calendar
) -> LawfulReview:
    """Return what decides which opt-ins of ``book`` are lawful, and have the book judge by it: a
    provider has as many addresses as all of its brands have in the book.
    """
    totals: Counter[int] = Counter()
    for code, count in book.addresses().items():
        totals[brands[code].iys_code] += count.total
    review = LawfulReview(
        book=book,
        now=now,
        addresses={code: totals[brand.iys_code] for code, brand in brands.items()},
        calendar=calendar,
    )
    book.judge(review.lawful_until)
    return review


def preview(
    book: AddressBook, loading: FirstLoading, waiting: Collection[DueGroup]
) -> LoadingPreview:
    """Return what the loading would do, behind what is ``waiting`` for İYS already; the book is
    judged by ``review_of``.
    """
    lanes = book.lanes(loading.now)
    time = loading_time(lanes, book.groups(loading.now), waiting, loading.limits, now=loading.now)
    return LoadingPreview(
        lanes=tuple(lanes),
        time=time,
        loading_ends={
            code: _loading_ends(loading.brands[code], loading.now) for code in book.brands()
        },
        now=loading.now,
    )


def _loading_ends(brand: Brand, now: datetime) -> datetime | None:
    """Return when İYS stops taking older dates of a brand in its first loading; None: it has
    stopped, or nobody has said when it does.
    """
    ends = [one for one in (brand.loading_deadline, brand.activated_at) if one is not None]
    is_active = brand.activated_at is not None and brand.activated_at <= now
    return min(ends) if ends and not is_active else None
