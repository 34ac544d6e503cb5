"""The sequence numbers of an origin: which have come, and which are missing.

If an origin numbers its events, a number that is skipped shows an event that never reached us: a
gap. Events of one origin are on many partitions of two lanes, so numbers come in any order, and
again after a replay. They are stored as a set: the first and the last number, and the intervals
between that are missing. Adding a number twice, or in another order, changes nothing, so none is
counted twice and a late number closes its gap.

An origin whose numbers are not consecutive would leave a gap at every step. At most ``MOST_GAPS``
are kept; the oldest are given up, and how many numbers they had is counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, Self

MOST_GAPS = 1000


class Gap(NamedTuple):
    """Numbers that are missing, from ``first`` to ``last``."""

    first: int
    last: int
    since: datetime
    """When a number beyond them was appended to its topic."""

    @property
    def size(self) -> int:
        """How many numbers are missing."""
        return self.last - self.first + 1


class Run(NamedTuple):
    """Consecutive numbers that have come, from ``first`` to ``last``."""

    first: int
    last: int
    at: datetime
    """When the earliest of them was appended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The numbers of an origin: ``first`` to ``last`` without the ``gaps``, which are sorted."""

    first: int
    last: int
    gaps: tuple[Gap, ...] = ()
    given_up: int = 0
    """How many numbers were in gaps that were given up."""

    def with_run(self, run: Run, *, most: int = MOST_GAPS) -> Self:
        """Return the numbers with those of ``run``."""
        gaps = [left for gap in self.gaps for left in _without(gap, run)]
        if run.first > self.last + 1:
            gaps.append(Gap(self.last + 1, run.first - 1, run.at))
        if run.last < self.first - 1:
            gaps.insert(0, Gap(run.last + 1, self.first - 1, run.at))
        given_up = self.given_up
        if len(gaps) > most:
            oldest = sorted(gaps, key=lambda gap: (gap.since, gap.first))[: len(gaps) - most]
            given_up += sum(gap.size for gap in oldest)
            gaps = [gap for gap in gaps if gap not in oldest]
        return replace(
            self,
            first=min(self.first, run.first),
            last=max(self.last, run.last),
            gaps=tuple(gaps),
            given_up=given_up,
        )


def runs(numbers: Mapping[int, datetime]) -> Sequence[Run]:
    """Return ``numbers``, each with the instant of its append, as runs in order."""
    found: list[Run] = []
    for number in sorted(numbers):
        at = numbers[number]
        if found and found[-1].last == number - 1:
            found[-1] = Run(found[-1].first, number, min(found[-1].at, at))
        else:
            found.append(Run(number, number, at))
    return found


def with_runs(numbers: Numbers, came: Iterable[Run]) -> Numbers:
    """Return ``numbers`` with those of the runs that ``came``."""
    for run in came:
        numbers = numbers.with_run(run)
    return numbers


def _without(gap: Gap, run: Run) -> Iterable[Gap]:
    """Yield what ``run`` leaves open of ``gap``."""
    if run.last < gap.first or run.first > gap.last:
        yield gap
        return
    if gap.first < run.first:
        yield Gap(gap.first, run.first - 1, gap.since)
    if run.last < gap.last:
        yield Gap(run.last + 1, gap.last, gap.since)
