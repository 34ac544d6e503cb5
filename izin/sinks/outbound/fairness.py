"""Choose which brand and channel is submitted next: due within a day first, then in turn.

Customers take turns, within a customer its brands, within a brand its channels, so that a million
records of one do not delay ten of another. What is due soon goes first whoever it belongs to, for a
consent that is registered too late is void (Yönetmelik m.7/12).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

SOON = timedelta(hours=24)
"""What is due within it is submitted before all else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A channel of a brand with records to submit, and when the first of them is due."""

    customer_id: str
    brand_code: int
    channel: str
    due_at: datetime | None

    def is_soon(self, now: datetime) -> bool:
        """Whether its first record is due within a day, or overdue."""
        return self.due_at is not None and self.due_at <= now + SOON

    def is_overdue(self, now: datetime) -> bool:
        """Whether its first record is overdue: submitted still, for İYS may count a longer term."""
        return self.due_at is not None and self.due_at < now


@dataclass(slots=True, kw_only=True)
class FairShares:
    """The turns of customers, of their brands and of the brands' channels."""

    _served: dict[tuple[object, ...], int] = field(default_factory=dict)
    _turns: Iterator[int] = field(default_factory=lambda: count(1))

    def take(self, lanes: Sequence[Lane], now: datetime) -> Lane | None:
        """Return the next lane and count it as served; None if there is none."""
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
