"""What register, ledger and topics must agree on after every fault, and how long opt-outs took.

The delay of an opt-out begins when its decision is published and ends with its first submission:
the instant of İYS's first movement for it, less the result delay where a batch brought it, or the
instant of İYS's refusal (by the ledger) where the consent that it withdraws was not processed yet.
A call that was lost before its effect does not count as a submission. Not counted are, and each
instant only once:

- the outages of PostgreSQL, of İYS, and of all workers at once (``Outages``), exactly
  as long as the fault lasted; an outage of one worker counts, and so does every recovery;
- the time until the call of an opt-in of the same key is certainly over (``call_until`` in the
  ledger), where it was still on its way when the opt-out was published, for it cannot be recalled.

Where İYS needs no record of an opt-out, for it shows no consent, the delay ends with the outcome
that says so. One that was replaced by a newer opt-in before all this has waited until then.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from statistics import quantiles
from typing import Any, LiteralString, NamedTuple

from izin.iys.wire_format.json_reader import to_turkish
from izin.kafka.bounded_reader import read_all
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.history import verify
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.chaos.pipeline import differences
from tests.chaos.sink.decision_source import DecisionSource, OptOut
from tests.support.simulator import SimulatorAdmin

_SHOWN = 20
_REFUSALS: LiteralString = """
SELECT i.key, i.consent_date, s.answered_at
FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id
WHERE i.key = ANY(%(keys)s) AND i.status = 'RET' AND i.code IS NOT NULL
    AND i.state IN ('refused', 'withdrawn')
"""
_OUTCOMES: LiteralString = """
SELECT m.event_id, min(m.recorded_at) AS at
FROM (SELECT DISTINCT unnest(%(keys)s::text[]) AS key) AS k
JOIN history AS m ON hashtextextended(m.key, 0) = hashtextextended(k.key, 0) AND m.key = k.key
WHERE m.kind = 'outcome' AND m.status = 'RET' AND m.event_id IS NOT NULL
GROUP BY m.event_id
"""
_OPT_INS: LiteralString = """
SELECT i.key, s.intended_at, s.settled_at, s.call_until
FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id
WHERE i.key = ANY(%(keys)s) AND i.status = 'ONAY'
"""
_FACTS: LiteralString = """
SELECT m.kind || coalesce(' of ' || m.status, '') AS what, m.recorded_at AS at FROM history AS m
WHERE hashtextextended(m.key, 0) = hashtextextended(%(key)s, 0) AND m.key = %(key)s
UNION ALL
SELECT i.status || ' stored, ' || s.kind || ' ' || s.id, s.intended_at
FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id WHERE i.key = %(key)s
UNION ALL
SELECT i.status || ' settled as ' || i.state || ', ' || s.kind || ' ' || s.id, s.settled_at
FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id WHERE i.key = %(key)s
ORDER BY at
"""
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


async def timelines(ledger: Ledger, slow: Iterable[CountedDelay]) -> list[str]:
    """Return a line for each of ``slow``: its delay, and what happened when, in seconds since it
    was published.
    """
    lines = []
    for one in slow:
        facts = await ledger.fetch(_FACTS, {"key": one.opt_out.key})
        steps = [
            f"{_after(row['at'], one.opt_out.published_at):+.1f} {row['what']}"
            for row in facts
            if row["at"] is not None
        ]
        lines.append(
            f"{one.opt_out.event_id}: {one.counted:.1f} s of {one.whole:.1f} s; " + "; ".join(steps)
        )
    return lines


def _after(at: datetime, published_at: float) -> float:
    return at.timestamp() - published_at


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkVerdict:
    """What came of a campaign."""

    keys: int
    movements: int
    calls: int
    token_calls: int
    h084: int
    h124: int
    missed: int
    """Terms that ended before İYS had the consent, and opt-outs that reached İYS late."""
    opt_outs: int
    in_flight: int
    """How many of the opt-outs were published while an opt-in of their key was in flight."""
    delays: OptOutDelays
    """Until the first submission."""
    until_registered: OptOutDelays
    """Until İYS had them, which it cannot before it has processed the consent."""
    slow: tuple[str, ...]
    """The way of the slowest opt-outs."""
    away: float
    """How many seconds PostgreSQL, İYS or all workers were away."""
    unexplained: tuple[str, ...]
    """What no rule explains; none: every promise was kept."""


async def judge(
    settings: KafkaSettings,
    ledger: Ledger,
    simulator: SimulatorAdmin,
    source: DecisionSource,
    *,
    result_delay: float,
    away: Sequence[Interval],
    failed: Sequence[str],
) -> SinkVerdict:
    """Compare İYS's register, the ledger and the topics with what was decided.

    ``away`` has the outages that excuse a delay, ``failed`` the processes that ended by themselves.
    """
    movements = list(simulator.rows("movements"))
    register = {
        f"{row['brandCode']}/{row['type']}/{row['recipientType']}/{row['recipient']}": row["status"]
        for row in simulator.rows("register")
    }
    permitted = {
        one.key: one.value["may_send"]
        for one in read_all(settings, Codec(), settings.topics.permissions)
    }
    unexplained = await differences(ledger, source.states, register, permitted)
    unexplained += misplaced_movements(movements)
    unexplained += failed
    unexplained += [f"history: {one.what}" for one in (await verify.verify(ledger, ())).faults]
    counted = simulator.requests()["operations"]
    codes: Counter[str] = Counter()
    for one in counted.values():
        codes.update(one.get("codes", {}))
    missed = len(await reads.breaches(ledger))
    missed += sum(one.missed for one in await reads.margins(ledger, now=datetime.now(UTC)))
    if missed:
        unexplained.append(f"{missed} terms missed")
    registered = submissions_of(movements, result_delay=result_delay)
    submitted = await refusals(ledger, source.opt_outs)
    for key, submissions in registered.items():
        submitted[key] += submissions
    settled = await outcomes(ledger, source.opt_outs)
    in_flight, on_their_way = await opt_ins_beside(ledger, source.opt_outs)
    until_registered, delays = (
        measure(
            source.opt_outs,
            submissions=ends,
            settled=settled,
            replaced=source.replaced,
            away=away,
            on_their_way=on_their_way,
        )
        for ends in (registered, submitted)
    )
    unexplained += [f"the opt-out {event_id} was lost" for event_id in delays.lost]
    token_calls = counted.get("token", {}).get("total", 0)
    if codes["H084"] or token_calls > 10:
        unexplained.append(f"{token_calls} token calls, {codes['H084']} × H084")
    return SinkVerdict(
        keys=len(source.states),
        movements=len(movements),
        calls=sum(one.get("total", 0) for one in counted.values()),
        token_calls=token_calls,
        h084=codes["H084"],
        h124=codes["H124"],
        missed=missed,
        opt_outs=len(source.opt_outs),
        in_flight=in_flight,
        delays=delays,
        until_registered=until_registered,
        slow=tuple(await timelines(ledger, delays.longest(_SHOWN))),
        away=seconds(away),
        unexplained=tuple(unexplained),
    )


async def outcomes(ledger: Ledger, opt_outs: Iterable[OptOut]) -> dict[str, float]:
    """Return when each of ``opt_outs`` had its outcome, by its event."""
    rows = await ledger.fetch(_OUTCOMES, {"keys": [one.key for one in opt_outs]})
    return {row["event_id"]: row["at"].timestamp() for row in rows}


async def refusals(
    ledger: Ledger, opt_outs: Iterable[OptOut]
) -> dict[str, list[tuple[str, float]]]:
    """Return by key the opt-outs that İYS refused: their consent date, and when it did."""
    found = defaultdict[str, list[tuple[str, float]]](list)
    for row in await ledger.fetch(_REFUSALS, {"keys": [one.key for one in opt_outs]}):
        found[row["key"]].append((to_turkish(row["consent_date"]), row["answered_at"].timestamp()))
    return found


async def opt_ins_beside(
    ledger: Ledger, opt_outs: Iterable[OptOut]
) -> tuple[int, dict[str, list[Interval]]]:
    """Return how many ``opt_outs`` were published while an opt-in of their key was in flight, and
    by key when a call of an opt-in might have been on its way.
    """
    published = defaultdict[str, list[float]](list)
    for one in opt_outs:
        published[one.key].append(one.published_at)
    in_flight, on_their_way = 0, defaultdict[str, list[Interval]](list)
    for row in await ledger.fetch(_OPT_INS, {"keys": list(published)}):
        sent, over, called = row["intended_at"], row["settled_at"], row["call_until"]
        in_flight += sum(
            sent.timestamp() <= at and (over is None or at <= over.timestamp())
            for at in published[row["key"]]
        )
        if called is not None:
            on_their_way[row["key"]].append(Interval(sent.timestamp(), called.timestamp()))
    return in_flight, on_their_way


def misplaced_movements(rows: list[dict[str, Any]]) -> list[str]:
    """Return each movement that İYS saved twice, or after a later one of its key."""
    counts = Counter((row["recipient"], row["status"], row["consentDate"]) for row in rows)
    found = [
        f"{status} of {date} saved {n} times" for (_, status, date), n in counts.items() if n > 1
    ]
    last: dict[str, str] = {}
    for row in rows:
        recipient, date = row["recipient"], row["consentDate"]
        if date < last.get(recipient, ""):
            found.append(f"a movement of {date} was saved after one of {last[recipient]}")
        last[recipient] = max(date, last.get(recipient, ""))
    return found
