"""The running numbers of an origin: which came, and which did not.

An origin that numbers its events lets us see what never reached us: a number that is passed over is
a gap. Events of one origin lie on many partitions of two lanes, so numbers come in any order, and
again after a replay; what is kept is a set, as the intervals between its first and its last number
that are missing. To take a number in twice, or in another order, changes nothing, so nothing is
counted twice and a late number closes its gap.

An origin whose numbers do not run one by one would leave a gap at every step. At most
``MOST_GAPS`` are kept; the oldest are given up, and how many numbers were in them is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

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
    """Numbers that came, each following the one before, from ``first`` to ``last``."""

    first: int
    last: int
    at: datetime
    """When the earliest of them was appended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What came of an origin: all from ``first`` to ``last`` but the ``gaps``, which are sorted."""

    first: int
    last: int
    gaps: tuple[Gap, ...] = ()
    given_up: int = 0
    """How many numbers were in gaps that are no longer kept."""

    def with_run(self, run: Run, *, most: int = MOST_GAPS) -> Numbers:
        """Return what came with ``run`` besides."""
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
    """Return ``numbers`` with the instants at which they were appended as runs, in order."""
    found: list[Run] = []
    for number in sorted(numbers):
        at = numbers[number]
        if found and found[-1].last == number - 1:
            found[-1] = Run(found[-1].first, number, min(found[-1].at, at))
        else:
            found.append(Run(number, number, at))
    return found


def with_runs(numbers: Numbers, came: Iterable[Run]) -> Numbers:
    """Return ``numbers`` with all that ``came`` besides."""
    for run in came:
        numbers = numbers.with_run(run)
    return numbers


def _without(gap: Gap, run: Run) -> Iterable[Gap]:
    """Yield what ``run`` leaves of ``gap``."""
    if run.last < gap.first or run.first > gap.last:
        yield gap
        return
    if gap.first < run.first:
        yield Gap(gap.first, run.first - 1, gap.since)
    if run.last < gap.last:
        yield Gap(run.last + 1, gap.last, gap.since)
