"""A brand of a customer at İYS, as the ledger stores it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from izin.consent import BrandTerms, maker
from izin.iys.wire_format import BrandPath

_clock = maker(BrandTerms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """A brand of a customer at İYS."""

    brand_code: int
    iys_code: int
    customer_id: str
    name: str
    activated_at: datetime | None = None
    loading_deadline: datetime | None = None
    status: str = "active"
    account: str | None = None
    egress_address: str | None = None
    """The account and egress address that serve it; None: any."""
    subscription: str | None = None
    """The provider's subscription as İYS last showed it; None: never queried."""
    subscription_ends_at: datetime | None = None
    consent_limit: int | None = None
    consents_used: int | None = None
    queried_at: datetime | None = None
    suspension: str | None = None
    """Why nothing commercial may be sent for it, by a person's order; None: it may."""

    def is_served_by(self, account: str, address: str) -> bool:
        """Whether a process of this account and egress address serves the brand."""
        return self.account in {None, account} and self.egress_address in {None, address}

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
