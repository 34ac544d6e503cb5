"""When which part was away during a campaign, by the machine's clock in seconds since 1970."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

DATABASE, IYS, DECISIONS = "PostgreSQL", "İYS", "decisions"


class Interval(NamedTuple):
    """A stretch of time."""

    since: float
    until: float


@dataclass(slots=True)
class Outages:
    """The outages of PostgreSQL, of İYS, of the topic of decisions and of each worker.

    A worker is away from a fault on it until it works again: one that was ended, until another
    process listens in its place; a frozen one, until it is woken; one whose network to PostgreSQL
    or to İYS is silent, until it is not. What it needs after that to work as before is no outage.
    """

    _closed: dict[str, list[Interval]] = field(default_factory=lambda: defaultdict(list))
    _open: dict[tuple[str, str], float] = field(default_factory=dict)

    def begin(self, part: str, reason: str) -> None:
        """Note that ``part`` is away from now on; again, for the same reason, changes nothing."""
        self._open.setdefault((part, reason), time.time())

    def end(self, part: str, reason: str) -> None:
        """Note that this reason is over."""
        since = self._open.pop((part, reason), None)
        if since is not None:
            self.add(part, Interval(since, time.time()))

    def add(self, part: str, interval: Interval) -> None:
        """Note an outage whose end is known."""
        self._closed[part].append(interval)

    def of_all(self, workers: Iterable[str]) -> list[Interval]:
        """Return when PostgreSQL, İYS, decisions or all ``workers`` at once were away, in order."""
        now = time.time()
        parts = {name: list(intervals) for name, intervals in self._closed.items()}
        for (name, _), since in self._open.items():
            parts.setdefault(name, []).append(Interval(since, now))
        nobody = [Interval(0, now)]
        for name in workers:
            nobody = common(nobody, union(parts.get(name, [])))
        needed = [one for name in (DATABASE, IYS, DECISIONS) for one in parts.get(name, [])]
        return union([*needed, *nobody])


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return ``intervals`` in order, those that touch as one."""
    merged: list[Interval] = []
    for one in sorted(intervals):
        if merged and one.since <= merged[-1].until:
            merged[-1] = Interval(merged[-1].since, max(merged[-1].until, one.until))
        else:
            merged.append(one)
    return merged


def common(some: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """Return the stretches that lie in both."""
    both = (
        Interval(max(one.since, other.since), min(one.until, other.until))
        for one in some
        for other in others
    )
    return [one for one in both if one.since < one.until]


def seconds(intervals: Iterable[Interval]) -> float:
    """Return how long ``intervals``, which do not overlap, are together."""
    return sum(one.until - one.since for one in intervals)
