"""The account at İYS: brands, subscription, push connections, what a partner was granted (reference
2.8, 2.9).

Of business partners, codes are texts in one of İYS's lists and numbers in the other. The right to a
channel is ``write`` where it may be written. İYS's page names reading too, but shows no value for
it: anything else than ``write`` reads, and a channel that is absent, or said to have none, has no
right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import SecretStr

from izin.consent import Channel
from izin.iys.wire_format.json_reader import JsonReader, UnreadableItem, read_each

_NO_RIGHT = frozenset({"false", "none", "no", "0"})


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
    expires_at: datetime | None
    consent_limit: int | None
    used: int | None
    via_credit: int | None = None
    """What is left for ViA; -1 is without a limit. None: İYS does not show it, as to partners."""

    @classmethod
    def read(cls, reader: JsonReader) -> Subscription:
        """Return the subscription in a response; its id has three spellings and is not read."""
        via = reader.object_or_none("viaSubscriptionPackage")
        return cls(
            status=reader.text("status"),
            expires_at=reader.instant_or_none("expirationDate"),
            consent_limit=reader.integer_or_none("consentLimit"),
            used=reader.integer_or_none("usedConsentLimit"),
            via_credit=None if via is None else via.integer_or_none("viaCredit"),
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


class Right(StrEnum):
    """What a partner may do with a channel of a brand; who may write may read."""

    WRITE = "write"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedBrand:
    """A brand that a provider has granted to a business partner."""

    brand_code: int
    iys_code: int
    name: str
    title: str
    """The name of the provider in the trade register."""
    is_master: bool
    rights: Mapping[Channel, Right]
    """A channel that is absent may be neither written nor read."""
    agreement_control: bool
    """Whether the partner may read the daily files (mutabakat)."""
    via_control: bool

    @classmethod
    def read(cls, reader: JsonReader) -> GrantedBrand:
        """Return the brand in an item of the list."""
        rights = {channel: _right(reader.text_or_none(str(channel))) for channel in Channel}
        return cls(
            brand_code=reader.integer("brandCode"),
            iys_code=reader.integer("iysCode"),
            name=reader.text_or_none("name") or "",
            title=reader.text_or_none("title") or "",
            is_master=bool(reader.boolean_or_none("master")),
            rights={channel: right for channel, right in rights.items() if right is not None},
            agreement_control=bool(reader.boolean_or_none("agreementControl")),
            via_control=bool(reader.boolean_or_none("viaControl")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedBrands:
    """The brands granted to a partner: a page of the list, or all of it."""

    brands: tuple[GrantedBrand, ...]
    unreadable: tuple[UnreadableItem, ...]
    total: int
    """How many brands the whole list has, as İYS counts them."""

    @property
    def size(self) -> int:
        """How many brands are here, the unreadable ones included."""
        return len(self.brands) + len(self.unreadable)

    @property
    def is_complete(self) -> bool:
        """Whether every brand of the list is here and was read: only then is one that is not here
        no longer granted.
        """
        return not self.unreadable and len(self.brands) == self.total

    @classmethod
    def read(cls, reader: JsonReader) -> GrantedBrands:
        """Return the page in a response."""
        brands, unreadable = read_each(reader.raw("list") or [], GrantedBrand.read)
        pagination = reader.object_or_none("pagination")
        total = None if pagination is None else pagination.integer_or_none("totalCount")
        size = len(brands) + len(unreadable)
        return cls(brands=brands, unreadable=unreadable, total=size if total is None else total)


def _right(text: str | None) -> Right | None:
    if text is None or text.lower() in _NO_RIGHT:
        return None
    return Right.WRITE if text.lower() == Right.WRITE else Right.READ
