"""The application pack of a customer as values; ``page`` prints it and ``sheet`` is its table."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from izin.consent.due_dates import THRESHOLD
from izin.onboarding.pack.checklist import ChecklistLine
from izin.onboarding.pack.counts import BrandCounts
from izin.onboarding.pack.packages import MessagePackage, package_for
from izin.sinks.ledger.registry.customers import Customer
from izin.sinks.record.brand import Brand


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCounts:
    """The addresses of a provider over all of its brands, and the package that they need."""

    iys_code: int
    addresses: int
    package: MessagePackage | None
    """None: there is none for so many."""
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
    brands: Mapping[int, Brand],
    counts: Mapping[int, BrandCounts],
    packages: Iterable[MessagePackage],
) -> tuple[ProviderCounts, ...]:
    """Return the providers of ``brands``: a customer mostly is one."""
    known = tuple(packages)
    totals: Counter[int] = Counter()
    limits: dict[int, int | None] = {}
    for code, brand in brands.items():
        totals[brand.iys_code] += counts[code].addresses.total if code in counts else 0
        limits[brand.iys_code] = limits.get(brand.iys_code) or brand.consent_limit
    return tuple(
        ProviderCounts(
            iys_code=iys_code,
            addresses=total,
            package=package_for(total, known),
            limit=limits[iys_code],
        )
        for iys_code, total in sorted(totals.items())
    )
