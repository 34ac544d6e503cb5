"""Run a process that posts webhooks: several share the subscribers, and nothing else runs in it.

It starts and stops deliveries as leases, subscribers and resends come and go.

SIGTERM ends it within a few seconds: requests under way may end, and the subscribers are given back
for others to take at once. After a kill -9 whatever was not acknowledged is posted again, under the
same id.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import monotonic

from starlette.applications import Starlette

from izin.kafka.bounded_reader import Place
from izin.kafka.broker_watch import BrokerWatch
from izin.ledger.db import Ledger, leases, live
from izin.ledger.record import ConcurrentChangeError, LedgerUnavailableError
from izin.ledger.webhooks import deliveries, registry
from izin.ledger.webhooks.registry import (
    DeliveryCursor,
    LaneName,
    PauseReason,
    UnknownSubscriberError,
    WebhookSubscriber,
)
from izin.runtime.http_server.problems import health, operations_app
from izin.runtime.http_server.server import HttpListeners, serve_until_stopped
from izin.runtime.logs import get_logger
from izin.runtime.process import cancel_all
from izin.runtime.settings import KafkaSettings, LedgerSettings, WebhookSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.ingested_topics import identities_of
from izin.sinks.monitor.metrics import LedgerWatch, monitored_ledger
from izin.sinks.outbound.loops import keep_running, until_stopped
from izin.webhooks import resends
from izin.webhooks.delivery import (
    AcknowledgementWriter,
    EventSource,
    SubscriberDelivery,
    WebhookMetrics,
)
from izin.webhooks.events import EventReader, lanes
from izin.webhooks.partitions import DeliveryLane, lanes_of
from izin.webhooks.posting import Poster
from izin.webhooks.source import READERS, LaneSource, LiveFeed

LOOK = 1.0
"""Seconds between two looks at the leases."""
_BY = "izin webhooks"
_DRAIN = 4.0
_HTTP_DRAIN = 2

_log = get_logger(__name__)


class DeliveryAssigner:
    """The deliveries of one process, and what they share."""

    def __init__(
        self, ledger: Ledger, kafka: KafkaSettings, settings: WebhookSettings, codec: Codec
    ) -> None:
        self.ledger = ledger
        self.kafka = kafka
        self.settings = settings
        self.reader = EventReader(codec, kafka.topics, partial(registry.brand_customers, ledger))
        self.feeds = {
            name: LiveFeed(kafka, names, self.reader, most_bytes=settings.memory)
            for name, names in lanes(kafka.topics).items()
        }
        """By the name of their lane."""
        self.writer = AcknowledgementWriter(ledger)
        self.metrics = WebhookMetrics()
        self.tls = settings.tls_context()
        self.deliveries: dict[int, SubscriberDelivery] = {}
        self._closing: dict[int, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(READERS)

    async def run(self) -> None:
        """Look until cancelled; raises LedgerUnavailableError."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Take and give back leases, start and stop deliveries."""
        await self.reader.refresh()
        read_at = monotonic()
        subscribers, processes = await deliveries.read(self.ledger)
        known = {subscriber.id: subscriber for subscriber in subscribers}
        if self.ledger.owner not in processes:
            await deliveries.enter(self.ledger)  # also where others took us for gone
        self._drop(known, read_at)
        take, give_back = deliveries.shares(subscribers, processes, self.ledger.owner)
        for number in give_back:
            if number in self.deliveries:
                self._stop(number, give_back=True)
        mine = [
            one
            for one in subscribers
            if one.id not in give_back
            and (one.id in take or (one.is_owned and one.owner == self.ledger.owner))
        ]
        begun = self.deliveries.keys() | self._closing.keys()
        await self._start([one for one in mine if one.id not in begun])
        for delivery in self.deliveries.values():
            delivery.show()

    def _drop(self, known: Mapping[int, deliveries.AssignedSubscriber], read_at: float) -> None:
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
            is_gone = delivery.dispatcher.is_gone
            if is_ours and is_same:
                delivery.confirm(read_at)
            if not (is_ours and is_same) or is_gone or delivery.is_resent:
                concludes = is_ours and (is_same or is_gone)
                self._stop(number, give_back=is_ours and is_gone, concludes=concludes)

    async def _conclude(self, delivery: SubscriberDelivery) -> None:
        """Pause a subscriber that answered that it wants no more; note that a resend is done."""
        subscriber, now = delivery.subscriber, self.ledger.clock.now()
        if delivery.dispatcher.is_gone:
            reason = PauseReason.GONE
            await registry.pause(self.ledger, subscriber.name, reason=reason, by=_BY, now=now)
            _log.critical(
                "subscriber paused, for it answered 410",
                subscriber=subscriber.name,
                customer_id=subscriber.customer_id,
            )
        elif delivery.guard is not None:
            number = delivery.guard.resend.id
            await resends.finish(self.ledger, subscriber.id, number, now=now)
            _log.info("resend done", subscriber=subscriber.name, resend=number)

    async def _start(self, wanted: list[deliveries.AssignedSubscriber]) -> None:
        """Take the leases of subscribers, and begin to deliver."""
        epochs: dict[int, int] = {}
        read_at = monotonic()
        for one in wanted:
            epoch = await leases.take(self.ledger, deliveries.lease_name(one.id))
            if epoch is not None:
                epochs[one.id] = epoch
        if not epochs:
            return
        known = {subscriber.id: subscriber for subscriber in await registry.every(self.ledger)}
        cursors = await self._current(await registry.cursors_of(self.ledger, list(epochs)))
        for number, epoch in epochs.items():
            if number not in known:
                continue  # removed meanwhile
            mine = [cursor for cursor in cursors if cursor.subscriber_id == number]
            delivery = await self._made(known[number], epoch, mine)
            delivery.confirm(read_at)
            delivery.start()
            self.deliveries[number] = delivery

    async def _current(self, cursors: tuple[DeliveryCursor, ...]) -> list[DeliveryCursor]:
        """Return ``cursors``; those of a topic that was created anew, at its beginning."""
        topics = sorted({one.topic for one in cursors if one.topic_id})
        found = await asyncio.to_thread(identities_of, self.kafka, topics)
        current = []
        for cursor in cursors:
            identity = found.cluster_id, found.topic_ids.get(cursor.topic, "")
            if not cursor.topic_id or (cursor.cluster_id, cursor.topic_id) == identity:
                current.append(cursor)
                continue
            _log.critical(
                "topic was created anew; its webhooks begin at its beginning",
                topic=cursor.topic,
                subscriber=cursor.subscriber_id,
            )
            cluster_id, topic_id = identity
            changed = replace(
                cursor, cluster_id=cluster_id, topic_id=topic_id, next_offset=0, open_offsets=()
            )
            await registry.begin_anew(self.ledger, changed)
            current.append(changed)
        return current

    async def _made(
        self, subscriber: WebhookSubscriber, epoch: int, cursors: list[DeliveryCursor]
    ) -> SubscriberDelivery:
        resend = await resends.of_subscriber(self.ledger, subscriber)
        # One that was cancelled just now may have left its cursors in what was read before.
        known = {0} if resend is None else {0, resend.id}
        mine = lanes_of(subscriber.id, [cursor for cursor in cursors if cursor.resend_id in known])
        guard = (
            None
            if resend is None
            else resends.RepetitionGuard(
                ledger=self.ledger,
                kafka=self.kafka,
                resend=resend,
                followed=[lane for lane in mine if not lane.ends],
            )
        )
        return SubscriberDelivery(
            subscriber=subscriber,
            epoch=epoch,
            settings=self.settings,
            writer=self.writer,
            metrics=self.metrics,
            poster=Poster.to(subscriber, self.settings, self.tls),
            sources=[self._source(lane, subscriber) for lane in mine],
            guard=guard,
        )

    def _source(self, lane: DeliveryLane, subscriber: WebhookSubscriber) -> EventSource:
        if lane.name == LaneName.HISTORY:
            return resends.OlderOptOuts(lane=lane, ledger=self.ledger)
        return LaneSource(
            lane=lane,
            feed=self.feeds.get(lane.name),
            reader=self.reader,
            settings=self.kafka,
            turns=self._turns,
            caught_up_at=subscriber.caught_up_at,
        )

    def _stop(self, number: int, *, give_back: bool, concludes: bool = False) -> None:
        """Stop a delivery while the others go on; it does not begin again before it has ended."""
        delivery = self.deliveries.pop(number)
        closing = asyncio.create_task(
            self._close(delivery, give_back=give_back, concludes=concludes)
        )
        self._closing[number] = closing
        closing.add_done_callback(lambda _: self._closing.pop(number, None))

    async def _close(
        self, delivery: SubscriberDelivery, *, give_back: bool, concludes: bool
    ) -> None:
        try:
            within = self.settings.timeout.total_seconds()
            await delivery.close(0.0 if delivery.is_fenced else within)
            if concludes:
                await self._conclude(delivery)
            if give_back:
                await deliveries.give_back(self.ledger, delivery.subscriber.id, delivery.epoch)
        except (LedgerUnavailableError, ConcurrentChangeError, UnknownSubscriberError) as error:
            # It begins again with what is stored, and ends again then, unless it was removed.
            _log.warning(
                "delivery not ended in order",
                subscriber=delivery.subscriber.name,
                error=str(error),
            )

    async def close(self, within: float) -> None:
        """Stop every delivery within so many seconds, and give back its lease."""
        stopping, closing = dict(self.deliveries), list(self._closing.values())
        self.deliveries.clear()
        await asyncio.gather(
            *(delivery.close(within) for delivery in stopping.values()), return_exceptions=True
        )
        await cancel_all(closing)
        with suppress(LedgerUnavailableError, ConcurrentChangeError):
            for number, one in stopping.items():
                await deliveries.give_back(self.ledger, number, one.epoch)
            await deliveries.leave(self.ledger)


def run(
    kafka: KafkaSettings, ledger: LedgerSettings, webhooks: WebhookSettings, codec: Codec
) -> None:
    """Post webhooks until SIGTERM or SIGINT; raises errors that are faults of ours."""
    how = partial(serve, kafka, ledger, webhooks, codec)
    serve_until_stopped(webhooks, how, server="the webhooks process", variables="IZIN_WEBHOOK")


async def serve(  # noqa: PLR0913, PLR0917  # the groups of settings, where, and when to stop
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    settings: WebhookSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
) -> None:
    """Post webhooks until ``stopping`` is set."""
    async with monitored_ledger(ledger_settings) as (ledger, monitored):
        assigner = DeliveryAssigner(ledger, kafka, settings, codec)
        broker, watch = BrokerWatch(kafka), LedgerWatch(monitored)

        def faults() -> Mapping[str, str]:
            return {**watch.faults(), **broker.faults()}

        async def http() -> None:
            registry_ = assigner.metrics.registry
            listeners.listen()
            await listeners.serve(
                Starlette(routes=[*health(faults, with_reasons=False)]),
                operations_app(registry_, faults),
                registry_,
                proxies="127.0.0.1",
                drain=_HTTP_DRAIN,
                stopping=stopping,
            )

        beside = {"broker watch": broker.run, "ledger watch": watch.run, "http": http}
        await _deliver(assigner, beside, stopping)


async def _deliver(
    assigner: DeliveryAssigner,
    beside: Mapping[str, Callable[[], Coroutine[None, None, None]]],
    stopping: asyncio.Event,
) -> None:
    """Deliver, and do what is to be done ``beside`` it."""
    alive, ledger = asyncio.Event(), assigner.ledger
    # Before it is seen alive, so that nobody takes it for a sink worker.
    await deliveries.enter(ledger)
    wanted = await _first_places(ledger)
    # Before the topics are read: what cannot be read is its brand's.
    await assigner.reader.refresh()

    async def assign() -> None:
        await alive.wait()  # else others would take over at once whatever it begins
        await keep_running("assign", assigner.run)

    works: dict[str, Coroutine[None, None, None]] = {
        "live": keep_running("live", lambda: live(ledger, alive)),
        "acknowledgements": assigner.writer.run(),
        **{name: work() for name, work in beside.items()},
        **{
            f"follow {name}": keep_running(f"follow {name}", partial(feed.run, wanted))
            for name, feed in assigner.feeds.items()
        },
    }
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    assigning = asyncio.create_task(assign(), name="assign")
    host = assigner.settings.host
    _log.info("webhooks ready", host=host, process=os.getpid(), session=int(ledger.owner))
    try:
        await until_stopped(stopping, [*tasks, assigning], what="webhooks failed")
    finally:
        stopping.set()
        await cancel_all([assigning])
        await assigner.close(_DRAIN)
        await cancel_all(tasks)


async def _first_places(ledger: Ledger) -> dict[Place, int]:
    """Return the first offset of each partition that a subscriber has not acknowledged."""
    ids = [
        subscriber.id for subscriber in await registry.every(ledger) if subscriber.paused_at is None
    ]
    found: dict[Place, int] = {}
    for one in await registry.cursors_of(ledger, ids):
        if one.end_offset is None:  # of a lane that is followed
            first = min(one.open_offsets, default=one.next_offset)
            found[one.place] = min(first, found.get(one.place, first))
    return found
