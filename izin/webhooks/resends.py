"""Resends: what a subscriber was sent comes again, marked, and never over something newer.

A person orders one, at most one at a time for each subscriber. Who delivers carries it out.

A receiver that only applies what comes must end right. So a permission is sent again only while it
is the answer, and a denial unless there is a permission since. An opt-out (RET) is sent again
unless the recipient may be messaged by a consent that is newer: nothing else overtakes it, and what
cannot be compared does not either. Outcomes are facts about one event, and do not replace each
other.

The ledger says what holds of a key, when an event is posted. It may be behind the order stage, and
opt-outs reach the subscriber before the ledger has them: so a permission waits until the ledger has
every decision that there was when the resend began, and is left out where an opt-out of its key was
read since. What is read of a key while the ledger is asked has it asked again.

Opt-outs that are older than their topic are made of the rows of their keys, which have no end. The
keys are listed with the resend; the list goes with it, and a key that is erased goes at once.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson

from izin.consent import SourceError, Status
from izin.kafka.tables.packed_permissions import whole_seconds
from izin.kafka.tables.permission_reader import consent_second
from izin.ledger import reads
from izin.ledger.db import Connection, Ledger, statements
from izin.ledger.webhooks import registry
from izin.ledger.webhooks.registry import (
    DeliveryCursor,
    EventFilter,
    LaneName,
    WebhookSubscriber,
    WebhookType,
)
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from izin.webhooks.events import (
    OF_OPT_OUT,
    EventReader,
    WebhookEvent,
    event_of,
    lanes,
    webhook_id,
)
from izin.webhooks.partitions import (
    DeliveryLane,
    cursor_of,
    lanes_of,
    offsets_at,
    topic_bounds,
)
from izin.webhooks.source import LaneSource, Taken

HEADER = "webhook-repetition"
"""The header of a repetition: the number of its resend. A first delivery has none."""
_FIELD = "repetition"
"""The field of its body, beside ``type``: ``resend`` (the number) and ``ordered_at``."""
_SAME = timedelta(milliseconds=1)
"""Records have instants in milliseconds."""
_LOOK = 0.5
"""Seconds between two looks how far the ledger is."""
_MOST_OPTED_OUT = 100_000
"""Keys that opted out since the ledger was waited for last; with more it is waited for again."""
_PAGE = 5000
_RECENT = timedelta(days=1)
"""What came within a day is in the topic, or on its way there."""
_LIST = LaneName.HISTORY, 0
"""The topic and partition that stand for the list of a resend; offsets are its numbers."""
_NO_PLACE: Mapping[str, None] = {"topic": None, "partition": None, "offset": None}
_SQL = statements("resends")

_log = get_logger(__name__)


class ResendError(SourceError):
    """A resend of this subscriber is not done, or none is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """What is sent again to one subscriber; what is not given does not limit it."""

    id: int = 0
    """0: it is not ordered yet."""
    ordered_at: datetime
    filter: EventFilter
    """Of the customer of the subscriber, beside the subscriber's own."""
    keys: frozenset[str] | None = field(repr=False, default=None)
    """Canonical keys; None: every key."""
    since: datetime | None = None
    """When it came, or was appended to its topic. Like ``until``, it says which cursors there are,
    and is not known when these are followed."""
    until: datetime | None = None
    """Without this instant itself."""


@dataclass(slots=True, kw_only=True)
class CountedResend:
    """A resend that is not ordered yet, and what it would send to its subscriber."""

    name: str
    resend: Resend
    cursors: list[DeliveryCursor]
    """Where it begins and ends in the topics."""
    older: list[str] = field(repr=False, default_factory=list)
    """The keys whose opt-outs are older than their topic."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By source (a topic, or ``history``) and type."""


async def begin(ledger: Ledger, plans: Sequence[CountedResend], *, by: str, now: datetime) -> None:
    """Order what was counted, which the process that delivers carries out: all of it or nothing.

    Raises:
        UnknownSubscriberError: there is none of such a name.
        ResendError: one of a subscriber is not done.
    """
    async with ledger.transaction() as connection:
        # In one order, so that two commands do not wait for each other.
        for plan in sorted(plans, key=lambda plan: plan.name):
            if plan.events.total():
                await _begin(connection, plan, by, now)


async def _begin(connection: Connection, plan: CountedResend, by: str, now: datetime) -> None:
    found = await registry.locked(connection, plan.name)
    resend, planned = plan.resend, plan.events.total()
    limits: Mapping[str, Any] = resend.filter.limits()
    keys = None if resend.keys is None else sorted(resend.keys)
    values = {"id": found.id, **limits, "keys": keys, "planned": planned, "now": now}
    row = await (await connection.execute(_SQL["begin"], values)).fetchone()
    if row is None:
        raise ResendError(
            f"an earlier resend of {plan.name} is not done; see izin subscribers show {plan.name}, "
            f"and order this one when it is, or after izin subscribers cancel-resend {plan.name}"
        )
    number = int(row["id"])
    for first in range(0, len(plan.older), _PAGE):
        page = plan.older[first : first + _PAGE]
        await connection.execute(_SQL["list"], {"id": number, "first": first, "keys": page})
    topic, partition = _LIST
    of_list = DeliveryCursor(
        lane=topic, topic=topic, partition=partition, next_offset=0, end_offset=len(plan.older)
    )
    cursors = [*plan.cursors, of_list] if plan.older else plan.cursors
    of_resend = [replace(cursor, resend_id=number) for cursor in cursors]
    await registry.add_cursors(connection, found.id, of_resend)
    after = {
        "number": number,
        "since": resend.since,
        "until": resend.until,
        **limits,
        "keys": None if keys is None else len(keys),  # how many, but none of them
        "events": planned,
    }
    await registry.record_change(connection, "resend", found, by, now, {}, after)


async def of_subscriber(ledger: Ledger, subscriber: WebhookSubscriber) -> Resend | None:
    """Return the resend of a subscriber that is not done, or None."""
    rows = await ledger.fetch(_SQL["open"], {"id": subscriber.id})
    if not rows:
        return None
    (row,) = rows
    return Resend(
        id=row["id"],
        ordered_at=row["ordered_at"],
        filter=EventFilter.from_row(row),
        keys=None if row["keys"] is None else frozenset(row["keys"]),
    )


async def finish(ledger: Ledger, subscriber_id: int, number: int, *, now: datetime) -> None:
    """Note that a resend is done."""
    values = {"id": subscriber_id, "number": number, "now": now, "cancelled_at": None}
    await ledger.execute(_SQL["end"], values)


async def cancel(ledger: Ledger, name: str, *, by: str, now: datetime) -> int:
    """Cancel the resend of a subscriber; return its number. What was sent is not taken back.

    Raises:
        UnknownSubscriberError: there is none of this name.
        ResendError: none is under way.
    """
    async with ledger.transaction() as connection:
        found = await registry.locked(connection, name)
        values = {"id": found.id, "number": None, "now": now, "cancelled_at": now}
        row = await (await connection.execute(_SQL["end"], values)).fetchone()
        if row is None:
            raise ResendError(
                f"no resend of {name} is under way; see: izin subscribers show {name}"
            )
        before = {"number": int(row["id"])}
        await registry.record_change(connection, "cancel resend", found, by, now, before, {})
    return before["number"]


async def latest(ledger: Ledger, subscriber_id: int) -> Mapping[str, Any] | None:
    """Return the latest resend of a subscriber: how many events were ``planned``, how many it has
    ``brought``, and its ``state``: running, done or cancelled. None: there was none.
    """
    rows = await ledger.fetch(_SQL["latest"], {"id": subscriber_id})
    return rows[0] if rows else None


@dataclass(slots=True, kw_only=True)
class RepetitionGuard:
    """What one resend may post to one subscriber."""

    ledger: Ledger
    kafka: KafkaSettings
    resend: Resend
    followed: Sequence[DeliveryLane]
    """The other lanes of the subscriber: what they still have to bring is left to them."""
    _opted_out: set[str] = field(default_factory=set)
    """Keys of opt-outs that were read beside the resend, which the ledger may not have."""
    _meanwhile: set[str] = field(default_factory=set)
    """Keys of events that were read since the ledger was asked last."""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_known: bool = False
    """Whether the ledger has every opt-out but those."""

    def note(self, event: WebhookEvent) -> None:
        """Note an event that was read beside the resend, and goes to the subscriber."""
        self._meanwhile.add(event.key)
        if event.type == WebhookType.OPTED_OUT:
            self._opted_out.add(event.key)

    def chosen(self, events: Sequence[WebhookEvent]) -> Sequence[WebhookEvent]:
        """Return those of ``events`` that are sent again as far as they hold: what the subscriber
        does not get as a first delivery.
        """
        keys = self.resend.keys
        return [
            event
            for event in events
            if event.is_for(self.resend.filter)
            and (keys is None or event.key in keys)
            and all(lane.has(event.place, event.offset) for lane in self.followed)
        ]

    async def review(self, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
        """Return those of ``events`` that are sent again, marked; post them before anything else
        is awaited.

        Raises:
            LedgerUnavailableError: what holds is not known now.
            StreamUnavailableError: Kafka does not say how far the decisions are.
        """
        wanted = self.chosen(events)
        keys = {event.key for event in wanted}
        if any(event.type == WebhookType.GRANTED for event in wanted):
            await self._have_opt_outs_known()
        async with self._asking:
            self._meanwhile.clear()
            found = await holding(self.ledger, wanted)
            while not self._meanwhile.isdisjoint(keys):
                self._meanwhile.clear()
                found = await holding(self.ledger, wanted)
        return [
            marked(event, self.resend)
            for event in found
            if event.type != WebhookType.GRANTED or event.key not in self._opted_out
        ]

    async def _have_opt_outs_known(self) -> None:
        """Return when the ledger has every opt-out but those noted since this was called."""
        if self._is_known and len(self._opted_out) < _MOST_OPTED_OUT:
            return
        self._is_known = False
        self._opted_out.clear()
        topics = [self.kafka.topics.decisions.name]
        _, kept = await asyncio.to_thread(topic_bounds, self.kafka, topics)
        ends = {place: end for place, (start, end) in kept.items() if start < end}
        if behind := reads.short_of(await reads.ingested(self.ledger), ends):
            _log.info("resend waits for the ledger", resend=self.resend.id, decisions=behind)
        while reads.short_of(await reads.ingested(self.ledger), ends):  # noqa: ASYNC110  # of the ledger
            await asyncio.sleep(_LOOK)
        self._is_known = True


async def holding(ledger: Ledger, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
    """Return those of ``events`` that still hold, by the ledger."""
    keys = sorted({event.key for event in events})
    rows = await ledger.fetch(_SQL["states"], {"keys": keys}) if keys else []
    found = {row["key"]: row for row in rows}
    return [event for event in events if not is_overtaken(event, found.get(event.key))]


def is_overtaken(event: WebhookEvent, state: Mapping[str, Any] | None) -> bool:
    """Whether ``event`` no longer holds, by the ``state`` of its key now: ``may_send``, ``since``
    when, and ``registered_at`` and ``consent_date`` of the consent. None: nothing is known.
    """
    counts_from = event.since or datetime.fromtimestamp(event.appended, UTC)
    given_at = state["since"] if state is not None and state["may_send"] else None
    match event.type:
        case WebhookType.GRANTED:
            return given_at is None or abs(given_at - counts_from) >= _SAME
        case WebhookType.REVOKED:
            return given_at is not None and given_at - counts_from >= _SAME
        case WebhookType.OPTED_OUT if state is not None and state["may_send"]:
            consent = consent_second(state["registered_at"], state["consent_date"])
            return consent > whole_seconds(counts_from)
        case _:
            return False


def marked(event: WebhookEvent, resend: Resend) -> WebhookEvent:
    """Return ``event`` with a body that says that it is a repetition."""
    mark = orjson.dumps(
        {_FIELD: {"resend": resend.id, "ordered_at": resend.ordered_at}}, option=orjson.OPT_UTC_Z
    )
    return replace(event, body=event.body[:-1] + b"," + mark[1:])


@dataclass(slots=True, kw_only=True)
class OlderOptOuts:
    """The source of a resend's lane of opt-outs that are older than their topic: a list in the
    ledger.
    """

    lane: DeliveryLane
    ledger: Ledger
    is_behind: bool = False
    """It has an end, and nothing else waits for it."""

    async def take(self, most: int) -> Taken:
        """Return what comes next, at most ``most`` events; raises LedgerUnavailableError."""
        rows = await self._listed(most)
        # Numbers that are missing in a short page are of keys that were erased.
        is_last = len(rows) < most
        position = self.lane.ends[_LIST] if is_last else int(rows[-1]["number"]) + 1
        return Taken(list(map(opt_out_of, rows)), {_LIST: position}, is_live=False)

    async def reopen(self) -> Sequence[WebhookEvent]:
        """Return the events of the lane's open numbers; those of erased keys are closed."""
        numbers = set(self.lane.open[_LIST])
        rows = await self._listed(len(numbers), sorted(numbers))
        for gone in numbers - {int(row["number"]) for row in rows}:
            self.lane.close(_LIST, gone)
        return list(map(opt_out_of, rows))

    async def _listed(
        self, most: int, numbers: Sequence[int] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        first = 0 if numbers else self.lane.positions[_LIST]
        values = {"id": self.lane.resend_id, "first": first, "size": most, "numbers": numbers}
        return await self.ledger.fetch(_SQL["listed"], values)

    async def release(self) -> None:
        """Keep nothing open between two pages."""


def opt_out_of(row: Mapping[str, Any]) -> WebhookEvent:
    """Return the latest opt-out of a row of ``consents`` with a ``number`` in a list; of one that
    a later opt-in has replaced, only its instant is known.
    """
    topic, partition = _LIST
    at = row["latest_ret_at"]
    is_latest = row["desired_status"] == Status.RET
    of_event = ("event_id", "origin", "source", "consent_date")
    record = {
        "customer_id": row["customer_id"],
        "brand_code": row["brand_code"],
        "type": row["channel"],
        "recipient_type": row["recipient_type"],
        "recipient": row["recipient"],
        "status": Status.RET,
        "previous_status": Status.ONAY if row["latest_onay_at"] else None,
        "effective_at": at,
        **{name: row[f"desired_{name}"] if is_latest else None for name in of_event},
    }
    return event_of(
        WebhookType.OPTED_OUT,
        record,
        OF_OPT_OUT,
        place={"topic": topic.value, "partition": partition, "offset": int(row["number"])},
        appended=at.timestamp(),
        webhook_id=webhook_id({}, f"{row['key']}/{at}"),
        since=at,
        shown=_NO_PLACE,
    )


async def planned(
    ledger: Ledger, kafka: KafkaSettings, codec: Codec, name: str, order: Resend
) -> CountedResend:
    """Return what ``order`` would send to the subscriber of a name, whose customer it is given.

    Raises:
        UnknownSubscriberError: there is none of this name.
        StreamUnavailableError: Kafka does not answer.
    """
    found = await registry.of_name(ledger, name)
    resend = replace(order, filter=replace(order.filter, customer_id=found.customer_id))
    cursors, is_cut = await asyncio.to_thread(_cursors, kafka, resend)
    its_lanes = lanes_of(found.id, await registry.cursors_of(ledger, [found.id]))
    followed = [lane for lane in its_lanes if not lane.ends]
    guard = RepetitionGuard(ledger=ledger, kafka=kafka, resend=resend, followed=followed)
    plan, published = CountedResend(name=name, resend=resend, cursors=cursors), set[str]()
    source = LaneSource(
        lane=DeliveryLane.of(0, LaneName.RESEND, cursors),
        feed=None,
        reader=EventReader(codec, kafka.topics, partial(registry.brand_customers, ledger)),
        settings=kafka,
        turns=asyncio.Semaphore(),
        caught_up_at=resend.ordered_at,
    )
    try:
        while source.lane.ends and not source.lane.is_read:
            taken = await source.take(_PAGE)
            events = [event for event in taken.events if event.is_for(found.filter)]
            published |= {event.key for event in events if event.type == WebhookType.OPTED_OUT}
            held = await holding(ledger, guard.chosen(events))
            plan.events.update((event.topic, event.type) for event in held)
            source.lane.move_all(taken.positions)
    finally:
        await source.release()
    keys = None if resend.keys is None else sorted(resend.keys)
    values = {
        "customer_id": found.customer_id,
        "keys": keys,
        "since": resend.since,
        "until": min(resend.until or resend.ordered_at, resend.ordered_at - _RECENT),
        "after": "",
        "size": _PAGE,
    }
    while is_cut and (rows := await ledger.fetch(_SQL["older"], values)):
        events = [event for event in map(opt_out_of, rows) if event.is_for(found.filter)]
        older = guard.chosen([event for event in events if event.key not in published])
        plan.older += [event.key for event in older]
        plan.events.update((event.topic, event.type) for event in older)
        values["after"] = rows[-1]["key"]
    return plan


def _cursors(kafka: KafkaSettings, resend: Resend) -> tuple[list[DeliveryCursor], bool]:
    """Return the cursors of what the topics have, and whether they may have lost opt-outs."""
    topics = [topic for some in lanes(kafka.topics).values() for topic in some]
    found, kept = topic_bounds(kafka, topics)
    starts = {place: start for place, (start, _) in kept.items()}
    ends = {place: end for place, (_, end) in kept.items()}
    firsts = starts if resend.since is None else offsets_at(kafka, kept, resend.since)
    lasts = ends if resend.until is None else offsets_at(kafka, kept, resend.until)
    of_keys = {
        (topic, partition_of(key.encode(), count))
        for key in resend.keys or ()
        for topic, count in found.partitions.items()
    }
    cursors = [
        cursor_of(LaneName.RESEND, place, found, first, lasts[place])
        for place, first in firsts.items()
        if first < lasts[place] and (resend.keys is None or place in of_keys)
    ]
    # Where something is left of what was before, it has all since.
    is_cut = any(
        0 < start == firsts[place]
        for place, start in starts.items()
        if place[0] == kafka.topics.opt_outs.name
    )
    return cursors, is_cut
