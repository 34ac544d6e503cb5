"""A resend's lanes beside those that are followed: what was open at the start is posted first."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from izin.sinks.ledger.webhooks.registry import LaneName
from izin.sinks.webhooks.delivery import AcknowledgementWriter, SubscriberDelivery, WebhookMetrics
from izin.sinks.webhooks.events import WebhookEvent
from izin.sinks.webhooks.partitions import DeliveryLane
from izin.sinks.webhooks.posting import Poster
from izin.sinks.webhooks.resends import RepetitionGuard
from izin.sinks.webhooks.source import Taken
from tests.support.webhooks import a_subscriber, quick
from tests.unit.sinks.webhooks.test_lanes import PLACE, a_cursor, an_event

OPT_OUTS = ("consent-opt-outs", 0)


class FakeSource:
    """A source of a lane: one event that was open, or one that is read."""

    is_behind = False

    def __init__(self, lane: DeliveryLane, event: WebhookEvent) -> None:
        self.lane = lane
        self.event = event
        self.may_open = asyncio.Event()

    async def reopen(self) -> Sequence[WebhookEvent]:
        """Return the event, once the test lets it."""
        await self.may_open.wait()
        return [self.event]

    async def take(self, _most: int) -> Taken:
        """Return the event, and the end of the lane; where it has none, nothing comes."""
        if not self.lane.ends:
            await asyncio.Event().wait()
        return Taken([self.event], {PLACE: 10}, is_live=False)

    async def release(self) -> None:
        """Keep nothing."""


class FakeGuard:
    """Lets out everything."""

    async def review(self, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
        """Return the events."""
        return [*events]


class FakeWriter(AcknowledgementWriter):
    """Stores nothing."""

    def __init__(self) -> None:
        self.ledger = cast("Any", type("FakeLedger", (), {"calendar": None}))

    def add(self, _delivery: object) -> None:
        """Store for nobody."""


async def test_repetition_waits_for_what_was_open_at_the_start() -> None:
    """An opt-out was refused before a restart; the permission by a newer consent comes after it."""
    opt_out = a_cursor(lane=LaneName.EXPRESS, topic=OPT_OUTS[0], next_offset=3)
    again = a_cursor(lane=LaneName.RESEND, next_offset=9, end_offset=10, open_offsets=())
    followed = FakeSource(
        DeliveryLane.of(1, LaneName.EXPRESS, [opt_out]),
        an_event(2, type="consent.opted-out", topic=OPT_OUTS[0]),
    )
    resend = FakeSource(DeliveryLane.of(1, LaneName.RESEND, [again]), an_event(9))
    delivery = SubscriberDelivery(
        subscriber=a_subscriber(),
        epoch=1,
        settings=quick(),
        writer=FakeWriter(),
        metrics=WebhookMetrics(),
        poster=cast("Poster", None),
        sources=cast("Any", [followed, resend]),
        guard=cast("RepetitionGuard", FakeGuard()),
    )
    tasks = [asyncio.create_task(delivery._fill(one)) for one in delivery.sources]
    for _ in range(5):
        await asyncio.sleep(0)
    followed.may_open.set()
    await tasks[1]
    tasks[0].cancel()
    waiting = [one.event.type for one in delivery.dispatcher._keys["key"]]
    assert waiting == ["consent.opted-out", "permission.granted"]
