"""How long opt-outs took to İYS while faults fell, and what of it counts.

The delay of an opt-out begins when its decision is published and ends with its first submission:
the instant of İYS's first movement for it, less the result delay where a batch brought it, or the
instant of İYS's refusal (by the ledger) where the consent that it withdraws was not processed yet.
A call that was lost before its effect does not count as a submission. Not counted are, and each
instant only once:

- the outages of PostgreSQL, of İYS, and of all workers at once (``chaos.sink.outages``), exactly
  as long as the fault lasted; an outage of one worker counts, and so does every recovery;
- the time until the call of an opt-in of the same key is certainly over (``call_until`` in the
  ledger), where it was still on its way when the opt-out was published, for it cannot be recalled.

Where İYS needs no record of an opt-out, for it shows no consent, the delay ends with the outcome
that says so. One that was replaced by a newer opt-in before all this has waited until then.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import quantiles
from typing import NamedTuple

MOST = 30.0
"""The bar, in seconds."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """An opt-out that was published, at an instant in seconds since 1970."""

    key: str
    event_id: str
    consent_date: str
    """As İYS shows it."""
    published_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedDelay:
    """The delay of an opt-out, in seconds: as it was, and what of it counts."""

    opt_out: OptOut
    whole: float
    counted: float


@dataclass(slots=True, kw_only=True)
class OptOutDelays:
    """The delays of a campaign's opt-outs."""

    delays: list[CountedDelay] = field(default_factory=list)
    unneeded: int = 0
    """Opt-outs of which İYS needs no record."""
    lost: list[str] = field(default_factory=list)
    """The events of opt-outs that have come to no end at all."""
    replaced: int = 0
    """Opt-outs that a newer opt-in replaced before they were submitted."""

    @property
    def slowest(self) -> float:
        """The longest delay that counts."""
        return max((one.counted for one in self.delays), default=0.0)

    @property
    def over(self) -> list[CountedDelay]:
        """The delays over the bar."""
        return [one for one in self.delays if one.counted > MOST]

    def longest(self, count: int) -> list[CountedDelay]:
        """Return the ``count`` longest delays, the longest first."""
        return sorted(self.delays, key=lambda one: -one.counted)[:count]

    def percentile(self, percent: int) -> float:
        """Return the delay that so many percent do not exceed."""
        if len(self.delays) < 2:
            return self.slowest
        counted = [one.counted for one in self.delays]
        return quantiles(counted, n=100, method="inclusive")[percent - 1]

    def __str__(self) -> str:
        return (
            f"{len(self.delays)} opt-outs: p50 {self.percentile(50):.1f} s, "
            f"p99 {self.percentile(99):.1f} s, max {self.slowest:.1f} s, "
            f"{len(self.over)} over {MOST:g} s; {self.unneeded} of them not needed at İYS, "
            f"{self.replaced} replaced before"
        )


def submissions_of(
    movements: Iterable[Mapping[str, object]], *, result_delay: float
) -> dict[str, list[tuple[str, float]]]:
    """Return the opt-outs that İYS has, by key: consent date, and when it was first submitted."""
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in movements:
        if row["status"] == "RET":
            key = f"{row['brandCode']}/{row['type']}/{row['recipientType']}/{row['recipient']}"
            at = float(str(row["occurredAt"])) / 1000
            submitted_at = at - (result_delay if row["requestId"] else 0.0)
            found[key].append((str(row["consentDate"]), submitted_at))
    return found


def measure(
    opt_outs: Iterable[OptOut],
    *,
    submissions: Mapping[str, Sequence[tuple[str, float]]],
    settled: Mapping[str, float],
    replaced: Mapping[str, float],
    away: Sequence[Interval],
    on_their_way: Mapping[str, Sequence[Interval]],
) -> OptOutDelays:
    """Return the delays of ``opt_outs``, given what İYS has of them, when each had its outcome and
    when an opt-in followed it (both by its event), the outages, and by key when the call of an
    opt-in might be on its way.
    """
    found = OptOutDelays()
    for one in opt_outs:
        # A newer opt-out of the key stands for this one too.
        ends = [at for date, at in submissions.get(one.key, ()) if date >= one.consent_date]
        submitted_at = min(ends, default=inf)
        settled_at = settled.get(one.event_id, inf)
        until = min(submitted_at, settled_at, replaced.get(one.event_id, inf))
        if until == inf:
            found.lost.append(one.event_id)
            continue
        found.unneeded += settled_at == until
        found.replaced += until < min(submitted_at, settled_at)
        whole = Interval(one.published_at, max(until, one.published_at))
        calls = [way for way in on_their_way.get(one.key, ()) if way.since <= one.published_at]
        excused = seconds(common([whole], union([*away, *calls])))
        length = whole.until - whole.since
        found.delays.append(CountedDelay(opt_out=one, whole=length, counted=length - excused))
    return found
