"""The account at İYS: brands, subscription, push connections (reference 2.8, 2.9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import SecretStr

from izin.consent.model import Channel
from izin.iys.wire_format.json_reader import JsonReader


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandSummary:
    """A brand of the provider, with the counts that İYS gives."""

    brand_code: int
    name: str
    is_master: bool
    approvals: int | None
    rejections: int | None

    @classmethod
    def read(cls, reader: JsonReader) -> BrandSummary:
        """Return the brand in an item of the list."""
        stats = reader.object_or_none("stats")
        consents = None if stats is None else stats.object_or_none("consents")
        return cls(
            brand_code=reader.integer("brandCode"),
            name=reader.text_or_none("name") or "",
            is_master=bool(reader.boolean_or_none("master")),
            approvals=None if consents is None else consents.integer_or_none("approval"),
            rejections=None if consents is None else consents.integer_or_none("rejection"),
        )


class SubscriptionStatus(StrEnum):
    """The status of a subscription; unless ACTIVE, only this query is accepted (H520, H521)."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    EXPIRED = "EXPIRED"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """The provider's subscription. The limits are None for business partners."""

    status: str
    """One of :class:`SubscriptionStatus`, as İYS wrote it."""
    package: str | None
    expires_at: datetime | None
    consent_limit: int | None
    used: int | None

    @classmethod
    def read(cls, reader: JsonReader) -> Subscription:
        """Return the subscription in a response; its id has three spellings and is not read."""
        return cls(
            status=reader.text("status"),
            package=reader.text_or_none("subscriptionPackageName"),
            expires_at=reader.instant_or_none("expirationDate"),
            consent_limit=reader.integer_or_none("consentLimit"),
            used=reader.integer_or_none("usedConsentLimit"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PushConnection:
    """Where İYS pushes the movements of one channel, and its HTTP Basic credentials there."""

    url: str
    type: Channel
    username: str
    password: SecretStr

    def to_body(self) -> dict[str, object]:
        """Return the JSON object for İYS."""
        return {
            "url": self.url,
            "type": str(self.type),
            "username": self.username,
            "password": self.password.get_secret_value(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRegistration:
    """A push connection as İYS lists it; ``status`` is İYS's Turkish sentence."""

    url: str
    type: str
    status: str | None
    registered_at: datetime | None

    @classmethod
    def read(cls, reader: JsonReader) -> PushRegistration:
        """Return the connection in an item of the list."""
        return cls(
            url=reader.text("url"),
            type=reader.text("type"),
            status=reader.text_or_none("status"),
            registered_at=reader.instant_or_none("registerTime"),
        )
