"""How long İYS's limits make a loading take: requests of the scheduler, and when the last is done.

A batch costs one submission, and one query of its result no sooner than ``result_delay`` later.
Submissions and results that are due share the slots of the address, so a small loading takes as
long as its last result is awaited, and a large one as long as all its requests take. It assumes
that İYS has each result when it is first asked, and one queue for all brands of the address: what
waits already, of other customers too, makes it take longer, and is counted in nothing else.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from izin.consent.forecast import DueGroup, Forecast, forecast, records_per_second
from izin.onboarding.address_book import LaneCount
from izin.sinks.outbound.schedule import QUERY_FIRST_OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What İYS and the settings allow an address."""

    requests_per_second: float
    batch_size: int
    result_delay: timedelta
    sweep_share: float
    """The part of the requests that asking about a thousand recipients may take."""

    def asking(self, requests: int) -> timedelta:
        """Return how long so many of those take."""
        return timedelta(seconds=requests / (self.requests_per_second * self.sweep_share))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingTime:
    """What a loading takes at İYS."""

    submissions: int
    """Requests that submit: batches, and opt-outs one by one where they are few."""
    queries: int
    """Requests that ask about opt-outs, a thousand each."""
    results: int
    """Requests that read the results of batches."""
    takes: timedelta
    """Until the last result is known."""
    forecast: Forecast
    """Of the loading, in its turn among what waits already: what of it will be late or lost."""


def loading_time(
    lanes: Collection[LaneCount],
    groups: Collection[DueGroup],
    waiting: Collection[DueGroup],
    limits: Limits,
    *,
    now: datetime,
) -> LoadingTime:
    """Return how long it takes to submit ``lanes``, whose deadlines are those of ``groups``, behind
    and beside what is ``waiting``.
    """
    batches = sum(ceil(one.to_send / limits.batch_size) for one in lanes)
    before = ceil(sum(one.count for one in waiting) / limits.batch_size)
    singles = queries = 0
    for one in lanes:
        batches += ceil(one.opt_outs_held / limits.batch_size)
        unknown = one.opt_outs - one.opt_outs_held
        if unknown > QUERY_FIRST_OVER:
            queries += ceil(unknown / limits.batch_size)
        else:
            singles += unknown
    rate = limits.requests_per_second
    pace = records_per_second(rate, batch_size=limits.batch_size)
    return LoadingTime(
        submissions=batches + singles,
        queries=queries,
        results=batches,
        takes=_takes(
            before + batches + singles + queries, before + batches, rate, limits.result_delay
        ),
        forecast=_own(groups, forecast([*groups, *waiting], now=now, records_per_second=pace)),
    )


def _own(groups: Collection[DueGroup], whole: Forecast) -> Forecast:
    """Return what ``whole`` says of ``groups`` themselves: others may have equal deadlines."""
    ours = {id(one) for one in groups}
    return Forecast(groups=tuple(one for one in whole.groups if id(one.group) in ours))


def _takes(first: int, results: int, rate: float, delay: timedelta) -> timedelta:
    """Return how long ``first`` requests take, of which so many have a result to be read."""
    submitted = timedelta(seconds=first / rate)
    if not results:
        return submitted
    return max(submitted + delay, timedelta(seconds=(first + results) / rate))
