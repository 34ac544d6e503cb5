"""What keeps records of a brand from İYS until it is resumed."""

from dataclasses import dataclass
from datetime import datetime

EVERY = "*"
"""Every channel, or every status, of a stop."""

NO_RIGHT = "no-right"
"""The code of a stop that a person set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """What keeps records of a brand from İYS, and until when it is not even tried."""

    brand_code: int
    channel: str
    status: str
    code: str
    reason: str
    scope: str
    """Whom the fault concerns: the brand, every brand of its provider, or of our account."""
    since: datetime
    recheck_at: datetime | None
    """None: never, for a person set it and lifts it."""
    rechecks: int

    @property
    def is_by_operator(self) -> bool:
        """Whether a person said that there is no right, not İYS."""
        return self.recheck_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspensionScope:
    """What is to be kept from İYS until it is mended: a channel or every one, a status or every
    one, of the brand, of every brand of its provider, or of our account.
    """

    channel: str
    status: str
    code: str
    reason: str
    scope: str = "brand"
