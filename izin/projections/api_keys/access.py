"""What a key may do at an endpoint: pure, a function of scope, freshness and key.

Before the first read of the topic nobody is refused for good, for no key is known. Where the keys
were not seen complete for a minute, a revocation may be missing: whoever asks, subscribes or
operates waits. Publishing goes on with the keys that are known, for an opt-out must not be refused
because this endpoint is cut off from the topic.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from izin.schemas.api_keys import ApiKey, Scope

STALE_AFTER = timedelta(seconds=60)
"""After so long without having seen the end of the topic, revocations may be missing."""


class Freshness(StrEnum):
    """How well the keys are known."""

    NOT_READ = "not-read"
    """The topic was not yet read to its end."""
    STALE = "stale"
    """Its end was last seen longer ago than ``STALE_AFTER``."""
    FRESH = "fresh"


class Denied(StrEnum):
    """Why a request is refused."""

    NOT_READ = "not-read"
    """No key is known yet."""
    UNKNOWN = "unknown"
    """There is no such key, or not any more; which of them is not said."""
    FORBIDDEN = "forbidden"
    """The key lacks the scope."""
    STALE = "stale"
    """The key may have been revoked meanwhile."""


class Outside(StrEnum):
    """What of a record is outside a key, by the name of the field."""

    BRAND = "brand_code"
    """The brand, or its customer."""
    CHANNEL = "type"


def freshness_of(age: float | None) -> Freshness:
    """Return how well the keys are known that were last seen complete ``age`` seconds ago."""
    if age is None:
        return Freshness.NOT_READ
    return Freshness.STALE if age > STALE_AFTER.total_seconds() else Freshness.FRESH


def decide(
    scope: Scope, freshness: Freshness, key: ApiKey | None, now: datetime
) -> ApiKey | Denied:
    """Return ``key`` where it may do what needs ``scope``, else why not; None: no key is known."""
    if freshness is Freshness.NOT_READ:
        return Denied.NOT_READ
    if key is None or not key.is_valid(now):
        return Denied.UNKNOWN
    if scope not in key.scopes:
        return Denied.FORBIDDEN
    if freshness is Freshness.STALE and scope is not Scope.PUBLISH:
        return Denied.STALE
    return key


def outside(key: ApiKey, *, customer_id: str, brand_code: int, channel: str) -> Outside | None:
    """Return what of a record is outside ``key``; None: nothing."""
    if customer_id not in key.customers or (key.brands and brand_code not in key.brands):
        return Outside.BRAND
    if key.channels and channel not in key.channels:
        return Outside.CHANNEL
    return None
