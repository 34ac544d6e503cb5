"""Whose turn it is to be told: what is due within a day before what is not, and then everybody in
turn.

Customers take turns, a customer's brands, a brand's channels: whoever brings a million records
holds up nobody who brings ten. What is due soon goes before what is not, whosever it is, for a
consent told too late is void (Yönetmelik m.7/12).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SOON = timedelta(hours=24)
"""What is due within it is told before what is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A brand's channel that has records to tell, and when the first of them is due."""

    customer_id: str
    brand_code: int
    channel: str
    due_at: datetime | None

    def is_soon(self, now: datetime) -> bool:
        """Whether its first record is due within a day, or overdue."""
        return self.due_at is not None and self.due_at <= now + SOON

    def is_overdue(self, now: datetime) -> bool:
        """Whether its first record is past due: offered still, for İYS may read the term longer."""
        return self.due_at is not None and self.due_at < now


@dataclass(slots=True, kw_only=True)
class FairShares:
    """Who was served last: of customers, of their brands, of these brands' channels."""

    _served: dict[tuple[object, ...], int] = field(default_factory=dict)
    _turns: count[int] = field(default_factory=lambda: count(1))

    def take(self, lanes: Sequence[Lane], now: datetime) -> Lane | None:
        """Return the lane whose turn it is, and count it as served; None if there is none."""
        if not lanes:
            return None
        chosen = min(lanes, key=lambda lane: (not lane.is_soon(now), self._last(lane)))
        turn = next(self._turns)
        self._served.update(dict.fromkeys(_names(chosen), turn))
        return chosen

    def _last(self, lane: Lane) -> tuple[int, ...]:
        return tuple(self._served.get(name, 0) for name in _names(lane))


def _names(lane: Lane) -> tuple[tuple[object, ...], ...]:
    return (
        (lane.customer_id,),
        (lane.customer_id, lane.brand_code),
        (lane.customer_id, lane.brand_code, lane.channel),
    )
