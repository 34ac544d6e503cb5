"""A brand of a customer at İYS, as the ledger stores it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from izin.consent import BrandTerms, maker
from izin.iys.wire_format import BrandPath
from izin.kafka.tables.brand_directory import RegisteredBrand

_clock = maker(BrandTerms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand(RegisteredBrand):
    """A brand of a customer at İYS."""

    account: str | None = None
    egress_address: str | None = None
    """The account and egress address that serve it; None: any."""
    subscription: str | None = None
    """The provider's subscription as İYS last showed it; None: never queried."""
    subscription_ends_at: datetime | None = None
    consent_limit: int | None = None
    consents_used: int | None = None
    via_credit: int | None = None
    """How often İYS will still ask somebody for consent (ViA); -1 is without a limit, and None that
    it shows no number, as to business partners: that is not none."""
    queried_at: datetime | None = None

    def is_served_by(self, account: str, addresses: Sequence[str]) -> bool:
        """Whether a process of this account serves the brand from these egress addresses."""
        is_free = self.egress_address is None and bool(addresses)
        return self.account in {None, account} and (is_free or self.egress_address in addresses)

    @property
    def path(self) -> BrandPath:
        """The brand's path in the URLs of İYS."""
        return BrandPath(iys_code=self.iys_code, brand_code=self.brand_code)

    @property
    def clock(self) -> BrandTerms:
        """When the terms of its consents run."""
        return _clock(activated_at=self.activated_at, loading_deadline=self.loading_deadline)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the brand of a row of ``brands``."""
        return cls(**row)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseOwner:
    """A process, and how long its unanswered submissions are left to it."""

    owner: str
    lease: timedelta
    call_within: timedelta
    """How long a call may be on its way; shorter than the lease."""
    account: str = ""
    address: str = ""
    """Its account and egress address: it passes over the brands of others."""
    delisted: set[str] = field(default_factory=set, compare=False)
    """The addresses that are off İYS's list, as last read; of a process's copies one."""

    @property
    def addresses(self) -> list[str]:
        """The addresses whose brands it serves; none while its own is off İYS's list."""
        return [] if self.address in self.delisted else [self.address, *sorted(self.delisted)]

    @property
    def who(self) -> Mapping[str, object]:
        """Account and addresses, as parameters of SQL statements."""
        return {"account": self.account, "addresses": self.addresses}

    def exclusive(self, work: str) -> str:
        """Return the name under which one process does ``work`` for all of its account and address.

        The name has both, for otherwise a brand that only the other address serves would wait for
        ever.
        """
        return f"{work} {self.account} {self.address}"


EVERY = "*"
"""Every channel, or every status."""

NO_RIGHT = "no-right"
"""The code of a suspension of a channel that an operator declared the brand may not write."""
NOT_GRANTED = "not-granted"
"""The code of a suspension of a channel to which İYS lists no right to write."""
ORDERED = "ordered"
"""The code of a suspension of everything of a brand that an operator ordered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Records of a brand that are not submitted, and when the next try is allowed."""

    brand_code: int
    channel: str
    status: str
    code: str
    reason: str
    scope: str
    """What the fault concerns: the brand, every brand of its provider, or of our account."""
    since: datetime
    recheck_at: datetime | None
    """None: never, for an operator or İYS's list of rights caused it and ends it."""
    rechecks: int

    @property
    def is_by_operator(self) -> bool:
        """Whether an operator or İYS's list of rights caused it, not a refused call."""
        return self.recheck_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspensionScope:
    """What to suspend: a channel or every one, a status or every one; of the brand, of every brand
    of its provider, or of our account.
    """

    channel: str
    status: str
    code: str
    reason: str
    scope: str = "brand"
