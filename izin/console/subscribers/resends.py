"""Resends: what would be sent again, counted by where it comes from, and the order to do it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import registry, resends
from izin.sinks.ledger.webhooks.resends import HISTORY, ResendPlan, ResendSelection
from izin.sinks.ledger.webhooks.subscriber import EventFilter, WebhookSubscriber, WebhookType
from izin.sinks.webhooks.events import EventReader, WebhookEvent
from izin.sinks.webhooks.lane import DeliveryLane
from izin.sinks.webhooks.resends.cursors import (
    ResendPeriod,
    cursors_of,
    events_of,
    opt_outs_reach,
)
from izin.sinks.webhooks.resends.guard import holding, never_acknowledged
from izin.sinks.webhooks.resends.older import OlderOptOut, opt_outs_of
from izin.sinks.webhooks.resends.repetition import is_selected

_PAGE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendOrder:
    """What is to be sent again to one subscriber; what is empty does not limit it."""

    name: str
    period: ResendPeriod = field(default_factory=ResendPeriod)
    types: frozenset[str] = frozenset()
    brands: frozenset[int] = frozenset()
    channels: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    keys: frozenset[str] | None = field(repr=False, default=None)
    """Canonical keys; None: every key."""
    only_missing: bool = False
    """Only what it has never acknowledged, from its first day on."""

    def selection(self, customer_id: str) -> ResendSelection:
        """Return which events of a customer it is about."""
        return ResendSelection(
            filter=EventFilter(
                customer_id=customer_id,
                types=self.types,
                brands=self.brands,
                channels=self.channels,
                origins=self.origins,
            ),
            keys=self.keys,
            only_missing=self.only_missing,
        )

    def period_of(self, subscriber: WebhookSubscriber) -> ResendPeriod:
        """Return when what it is about was appended."""
        if self.only_missing and self.period.since is None:
            return replace(self.period, since=subscriber.created_at)
        return self.period


class CountedPart(NamedTuple):
    """Events of one type from one place."""

    source: str
    """A topic, or ``history``."""
    partition: int
    type: str


@dataclass(slots=True, kw_only=True)
class CountedResend:
    """What would be sent again to one subscriber."""

    plan: ResendPlan
    reach: datetime | None
    """Since when the topic of opt-outs has all of them; None: it has lost none."""
    events: Counter[CountedPart]
    overtaken: Counter[CountedPart]
    """What is left out, for something newer holds."""
    waiting: int
    """What the subscriber was not sent yet, or has not taken: it comes as a first delivery."""

    @property
    def total(self) -> int:
        """How many events are sent again."""
        return self.events.total()

    def rows(self) -> Sequence[tuple[str, str, int, str, int, int]]:
        """Return subscriber, source, partition, type, events, overtaken of each part."""
        return [
            (self.plan.name, *part, self.events[part], self.overtaken[part])
            for part in sorted(self.events.keys() | self.overtaken.keys())
        ]

    def sums(self) -> Sequence[tuple[str, str, str, int, int]]:
        """Return subscriber, source, type, events, overtaken, of all partitions together."""
        events, overtaken = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for _, source, _, type_, count, left_out in self.rows():
            events[source, type_] += count
            overtaken[source, type_] += left_out
        return [(self.plan.name, *part, events[part], overtaken[part]) for part in sorted(events)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendCounter:
    """Counts what an order for one subscriber would send again."""

    ledger: Ledger
    kafka: KafkaSettings
    codec: Codec
    subscriber: WebhookSubscriber
    selection: ResendSelection
    period: ResendPeriod

    async def count(self, *, now: datetime) -> CountedResend:
        """Return what it would send; raises StreamUnavailableError, UnknownPlaceError."""
        keys = self.selection.keys
        cursors = await asyncio.to_thread(cursors_of, self.kafka, self.period, keys)
        reach = {} if self.period.ranges else await self._reach(now)
        counted = CountedResend(
            plan=ResendPlan(name=self.subscriber.name, selection=self.selection, cursors=cursors),
            reach=max(reach.values(), default=None),
            events=Counter(),
            overtaken=Counter(),
            waiting=0,
        )
        followed, page = await self._followed(), list[WebhookEvent]()
        published = set[str]()
        registered = partial(registry.brand_customers, self.ledger)
        reader = EventReader(self.codec, self.kafka.topics, registered)
        async for event in events_of(self.kafka, reader, cursors):
            if not self._is_wanted(event):
                continue
            if reach and event.type == WebhookType.OPTED_OUT:
                published.add(event.key)
            if all(one.has(event.place, event.offset) for one in followed):
                page.append(event)
            else:
                counted.waiting += 1
            if len(page) >= _PAGE:
                await self._add(counted, page)
                page = []
        await self._add(counted, page)
        older = [
            event.key
            async for event in self._older(reach)
            if event.key not in published  # its opt-out may be in the topic all the same
        ]
        for key in older:
            part = CountedPart(HISTORY, self._partition(key), WebhookType.OPTED_OUT)
            counted.events[part] += 1
        counted.plan = replace(
            counted.plan, older=older, planned=counted.total, period=_shown(self.period)
        )
        return counted

    def _is_wanted(self, event: WebhookEvent) -> bool:
        return (
            event.is_for(self.subscriber.filter)
            and is_selected(event, self.selection)
            and (event.is_change or not self.selection.only_missing)
        )

    async def _followed(self) -> list[DeliveryLane]:
        found = [
            one
            for one in await registry.cursors_of(self.ledger, [self.subscriber.id])
            if one.end_offset is None
        ]
        names = sorted({one.lane for one in found})
        return [
            DeliveryLane.of(self.subscriber.id, name, [one for one in found if one.lane == name])
            for name in names
        ]

    async def _add(self, counted: CountedResend, events: Sequence[WebhookEvent]) -> None:
        if self.selection.only_missing:
            events = await never_acknowledged(self.ledger, self.subscriber.id, events)
        held = await holding(self.ledger, events)
        counted.events.update(map(_part, held))
        counted.overtaken.update(map(_part, events))
        counted.overtaken.subtract(map(_part, held))

    async def _reach(self, now: datetime) -> Mapping[int, datetime]:
        chosen = (self.subscriber.filter.types, self.selection.filter.types)
        if any(types and WebhookType.OPTED_OUT not in types for types in chosen):
            return {}
        return await asyncio.to_thread(opt_outs_reach, self.kafka, now=now)

    async def _older(self, reach: Mapping[int, datetime]) -> AsyncIterator[WebhookEvent]:
        """Yield the opt-outs that are older than their topic."""
        since = self.period.since
        if all(since is not None and since >= first for first in reach.values()):
            return
        async for rows in resends.opted_out(self.ledger, self.selection):
            events = [
                one.event
                for one in await opt_outs_of(self.ledger, rows)
                if self._is_wanted(one.event) and self._is_older(one, reach)
            ]
            if self.selection.only_missing:
                events = await never_acknowledged(self.ledger, self.subscriber.id, events)
            for event in events:
                yield event

    def _is_older(self, one: OlderOptOut, reach: Mapping[int, datetime]) -> bool:
        """Whether the topic may not have it, and it is of the period."""
        first, at = reach.get(self._partition(one.event.key)), one.came_at
        if first is None or at is None:
            return first is not None
        since, until = self.period.since, self.period.until
        return at < first and (since is None or at >= since) and (until is None or at < until)

    def _partition(self, key: str) -> int:
        return partition_of(key.encode(), self.kafka.partitions)


def _part(event: WebhookEvent) -> CountedPart:
    return CountedPart(event.topic, event.partition, event.type)


def _shown(period: ResendPeriod) -> dict[str, object]:
    return {
        "since": period.since,
        "until": period.until,
        "offsets": [
            f"{'/'.join(map(str, one.place))}/{one.first}-{one.last}" for one in period.ranges
        ],
    }


async def count(
    ledger: Ledger, kafka: KafkaSettings, codec: Codec, order: ResendOrder, *, now: datetime
) -> CountedResend:
    """Return what ``order`` would send again.

    Raises:
        UnknownSubscriberError: there is none of its name.
        UnknownPlaceError: it names offsets of a partition that webhooks are not made of.
        StreamUnavailableError: Kafka does not answer.
    """
    found = await registry.of_name(ledger, order.name)
    counter = ResendCounter(
        ledger=ledger,
        kafka=kafka,
        codec=codec,
        subscriber=found,
        selection=order.selection(found.customer_id),
        period=order.period_of(found),
    )
    return await counter.count(now=now)


async def begin(
    ledger: Ledger, counted: Sequence[CountedResend], *, by: str, now: datetime
) -> Sequence[int]:
    """Order what was counted, which the process that delivers carries out; return the numbers.

    All or none is ordered; what nothing was counted of is left out.

    Raises:
        UnknownSubscriberError: a subscriber was removed meanwhile.
        RunningResendError: an earlier resend of one is not done.
    """
    plans = [one.plan for one in counted if one.total]
    return await resends.begin(ledger, plans, by=by, now=now)
