"""Starts and stops the deliveries of a process as leases, subscribers and resends come and go."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from time import monotonic

from izin.runtime.observe import get_logger
from izin.runtime.process import cancel_all
from izin.runtime.settings import KafkaSettings, WebhookSettings
from izin.sinks.ingest.topic_reader import identities_of
from izin.sinks.ledger.db import leases
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import assignments, registry, resends
from izin.sinks.ledger.webhooks.assignments import AssignedSubscriber
from izin.sinks.ledger.webhooks.deliveries import lease_name
from izin.sinks.ledger.webhooks.errors import UnknownSubscriberError
from izin.sinks.ledger.webhooks.resends import OpenResend
from izin.sinks.ledger.webhooks.subscriber import (
    DeliveryCursor,
    LaneName,
    PauseReason,
    WebhookSubscriber,
)
from izin.sinks.record.errors import ConcurrentChangeError, LedgerUnavailableError
from izin.sinks.webhooks.acknowledger import AcknowledgementWriter
from izin.sinks.webhooks.addresses import AllowedTargets
from izin.sinks.webhooks.delivery import EventSource, SubscriberDelivery
from izin.sinks.webhooks.events import EventReader
from izin.sinks.webhooks.lane import DeliveryLane
from izin.sinks.webhooks.live_feed import LiveFeed
from izin.sinks.webhooks.metrics import WebhookMetrics
from izin.sinks.webhooks.posting import Poster
from izin.sinks.webhooks.resends.guard import RepetitionGuard
from izin.sinks.webhooks.resends.older import OlderOptOuts
from izin.sinks.webhooks.source import READERS, LaneSource

LOOK = 1.0
"""Seconds between two looks at the leases."""
_BY = "izin webhooks"

_log = get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class DeliveryAssigner:
    """The deliveries of one process."""

    ledger: Ledger
    kafka: KafkaSettings
    settings: WebhookSettings
    reader: EventReader
    feeds: Mapping[str, LiveFeed]
    """By the name of their lane."""
    writer: AcknowledgementWriter
    metrics: WebhookMetrics
    tls: ssl.SSLContext
    clock: Callable[[], datetime]
    deliveries: dict[int, SubscriberDelivery] = field(default_factory=dict)
    _closing: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READERS))

    async def run(self) -> None:
        """Look until cancelled; raises LedgerUnavailableError."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Take and give back leases, start and stop deliveries."""
        await self.reader.refresh()
        read_at = monotonic()
        subscribers, processes = await assignments.read(self.ledger)
        known = {one.id: one for one in subscribers}
        if self.ledger.owner not in processes:
            await assignments.enter(self.ledger)  # also where others took us for gone
        self._drop(known, read_at)
        todo = assignments.shares(subscribers, processes, self.ledger.owner)
        for number in todo.give_back:
            if number in self.deliveries:
                self._stop(number, give_back=True)
        mine = [
            one
            for one in subscribers
            if one.id not in todo.give_back
            and (one.id in todo.take or (one.is_owned and one.owner == self.ledger.owner))
        ]
        begun = self.deliveries.keys() | self._closing.keys()
        await self._start([one for one in mine if one.id not in begun])
        for one in self.deliveries.values():
            one.show()

    def _drop(self, known: Mapping[int, AssignedSubscriber], read_at: float) -> None:
        """Stop what is no longer ours, was changed, or is done; confirm the rest."""
        for number, delivery in list(self.deliveries.items()):
            if (error := delivery.failure) is not None:
                raise error
            found = known.get(number)
            is_ours = (
                found is not None
                and found.owner == self.ledger.owner
                and found.epoch == delivery.epoch
                and not delivery.is_fenced
            )
            is_same = found is not None and found.version == delivery.subscriber.version
            if is_ours and is_same:
                delivery.confirm(read_at)
            if delivery.is_gone and is_ours:
                self._stop(number, give_back=True, then=partial(self._pause, delivery.subscriber))
            elif not is_ours or not is_same:
                self._stop(number, give_back=False)
            elif delivery.guard is not None and delivery.is_resent:
                resend = delivery.guard.resend.id
                then = partial(self._finish_resend, delivery.subscriber, resend)
                self._stop(number, give_back=False, then=then)

    async def _pause(self, subscriber: WebhookSubscriber) -> None:
        """Pause a subscriber that answered that it wants no more."""
        now = self.clock()
        await registry.pause(self.ledger, subscriber.name, reason=PauseReason.GONE, by=_BY, now=now)
        _log.critical(
            "subscriber paused, for it answered 410",
            subscriber=subscriber.name,
            customer_id=subscriber.customer_id,
        )

    async def _finish_resend(self, subscriber: WebhookSubscriber, number: int) -> None:
        await resends.finish(self.ledger, subscriber.id, number, now=self.clock())
        _log.info("resend done", subscriber=subscriber.name, resend=number)

    async def _start(self, wanted: list[AssignedSubscriber]) -> None:
        """Take the leases of subscribers, and begin to deliver."""
        epochs: dict[int, int] = {}
        read_at = monotonic()
        for one in wanted:
            epoch = await leases.take(self.ledger, lease_name(one.id))
            if epoch is not None:
                epochs[one.id] = epoch
        if not epochs:
            return
        known = {one.id: one for one in await registry.every(self.ledger)}
        cursors = await self._current(await registry.cursors_of(self.ledger, list(epochs)))
        for number, epoch in epochs.items():
            if number not in known:
                continue  # removed meanwhile
            mine = [one for one in cursors if one.subscriber_id == number]
            delivery = await self._made(known[number], epoch, mine)
            delivery.confirm(read_at)
            delivery.start()
            self.deliveries[number] = delivery

    async def _current(self, cursors: tuple[DeliveryCursor, ...]) -> list[DeliveryCursor]:
        """Return ``cursors``; those of a topic that was created anew, at its beginning."""
        topics = sorted({one.topic for one in cursors if one.lane != LaneName.HISTORY})
        found = await asyncio.to_thread(identities_of, self.kafka, topics)
        current = []
        for one in cursors:
            is_older = one.lane == LaneName.HISTORY
            topic_id = "" if is_older else found.topic_ids[one.topic]
            if is_older or (one.cluster_id, one.topic_id) == (found.cluster_id, topic_id):
                current.append(one)
                continue
            _log.critical(
                "topic was created anew; its webhooks begin at its beginning",
                topic=one.topic,
                subscriber=one.subscriber_id,
            )
            changed = DeliveryCursor(
                subscriber_id=one.subscriber_id,
                lane=one.lane,
                topic=one.topic,
                partition=one.partition,
                cluster_id=found.cluster_id,
                topic_id=topic_id,
                next_offset=0,
                end_offset=one.end_offset,
                resend_id=one.resend_id,
            )
            await registry.begin_anew(self.ledger, changed)
            current.append(changed)
        return current

    async def _made(
        self, subscriber: WebhookSubscriber, epoch: int, cursors: list[DeliveryCursor]
    ) -> SubscriberDelivery:
        resend = await resends.of_subscriber(self.ledger, subscriber)
        guard = None
        if resend is not None:
            guard = RepetitionGuard(
                ledger=self.ledger, kafka=self.kafka, subscriber_id=subscriber.id, resend=resend
            )
        # One that was cancelled just now may have left its cursors in what was read before.
        known = {0} if resend is None else {0, resend.id}
        sources = list[EventSource]()
        for name in LaneName:
            mine = [one for one in cursors if one.lane == name and one.resend_id in known]
            if mine:
                lane = DeliveryLane.of(subscriber.id, name, mine)
                sources.append(self._source(lane, subscriber, resend))
        return SubscriberDelivery(
            subscriber=subscriber,
            epoch=epoch,
            settings=self.settings,
            writer=self.writer,
            metrics=self.metrics,
            poster=Poster(
                subscriber.url,
                allowed=AllowedTargets.parse(self.settings.allowed),
                tls=self.tls,
                timeout=self.settings.timeout.total_seconds(),
                parallel=subscriber.parallel,
            ),
            sources=sources,
            guard=guard,
        )

    def _source(
        self, lane: DeliveryLane, subscriber: WebhookSubscriber, resend: OpenResend | None
    ) -> EventSource:
        if lane.name == LaneName.HISTORY:
            return OlderOptOuts(lane=lane, ledger=self.ledger)
        return LaneSource(
            lane=lane,
            feed=self.feeds.get(lane.name),
            reader=self.reader,
            settings=self.kafka,
            turns=self._turns,
            caught_up_at=subscriber.caught_up_at,
            only_changes=resend is not None and resend.selection.only_missing,
        )

    def _stop(
        self, number: int, *, give_back: bool, then: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """Stop a delivery while the others go on; it does not begin again before it has ended."""
        delivery = self.deliveries.pop(number)
        closing = asyncio.create_task(self._close(delivery, give_back=give_back, then=then))
        self._closing[number] = closing
        closing.add_done_callback(lambda _: self._closing.pop(number, None))

    async def _close(
        self,
        delivery: SubscriberDelivery,
        *,
        give_back: bool,
        then: Callable[[], Awaitable[object]] | None,
    ) -> None:
        try:
            await delivery.close(0.0 if delivery.is_fenced else self._within)
            if then is not None:
                await then()
            if give_back:
                await assignments.give_back(self.ledger, delivery.number, delivery.epoch)
        except (LedgerUnavailableError, ConcurrentChangeError, UnknownSubscriberError) as error:
            # It begins again with what is stored, and ends again then, unless it was removed.
            _log.warning(
                "delivery not ended in order",
                subscriber=delivery.subscriber.name,
                error=str(error),
            )

    @property
    def _within(self) -> float:
        return self.settings.timeout.total_seconds()

    async def close(self, within: float) -> None:
        """Stop every delivery within so many seconds, and give back its lease."""
        stopping, closing = dict(self.deliveries), list(self._closing.values())
        self.deliveries.clear()
        await asyncio.gather(
            *(one.close(within) for one in stopping.values()), return_exceptions=True
        )
        await cancel_all(closing)
        with suppress(LedgerUnavailableError, ConcurrentChangeError):
            for number, one in stopping.items():
                await assignments.give_back(self.ledger, number, one.epoch)
            await assignments.leave(self.ledger)
