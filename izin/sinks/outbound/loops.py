"""The loops of one process that submit to İYS and query it, and how any loop is kept running.

A failure outside this process (İYS, PostgreSQL or Kafka away) restarts a loop after an exponential
backoff of up to five seconds. Any other error is a fault of ours. What is not understood must not
reach İYS, so in a loop of :data:`MAY_END` it ends the process; what only serves, reads or reports
must not end sending, so any other loop is run again, and stands meanwhile in what is wrong with the
process. Loops are independent of each other: leases in the ledger keep them, and those of other
processes, from taking the same records.

What waits until an instant sends no notification when that has come. So once an interval the ledger
is asked, in one statement for all loops, which kinds of work are open (:data:`_LANES`), and of each
lane that such work may be for, one loop is woken. At rest that is all that the loops ask.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import count

from izin.consent import OurError
from izin.iys.errors import CallError
from izin.ledger.db import BULK, OPT_OUTS, QUERIES, VIA, Notifications, statements
from izin.ledger.offsets import until_released
from izin.ledger.record import (
    ConcurrentChangeError,
    FencedError,
    LedgerUnavailableError,
    StreamUnavailableError,
)
from izin.runtime.backoff import Backoff
from izin.runtime.errors import RegistryError
from izin.runtime.logs import get_logger
from izin.runtime.settings import SinkSettings
from izin.sinks.outbound.context import RENEWALS_PER_LEASE, OutboundContext
from izin.sinks.outbound.egress import EgressWatch
from izin.sinks.outbound.recover import SubmissionRecovery
from izin.sinks.outbound.schedule import Scheduler
from izin.sinks.outbound.send import BatchResultPoller, Sender
from izin.sinks.outbound.status_query import StatusQuerier, SweptQuerier
from izin.sinks.outbound.via import ViaCaller

RETRIED = (
    ConcurrentChangeError,
    FencedError,
    LedgerUnavailableError,
    StreamUnavailableError,
    RegistryError,
    CallError,
)
"""Errors whose cause lies outside this process and passes without us."""
MAY_END = frozenset(
    {
        "live",
        "rate limits",
        "open work",
        "leases",
        "leases of failed steps",
        "opt-outs",
        "bulk",
        "last hour",
        "results",
        "results for opt-outs",
        "free opt-ins",
        "recover opt-outs",
        "recover",
        "expire",
        "end holds",
    }
)
"""The loops whose unforeseen error ends the process: those that send or decide what is sent, and
those that keep two processes from sending the same."""
_OPT_OUT_LOOPS = 6
_BULK_LOOPS = 3
_RESULT_LOOPS = 2
_SELDOM = 5
"""After so many intervals is looked for what keeps no opt-out waiting."""
_UNTOLD = 30
"""After so many intervals a loop looks without having been woken: nothing depends on it."""
_LANES: Mapping[str, tuple[str, ...]] = {
    "unread": ("results", "results for opt-outs"),
    "unanswered": ("recover opt-outs", "recover", "free opt-ins"),
    "sendable": ("opt-outs", "bulk"),
    "expiring": ("last hour", "expire"),
    "held back": ("end holds",),
    "to query": ("status queries", "swept queries"),
    "requests": ("requests for consent",),
}
"""The lanes that each kind of open work may be for."""
_SELDOM_LANES = frozenset({"recover", "free opt-ins", "expire", "end holds"})
_UNNOTIFIED = ""
"""The channel of lanes that nobody notifies: they are woken where their kind of work is open."""
_VIA_LOOPS = 2
_RECOVERY_LOOPS = 3
"""For opt-outs: a process that ends leaves as many as its loops have begun."""
_EGRESS_INTERVAL = timedelta(seconds=10)
_BACKOFF = Backoff(timedelta(milliseconds=200), timedelta(seconds=5))
"""No longer, for an opt-out waits as long once the ledger is back."""
_FAULT_BACKOFF = Backoff(timedelta(seconds=1), timedelta(seconds=30))
_STABLE = 5.0
"""After so many seconds without an error, the backoff starts at its shortest again."""
_SOUND = 60.0
"""After so many without an error, a loop that had failed by a fault of ours is sound again."""

_SQL = statements("claims")
_log = get_logger(__name__)


class FailingLoops:
    """The loops that failed by a fault of ours and were run again, with the error of each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, tuple[str, float]] = {}

    def faults(self) -> Mapping[str, str]:
        """Return what is wrong, by the loop: one that fails is run, and noted, sooner than this
        forgets it.
        """
        now = self._clock()
        return {name: error for name, (error, at) in self._failed.items() if now - at < _SOUND}

    def note(self, name: str, error: Exception, *, after: timedelta) -> None:
        """Note that ``error`` ended a loop that is run again ``after`` that."""
        text = _text_of(error)
        self._failed[name] = text, self._clock()
        _log.critical(
            "loop failed",
            loop=name,
            error=text,
            effect="it is run again; sending goes on without it",
            after=after.total_seconds(),
            exc_info=None if isinstance(error, OurError) else error,
        )


def outbound_loops(
    context: OutboundContext,
    sink: SinkSettings,
    notifications: Notifications,
    stopping: asyncio.Event,
    failing: FailingLoops | None = None,
) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
    """Yield each loop with its name; none begins while the ledger is held."""
    sender = Sender(context=context)
    querier = StatusQuerier(context=context)
    scheduler = Scheduler(
        context=context, sender=sender, querier=querier, batch_size=sink.batch_size
    )
    poller = BatchResultPoller(context=context)
    recovery = SubmissionRecovery(context=context, sender=sender)
    interval, ready = sink.poll_interval, partial(until_released, context.ledger)
    repeat = partial(run_every, stopping=stopping, failing=failing, ready=ready)
    woken = partial(
        run_on_notification,
        notifications=notifications,
        at_most=_UNTOLD * interval,
        stopping=stopping,
        failing=failing,
        ready=ready,
    )
    opt_outs, recover_opt_outs = (
        partial(work, opt_outs_only=True) for work in (poller.settle, recovery.recover)
    )
    for name, step, every in (
        ("open work", partial(_wake, context, notifications, count()), interval),
        ("egress addresses", EgressWatch(context=context).step, max(interval, _EGRESS_INTERVAL)),
        ("leases", partial(_renew, context), sink.lease / RENEWALS_PER_LEASE),
        ("leases of failed steps", partial(_release, context), _SELDOM * interval),
    ):
        yield name, repeat(name, step, every=every)
    for name, step, channel, loops in (
        ("opt-outs", scheduler.opt_out, OPT_OUTS, _OPT_OUT_LOOPS),
        ("bulk", scheduler.bulk, BULK, _BULK_LOOPS),
        ("last hour", scheduler.last_hour, BULK, 1),
        ("status queries", querier.query_due, QUERIES, 1),
        ("swept queries", SweptQuerier(context=context, querier=querier).query_swept, QUERIES, 1),
        ("requests for consent", ViaCaller(context=context).step, VIA, _VIA_LOOPS),
        ("results", poller.settle, _UNNOTIFIED, _RESULT_LOOPS),
        ("results for opt-outs", opt_outs, _UNNOTIFIED, 1),
        ("recover opt-outs", recover_opt_outs, _UNNOTIFIED, _RECOVERY_LOOPS),
        ("recover", recovery.recover, _UNNOTIFIED, 1),
        ("free opt-ins", recovery.free_opt_ins, _UNNOTIFIED, 1),
        ("expire", scheduler.expire, _UNNOTIFIED, 1),
        ("end holds", scheduler.end_holds, _UNNOTIFIED, 1),
    ):
        for number in range(loops):
            yield f"{name} {number}", woken(name, step, channel=channel)


async def _wake(
    context: OutboundContext, notifications: Notifications, turns: Iterator[int]
) -> bool:
    """Wake one loop of each lane whose kind of work is open."""
    is_seldom = next(turns) % _SELDOM == 0
    for row in await context.ledger.fetch(_SQL["open-work"], {"now": context.clock()}):
        for lane in _LANES[row["kind"]]:
            if is_seldom or lane not in _SELDOM_LANES:
                notifications.wake_one(lane)
    return False


async def _renew(context: OutboundContext) -> bool:
    await context.leases.renew(context.ledger, context.lease_owner, context.clock())
    return False


async def _release(context: OutboundContext) -> bool:
    await context.leases.release(context.ledger, context.lease_owner, context.clock())
    return False


async def keep_running(
    name: str, work: Callable[[], Awaitable[None]], failing: FailingLoops | None = None
) -> None:
    """Run ``work``, and run it again after an error of :data:`RETRIED`.

    After any other error too where it is noted, in ``failing``, and the loop is none of
    :data:`MAY_END`; else that error is raised.
    """
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        try:
            await work()
        except RETRIED as error:
            failures = 1 if loop.time() - started > _STABLE else failures + 1
            wait = _BACKOFF.after(failures)
            _log.warning(
                "loop restarted", loop=name, error=_text_of(error), after=wait.total_seconds()
            )
            await asyncio.sleep(wait.total_seconds())
        except Exception as error:  # of whatever kind: it must not end what sends
            if failing is None or name in MAY_END:
                raise
            failures = 1 if loop.time() - started > _SOUND else failures + 1
            wait = _FAULT_BACKOFF.after(failures)
            failing.note(name, error, after=wait)
            await asyncio.sleep(wait.total_seconds())
        else:
            return


def _text_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


async def _at_once() -> None:
    """Wait for nothing."""


async def run_on_notification(  # noqa: PLR0913 - what is repeated, and what wakes and ends it
    name: str,
    step: Callable[[], Awaitable[bool]],
    *,
    notifications: Notifications,
    channel: str,
    at_most: timedelta,
    stopping: asyncio.Event,
    failing: FailingLoops | None = None,
    ready: Callable[[], Awaitable[None]] = _at_once,
) -> None:
    """Once it is ``ready``, repeat ``step`` while it finds work; else wait for a notification, or
    to be woken as one of the lane ``name``.
    """

    async def work() -> None:
        await ready()
        while not stopping.is_set():
            seen = notifications.count(channel)
            if not await step():
                await notifications.wait(channel, seen, at_most, name)

    await keep_running(name, work, failing)


async def run_every(  # noqa: PLR0913 - what is repeated, when, and what ends it
    name: str,
    step: Callable[[], Awaitable[bool]],
    *,
    every: timedelta,
    stopping: asyncio.Event,
    failing: FailingLoops | None = None,
    ready: Callable[[], Awaitable[None]] = _at_once,
) -> None:
    """Once it is ``ready``, repeat ``step`` while it finds work, else after ``every``."""

    async def work() -> None:
        await ready()
        while not stopping.is_set():
            if not await step():
                await asyncio.sleep(every.total_seconds())

    await keep_running(name, work, failing)


async def until_stopped(
    stopping: asyncio.Event, tasks: Collection[asyncio.Task[None]], *, what: str
) -> None:
    """Return when ``stopping`` is set or a task has ended; log ``what`` and raise its error."""
    stop = asyncio.create_task(stopping.wait(), name="stop")
    done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    for task in done - {stop}:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error(what, loop=task.get_name(), error=repr(error))
            raise error
