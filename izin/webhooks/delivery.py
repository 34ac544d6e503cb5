"""Everything about one subscriber that this process delivers to, and what is stored of all of them.

Acknowledgements are stored in one transaction for all subscribers of a process, which waits a
moment for others to join it. What could not be stored is stored with the next one: until then its
recipients get nothing more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from izin.ledger.db import SILENCE, Ledger
from izin.ledger.record import ConcurrentChangeError, LedgerUnavailableError
from izin.ledger.webhooks import deliveries
from izin.ledger.webhooks.deliveries import DeliveryGroup, DeliveryReceipt, FailedAttempt
from izin.ledger.webhooks.registry import WebhookSubscriber
from izin.runtime.backoff import Backoff
from izin.runtime.logs import get_logger
from izin.runtime.process import cancel_all
from izin.runtime.settings import WebhookSettings
from izin.sinks.outbound.loops import keep_running
from izin.webhooks.dispatcher import EventDispatcher, FailureWatch, SubscriberHealth
from izin.webhooks.partitions import DeliveryLane, PendingDelivery
from izin.webhooks.posting import Poster, Reply
from izin.webhooks.resends import OlderOptOuts, RepetitionGuard
from izin.webhooks.source import LaneSource, Taken

_CERTAIN = SILENCE * 2 / 3
"""Seconds for which a lease that was read is certainly ours: others fence us after ``SILENCE``."""
_CHUNK = 200
LINGER = 0.1
"""Seconds for which a transaction waits, unless it has much already."""
_MUCH = 200
_ALSO_READ_EVERY = 5.0
"""Seconds between two writes of how far was read where nothing was for the subscriber."""
_CAUGHT_UP_EVERY = 60.0
_BACKOFF = Backoff(timedelta(milliseconds=200), timedelta(seconds=2))

EventSource = LaneSource | OlderOptOuts
"""Where a lane reads."""

_log = get_logger(__name__)
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 15, 60, 300, 3600, 86400)


class WebhookMetrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.attempts = Counter(
            "izin_webhook_attempts",
            "Requests to subscribers, by what came of them: taken, refused, or no reply",
            ["subscriber", "result"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "izin_webhook_delivery_seconds",
            "Time from a record's append to its topic until its subscriber took it",
            ["lane"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "izin_webhook_waiting",
            "Events that were read for a subscriber and not taken yet",
            ["subscriber"],
            registry=self.registry,
        )
        self.failing = Gauge(
            "izin_webhook_failing_seconds",
            "For how long a subscriber has not taken something that it was sent; 0: it takes all",
            ["subscriber"],
            registry=self.registry,
        )
        self.alerts = Gauge(
            "izin_webhook_alerts",
            "How many of the alerts about a failing subscriber were raised: 4 is the most urgent",
            ["subscriber"],
            registry=self.registry,
        )
        self.behind = Gauge(
            "izin_webhook_behind",
            "Whether a subscriber is behind the end of the topics: 1, or 0",
            ["subscriber"],
            registry=self.registry,
        )

    def forget(self, subscriber: str) -> None:
        """Remove the gauges of a subscriber that another process has, or that is paused."""
        for gauge in (self.waiting, self.failing, self.alerts, self.behind):
            if (subscriber,) in gauge._metrics:  # noqa: SLF001  # the library names no other way
                gauge.remove(subscriber)


@dataclass(slots=True)
class AcknowledgementWriter:
    """Stores what there is of all deliveries."""

    ledger: Ledger
    _deliveries: dict[int, "SubscriberDelivery"] = field(default_factory=dict)
    _count: int = 0
    _also_read_at: float = 0.0
    _caught_up_at: float = 0.0
    _some: asyncio.Event = field(default_factory=asyncio.Event)
    _much: asyncio.Event = field(default_factory=asyncio.Event)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, delivery: "SubscriberDelivery") -> None:
        """Store for ``delivery`` from now on."""
        self._deliveries[delivery.subscriber.id] = delivery

    def remove(self, delivery: "SubscriberDelivery") -> None:
        """Store nothing more for ``delivery``."""
        if self._deliveries.get(delivery.subscriber.id) is delivery:
            del self._deliveries[delivery.subscriber.id]

    def wake(self) -> None:
        """Store soon: there is one thing more."""
        self._count += 1
        self._some.set()
        if self._count >= _MUCH:
            self._much.set()

    async def run(self) -> None:
        """Store until cancelled."""
        failures = 0
        while True:
            await _wait(self._some, _ALSO_READ_EVERY)
            if self._some.is_set():
                await _wait(self._much, LINGER)
            try:
                await self.write()
            except (LedgerUnavailableError, ConcurrentChangeError) as error:
                failures += 1
                wait = _BACKOFF.after(failures).total_seconds()
                _log.warning("acknowledgements not stored yet", error=str(error), after=wait)
                await asyncio.sleep(wait)
            else:
                failures = 0

    async def write(self) -> None:
        """Store what there is.

        Raises:
            LedgerUnavailableError: it is not stored; the next call stores it too.
            ConcurrentChangeError: the same.
        """
        async with self._lock:
            self._count = 0
            self._some.clear()
            self._much.clear()
            concerned = dict(self._deliveries)
            groups = self._collected(concerned)
            if all(group.is_empty for group in groups):
                return
            now = self.ledger.clock.now()
            try:
                lost = await deliveries.write(self.ledger, groups, now=now)
            except BaseException:
                for group in groups:
                    concerned[group.subscriber_id].not_stored(group)
                self._some.set()
                raise
            for number, delivery in concerned.items():
                delivery.stored(is_lost=number in lost)

    def _collected(self, concerned: dict[int, "SubscriberDelivery"]) -> list[DeliveryGroup]:
        at = monotonic()
        also_read = at - self._also_read_at >= _ALSO_READ_EVERY
        also_complete = at - self._caught_up_at >= _CAUGHT_UP_EVERY
        self._also_read_at = at if also_read else self._also_read_at
        self._caught_up_at = at if also_complete else self._caught_up_at
        return [
            delivery.collect(also_read=also_read, also_complete=also_complete)
            for delivery in concerned.values()
        ]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Return when ``event`` is set, or after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


@dataclass(slots=True, eq=False)
class SubscriberDelivery:
    """One subscriber, whose lease this process owns."""

    subscriber: WebhookSubscriber
    epoch: int
    settings: WebhookSettings
    writer: AcknowledgementWriter
    metrics: WebhookMetrics
    poster: Poster
    sources: list[EventSource]
    guard: RepetitionGuard | None = None
    """Of its resend; None: none is under way."""
    certain_until: float = 0.0
    """Until when the lease is certainly ours, by the monotonic clock."""
    is_fenced: bool = False
    dispatcher: EventDispatcher = field(init=False)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _followed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when what was open at the start is before what a resend brings."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _watch: FailureWatch = field(init=False)
    _reopened: set[PendingDelivery] = field(default_factory=set)
    """What was open at the start, and is still."""
    _taken: list[tuple[PendingDelivery, DeliveryReceipt]] = field(default_factory=list)
    """What is acknowledged, and to be stored."""
    _storing: list[tuple[PendingDelivery, DeliveryReceipt]] = field(default_factory=list)
    """What of that is being stored."""
    _attempts: list[FailedAttempt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dispatcher = EventDispatcher(
            poster=self.poster,
            secrets=partial(self.subscriber.secrets_at, keys=self.writer.ledger.secret_keys),
            health=SubscriberHealth(self.settings.first_pause, self.settings.longest_pause),
            taken=self._take,
            refused=self._refuse,
            parallel=self.subscriber.parallel,
            may_send=lambda: monotonic() < self.certain_until,
        )
        self._watch = FailureWatch(self.subscriber, self.writer.ledger.calendar)
        self.writer.add(self)

    @property
    def lanes(self) -> list[DeliveryLane]:
        """The lanes."""
        return [source.lane for source in self.sources]

    @property
    def is_behind(self) -> bool:
        """Whether a lane that is always followed is not at the end of its topics."""
        return any(source.is_behind for source in self.sources)

    @property
    def is_resent(self) -> bool:
        """Whether a resend was ordered, and everything of it is acknowledged and stored."""
        return self.guard is not None and all(lane.is_done for lane in self.lanes if lane.ends)

    def confirm(self, read_at: float) -> None:
        """Note that the lease was ours when it was read, at this instant of the monotonic clock."""
        self.certain_until = read_at + _CERTAIN

    def start(self) -> None:
        """Begin to deliver."""
        name = self.subscriber.name
        works: dict[str, Callable[[], Awaitable[None]]] = {
            f"dispatch {name}": self.dispatcher.run,
            **{
                f"read {name} {source.lane.name}": partial(self._fill, source)
                for source in self.sources
            },
        }
        self._tasks = [
            asyncio.create_task(keep_running(what, work), name=what) for what, work in works.items()
        ]

    @property
    def failure(self) -> BaseException | None:
        """What has ended a task of it: an error that nobody foresaw."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                return error
        return None

    async def close(self, within: float) -> None:
        """Send nothing more; wait a while for what is under way, and store what was taken."""
        await self.dispatcher.close(within)
        await cancel_all(self._tasks)
        if not self.is_fenced:
            with suppress(LedgerUnavailableError, ConcurrentChangeError):
                await self.writer.write()
        self.writer.remove(self)
        for source in self.sources:
            await source.release()
        await self.poster.close()
        self.metrics.forget(self.subscriber.name)

    async def _fill(self, source: EventSource) -> None:
        """Read a lane until cancelled, or a resend to its end."""
        lane = source.lane
        try:
            if lane.ends:
                await self._followed.wait()
            if not lane.is_reopened:
                await self._reopen(source)
            if all(one.is_reopened for one in self.lanes if not one.ends):
                self._followed.set()
            while not lane.is_read:
                room = await self._wait_for_room(source)
                taken = await source.take(min(room, _CHUNK))
                added = await self._add(source, taken)
                if added and not taken.is_live:
                    await asyncio.sleep(added / self.settings.catch_up_rate)
        finally:
            await source.release()

    async def _reopen(self, source: EventSource) -> None:
        """Deliver what was open at the start; of a resend what still holds."""
        lane, events = source.lane, await source.reopen()
        if lane.ends and self.guard is not None:
            kept = await self.guard.review(events)
            for gone in {(one.place, one.offset) for one in events} - {
                (one.place, one.offset) for one in kept
            }:
                lane.close(*gone)
            events = kept
        for event in events:
            pending = PendingDelivery(event, lane)
            self._reopened.add(pending)
            self.dispatcher.add(pending)
        lane.is_reopened = True

    async def _wait_for_room(self, source: EventSource) -> int:
        window, lane = self.settings.window, source.lane
        while lane.count >= window:
            await source.release()  # others can use it meanwhile
            self._room.clear()
            await self._room.wait()
        return window - lane.count

    async def _add(self, source: EventSource, taken: Taken) -> int:
        lane = source.lane
        found = [event for event in taken.events if event.is_for(self.subscriber.filter)]
        if lane.ends and self.guard is not None:
            found = await self.guard.review(found)
        for event in found:
            self.dispatcher.add(lane.add(event))
            if self.guard is not None and not lane.ends:
                self.guard.note(event)
        lane.move_all(taken.positions)
        return len(found)

    def _take(self, pending: PendingDelivery, reply: Reply, at: float) -> None:
        """Store soon that the subscriber has taken an event."""
        event = pending.event
        row = DeliveryReceipt(
            subscriber_id=self.subscriber.id,
            customer_id=event.customer_id,
            type=event.type,
            topic=event.topic,
            partition=event.partition,
            offset=event.offset,
            webhook_id=event.webhook_id,
            key=event.key,
            attempts=pending.attempts,
            status=reply.status or 0,
            delivered=round(at * 1_000_000),
            resend_id=pending.lane.resend_id or None,
        )
        self.metrics.attempts.labels(self.subscriber.name, "taken").inc()
        self.metrics.seconds.labels(pending.lane.name).observe(max(at - event.appended, 0.0))
        self._taken.append((pending, row))
        self.writer.wake()

    def _refuse(self, pending: PendingDelivery, reply: Reply, at: float) -> None:
        """Store soon that the subscriber has not taken an event."""
        event, failure = pending.event, reply.failure or ""
        result = "no reply" if reply.status is None else "refused"
        self.metrics.attempts.labels(self.subscriber.name, result).inc()
        failed_at = datetime.fromtimestamp(at, UTC)
        self._watch.failed(failure, failed_at)
        self._attempts.append(
            FailedAttempt(
                subscriber_id=self.subscriber.id,
                failed_at=failed_at,
                topic=event.topic,
                partition=event.partition,
                offset=event.offset,
                attempt=pending.attempts,
                status=reply.status,
                failure=failure,
            )
        )
        self.writer.wake()

    def collect(self, *, also_read: bool, also_complete: bool) -> DeliveryGroup:
        """Return what is to be stored now, until ``stored`` or ``not_stored``."""
        self._storing, self._taken = self._taken, []
        attempts, self._attempts = self._attempts, []
        for pending, _ in self._storing:
            pending.lane.close(pending.event.place, pending.event.offset)
        now = datetime.now(UTC)
        return DeliveryGroup(
            subscriber_id=self.subscriber.id,
            epoch=self.epoch,
            acknowledgements=[row for _, row in self._storing],
            moves=[move for lane in self.lanes for move in lane.moves(also_read=also_read)],
            attempts=attempts,
            health=self._watch.change(self.dispatcher.failing_since, now),
            caught_up_at=now if also_complete and not self.is_behind else None,
        )

    def stored(self, *, is_lost: bool) -> None:
        """Go on behind what is stored; where the lease is lost, for another process has taken over,
        send nothing more.
        """
        taken = [pending for pending, _ in self._storing]
        self._storing = []
        if is_lost:
            self.is_fenced = True
            self.certain_until = 0.0
        elif taken:
            self._reopened.difference_update(taken)
            self.dispatcher.stored(taken)
            if not self._reopened:
                self._watch.recovered()
            self._room.set()

    def not_stored(self, group: DeliveryGroup) -> None:
        """Store ``group``, which could not be stored, with what comes."""
        self._taken[:0] = self._storing
        self._storing = []
        self._attempts[:0] = group.attempts
        lanes = {(lane.name, lane.resend_id): lane for lane in self.lanes}
        for move in group.moves:
            lanes[move.lane, move.resend_id].restore(move)
        self._watch.not_stored()

    def show(self) -> None:
        """Show the figures of the subscriber."""
        name, metrics = self.subscriber.name, self.metrics
        metrics.waiting.labels(name).set(sum(lane.count for lane in self.lanes))
        metrics.failing.labels(name).set(self._watch.seconds(datetime.now(UTC)))
        metrics.alerts.labels(name).set(self._watch.alerts)
        metrics.behind.labels(name).set(self.is_behind)
