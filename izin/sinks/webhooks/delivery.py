"""Everything about one subscriber that this process delivers to: its lanes, its dispatcher."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import monotonic

from izin.runtime.process import cancel_all
from izin.runtime.settings import WebhookSettings
from izin.sinks.ledger.db.processes import SILENCE
from izin.sinks.ledger.webhooks.deliveries import FailedAttempt, HealthChange
from izin.sinks.ledger.webhooks.delivery_rows import DeliveryReceipt
from izin.sinks.ledger.webhooks.subscriber import WebhookSubscriber
from izin.sinks.outbound.loops import keep_running
from izin.sinks.record.errors import ConcurrentChangeError, LedgerUnavailableError
from izin.sinks.webhooks.acknowledger import AcknowledgementWriter
from izin.sinks.webhooks.dispatcher import EventDispatcher
from izin.sinks.webhooks.failure_watch import FailureWatch
from izin.sinks.webhooks.health import SubscriberHealth
from izin.sinks.webhooks.lane import DeliveryLane, PendingDelivery
from izin.sinks.webhooks.metrics import WebhookMetrics
from izin.sinks.webhooks.posting import Poster, Reply
from izin.sinks.webhooks.resends.guard import RepetitionGuard
from izin.sinks.webhooks.resends.older import OlderOptOuts
from izin.sinks.webhooks.source import LaneSource, Taken

_CERTAIN = SILENCE * 2 / 3
"""Seconds for which a lease that was read is certainly ours: others fence us after ``SILENCE``."""
_CHUNK = 200

EventSource = LaneSource | OlderOptOuts
"""Where a lane reads."""


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
    is_gone: bool = False
    """Whether it answered that it wants no more."""
    is_fenced: bool = False
    health: SubscriberHealth = field(init=False)
    dispatcher: EventDispatcher = field(init=False)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _followed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when what was open at the start is before what a resend brings."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _watch: FailureWatch = field(init=False)
    _reopened: set[PendingDelivery] = field(default_factory=set)
    """What was open at the start, and is still."""

    def __post_init__(self) -> None:
        self.health = SubscriberHealth(self.settings.first_pause, self.settings.longest_pause)
        self.dispatcher = EventDispatcher(
            poster=self.poster,
            secrets=self.subscriber.secrets_at,
            health=self.health,
            results=self,
            parallel=self.subscriber.parallel,
            may_send=lambda: monotonic() < self.certain_until,
        )
        self._watch = FailureWatch(self.subscriber, self.writer.ledger.calendar)
        self.writer.add(self)

    @property
    def number(self) -> int:
        """The id of the subscriber."""
        return self.subscriber.id

    @property
    def lanes(self) -> list[DeliveryLane]:
        """The lanes."""
        return [one.lane for one in self.sources]

    @property
    def is_behind(self) -> bool:
        """Whether a lane that is always followed is not at the end of its topics."""
        return any(one.feed is not None and not one.is_live for one in self.sources)

    @property
    def is_resent(self) -> bool:
        """Whether a resend was ordered, and everything of it is acknowledged and stored."""
        return self.guard is not None and all(one.is_done for one in self.lanes if one.ends)

    def confirm(self, read_at: float) -> None:
        """Note that the lease was ours when it was read, at this instant of the monotonic clock."""
        self.certain_until = read_at + _CERTAIN

    def start(self) -> None:
        """Begin to deliver."""
        name = self.subscriber.name
        works: dict[str, Callable[[], Awaitable[None]]] = {
            f"dispatch {name}": self.dispatcher.run,
            **{f"read {name} {one.lane.name}": partial(self._fill, one) for one in self.sources},
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
        for one in self.sources:
            await one.release()
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
        lane, now, chosen = source.lane, datetime.now(UTC), self.subscriber.filter
        found = [
            one for one in taken.events if one.is_for(chosen) and source.is_due(one, taken, now)
        ]
        if lane.ends and self.guard is not None:
            # What a lane that is followed has not delivered comes by it, as a first delivery.
            followed = [one for one in self.lanes if not one.ends]
            found = await self.guard.review(
                [one for one in found if all(each.has(one.place, one.offset) for each in followed)]
            )
        wanted = {(one.place, one.offset): one for one in found}
        for event in taken.events:
            one = wanted.get((event.place, event.offset))
            if one is None:
                lane.move(event.place, event.offset + 1)
                continue
            self.dispatcher.add(lane.add(one))
            if self.guard is not None and not lane.ends:
                self.guard.note(one)
        lane.move_all(taken.positions)
        return len(wanted)

    # What the dispatcher and the writer call.

    def taken(self, pending: PendingDelivery, reply: Reply, at: float) -> None:
        """Store that the subscriber has taken an event."""
        event = pending.event
        row = DeliveryReceipt(
            subscriber_id=self.number,
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
        self.writer.taken(pending, row)

    def refused(self, pending: PendingDelivery, reply: Reply, at: float) -> None:
        """Store that the subscriber has not taken an event."""
        event, failure = pending.event, reply.failure or ""
        result = "no reply" if reply.status is None else "refused"
        self.metrics.attempts.labels(self.subscriber.name, result).inc()
        failed_at = datetime.fromtimestamp(at, UTC)
        self._watch.failed(failure, failed_at)
        self.writer.refused(
            FailedAttempt(
                subscriber_id=self.number,
                failed_at=failed_at,
                topic=event.topic,
                partition=event.partition,
                offset=event.offset,
                attempt=pending.attempts,
                status=reply.status,
                failure=failure,
            )
        )

    def gone(self) -> None:
        """Note that the subscriber wants no more."""
        self.is_gone = True

    def stored(self, taken: list[PendingDelivery]) -> None:
        """Go on behind what is stored."""
        self._reopened.difference_update(taken)
        self.dispatcher.stored(taken)
        if not self._reopened:
            self._watch.recovered()
        self._room.set()

    def fenced(self) -> None:
        """Send nothing more: another process has taken over."""
        self.is_fenced = True
        self.certain_until = 0.0

    def health_change(self) -> HealthChange | None:
        """Return what changed of its health since the last time; None: nothing."""
        return self._watch.change(self.dispatcher.failing_since, datetime.now(UTC))

    def not_stored(self) -> None:
        """Note that the last change of its health was not stored."""
        self._watch.not_stored()

    def complete_at(self) -> datetime | None:
        """Return when it last had everything; None: it lacks something now."""
        return None if self.is_behind else datetime.now(UTC)

    def show(self) -> None:
        """Show the figures of the subscriber."""
        name, metrics = self.subscriber.name, self.metrics
        metrics.waiting.labels(name).set(sum(one.count for one in self.lanes))
        metrics.failing.labels(name).set(self._watch.seconds(datetime.now(UTC)))
        metrics.alerts.labels(name).set(self._watch.alerts)
        metrics.behind.labels(name).set(self.is_behind)
