"""Suspensions: records of a brand that are not submitted until the cause is gone."""

from dataclasses import dataclass
from datetime import datetime

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
