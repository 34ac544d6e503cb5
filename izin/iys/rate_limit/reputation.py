"""The limits of an address by the hour, and its reputation over a day (reference section 6).

İYS limits single status queries and histories by the hour. Where an address makes 20,000 requests
or more in 24 hours and fewer than 70 % succeed, it is warned and after 96 hours blocked. So from
half of that number on, calls slow down below 80 %, and bulk stops below 75 %. Failures are the
statuses that İYS counts: 400, 401, 403, 404, 422, not 429 or 5xx.
"""

from dataclasses import dataclass
from enum import StrEnum

from izin.iys.rate_limit.pace import CallClass

FAILURES = frozenset({400, 401, 403, 404, 422})
"""The HTTP statuses that count against the address."""


class Reputation(StrEnum):
    """The reputation of an address at İYS."""

    GOOD = "good"
    WARNING = "warning"
    """Calls slow down, and an alert is raised."""
    CRITICAL = "critical"
    """Nothing is submitted in bulk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationPolicy:
    """The thresholds. Rates are the fractions of calls that succeeded in 24 hours."""

    counts_from: int = 10_000
    warning_below: float = 0.80
    critical_below: float = 0.75
    slowed: float = 0.5
    """The fraction of the full pace below ``warning_below``."""

    def of(self, calls: int, failures: int) -> Reputation:
        """Return the reputation after so many calls and failures in 24 hours."""
        if calls < self.counts_from:
            return Reputation.GOOD
        rate = 1 - failures / calls
        if rate < self.critical_below:
            return Reputation.CRITICAL
        return Reputation.WARNING if rate < self.warning_below else Reputation.GOOD

    def fastest(self, reputation: Reputation) -> float:
        """Return the fraction of the full pace that may be used."""
        return 1.0 if reputation is Reputation.GOOD else self.slowed


@dataclass(frozen=True, slots=True, kw_only=True)
class HourLimit:
    """How many calls of one kind İYS accepts in an hour; a fifth is reserved for opt-outs."""

    calls: int
    reserved: float = 0.2

    def room(self, call_class: CallClass) -> int:
        """Return up to how many calls in the hour a class may be sent."""
        if call_class is CallClass.RET:
            return self.calls
        return int(self.calls * (1 - self.reserved))


STATUS = "status"
"""The operation of single status queries (H086)."""
