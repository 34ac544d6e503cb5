"""How an address stands with İYS over the hour and the day (reference section 6).

İYS counts single status queries and histories by the hour. And where 20,000 requests or more leave
an address in 24 hours and fewer than 70 % succeed, it is warned and after 96 hours taken off the
list: then nothing can be told at all. So calls slow down below 80 %, and bulk stops below 75 %,
from half of that number on. What fails is what İYS counts: 400, 401, 403, 404, 422, not 429 or 5xx.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from izin.iys.rate_limit.pace import CallClass

FAILURES = frozenset({400, 401, 403, 404, 422})
"""The HTTP statuses that count against the address."""


class Standing(StrEnum):
    """How an address stands."""

    GOOD = "good"
    WARY = "wary"
    """Calls slow down, and somebody is told."""
    GRAVE = "grave"
    """Nothing leaves in bulk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingPolicy:
    """When an address must take care. Rates are shares of calls that succeeded in 24 hours."""

    counts_from: int = 10_000
    wary_below: float = 0.80
    grave_below: float = 0.75
    slowed: float = 0.5
    """Which part of the full pace an address keeps that does not stand well."""

    def of(self, calls: int, failures: int) -> Standing:
        """Return how an address stands after so many calls and failures in 24 hours."""
        if calls < self.counts_from:
            return Standing.GOOD
        rate = 1 - failures / calls
        if rate < self.grave_below:
            return Standing.GRAVE
        return Standing.WARY if rate < self.wary_below else Standing.GOOD

    def fastest(self, standing: Standing) -> float:
        """Return which part of the full pace may be used."""
        return 1.0 if standing is Standing.GOOD else self.slowed


@dataclass(frozen=True, slots=True, kw_only=True)
class HourLimit:
    """How many calls of one kind İYS takes in an hour; the last fifth is kept for opt-outs."""

    calls: int
    kept: float = 0.2

    def room(self, call_class: CallClass) -> int:
        """Return how many calls in the hour a class may go up to."""
        if call_class is CallClass.RET:
            return self.calls
        return int(self.calls * (1 - self.kept))


STATUS = "status"
"""The operation of single status queries (H086)."""
