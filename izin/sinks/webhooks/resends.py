"""Resends: what a subscriber was sent comes again, marked, and never over something newer.

A receiver that only applies what comes must end right. So a permission is sent again only while it
is the answer, and a denial unless there is a permission since. An opt-out (RET) is sent again
unless the recipient may be messaged by a consent that is newer: nothing else overtakes it, and what
cannot be compared does not either. Outcomes are facts about one event, and do not replace each
other.

The ledger says what holds of a key, when an event is posted. It may be behind the order stage, and
opt-outs reach the subscriber before the ledger has them: so a permission waits until the ledger has
every decision that there was when the resend began, and is left out where an opt-out of its key was
read since. What is read of a key while the ledger is asked has it asked again.

Opt-outs that are older than their topic are made of the history: the decision by which a recipient
opted out is there for ten years, with everything that the topic had of it. So the event is the same
and has the same id; only its place in the topic is not known any more. Where the decision is not
there, for the ledger was restored without it, the row says what it can.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson

from izin.consent.model import Status
from izin.kafka.bounded_reader import Place
from izin.projections.packed_permissions import whole_seconds
from izin.projections.permission_reader import consent_second
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from izin.schemas.records import ID, SOURCE, derived_id, key_text
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import deliveries, registry, resends
from izin.sinks.ledger.webhooks.resends import CountedResend, KeyStanding, Resend
from izin.sinks.ledger.webhooks.subscriber import (
    DeliveryCursor,
    LaneName,
    WebhookType,
)
from izin.sinks.webhooks.events import (
    OF_OPT_OUT,
    EventReader,
    WebhookEvent,
    event_of,
    lanes,
    webhook_id,
)
from izin.sinks.webhooks.lane import DeliveryLane, lanes_of
from izin.sinks.webhooks.partitions import cursor_of, offsets_at, topic_bounds
from izin.sinks.webhooks.source import LaneSource, Taken

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
_RECORD = ("topic", "partition", "offset", "key", "webhook_id")
_PLACE = LaneName.HISTORY, 0
_NO_PLACE: Mapping[str, None] = {"topic": None, "partition": None, "offset": None}

_log = get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class RepetitionGuard:
    """What one resend may post to one subscriber."""

    ledger: Ledger
    kafka: KafkaSettings
    subscriber_id: int
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

    def selects(self, event: WebhookEvent) -> bool:
        """Whether ``event`` is one of those that are sent again."""
        keys = self.resend.keys
        return event.is_for(self.resend.filter) and (keys is None or event.key in keys)

    def is_waiting(self, event: WebhookEvent) -> bool:
        """Whether the subscriber still gets ``event`` as a first delivery."""
        return not all(lane.has(event.place, event.offset) for lane in self.followed)

    async def lacking(self, events: Sequence[WebhookEvent]) -> Sequence[WebhookEvent]:
        """Return ``events``; where only what is missing is sent, those of them that the subscriber
        has never acknowledged.
        """
        if not (events and self.resend.only_missing):
            return events
        records = [{name: getattr(event, name) for name in _RECORD} for event in events]
        taken = await deliveries.acknowledged(self.ledger, self.subscriber_id, records)
        return [event for event in events if event.webhook_id not in taken]

    async def review(self, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
        """Return those of ``events`` that are sent again, marked; post them before anything else
        is awaited.

        Raises:
            LedgerUnavailableError: what holds is not known now.
            StreamUnavailableError: Kafka does not say how far the decisions are.
        """
        chosen = [event for event in events if self.selects(event) and not self.is_waiting(event)]
        wanted = await self.lacking(chosen)
        if any(event.type == WebhookType.GRANTED for event in wanted):
            await self._have_opt_outs_known()
        async with self._asking:
            self._meanwhile.clear()
            found = await holding(self.ledger, wanted)
            while not self._meanwhile.isdisjoint({event.key for event in wanted}):
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
        if await self._is_behind(ends):
            _log.info("resend waits for the ledger", resend=self.resend.id)
        while await self._is_behind(ends):  # noqa: ASYNC110  # of the ledger
            await asyncio.sleep(_LOOK)
        self._is_known = True

    async def _is_behind(self, ends: Mapping[Place, int]) -> bool:
        ingested = await reads.ingested(self.ledger)
        return any(ingested.get(place, 0) < end for place, end in ends.items())


async def holding(ledger: Ledger, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
    """Return those of ``events`` that still hold, by the ledger."""
    found = await resends.standings(ledger, {event.key for event in events}) if events else {}
    return [event for event in events if not is_overtaken(event, found.get(event.key))]


def is_overtaken(event: WebhookEvent, standing: KeyStanding | None) -> bool:
    """Whether ``event`` no longer holds, by what holds of its key now; None: nothing is known."""
    may_send = standing is not None and standing.may_send
    given_at = None if standing is None else standing.since
    counts_from = event.since or datetime.fromtimestamp(event.appended, UTC)
    match event.type:
        case WebhookType.GRANTED:
            return not (may_send and given_at is not None and abs(given_at - counts_from) < _SAME)
        case WebhookType.REVOKED:
            return may_send and given_at is not None and given_at - counts_from >= _SAME
        case WebhookType.OPTED_OUT:
            if standing is None or not may_send:
                return False
            consent = consent_second(standing.registered_at, standing.consent_date)
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
        first, end = self.lane.positions[_PLACE], self.lane.ends[_PLACE]
        rows = await resends.listed(self.ledger, self.lane.resend_id, first=first, most=most)
        # Numbers that are missing in a short page are of keys that were erased.
        position = int(rows[-1]["number"]) + 1 if len(rows) == most else end
        events = [event for event, _ in await opt_outs_of(self.ledger, rows)]
        return Taken(events, {_PLACE: position}, is_live=False)

    async def reopen(self) -> Sequence[WebhookEvent]:
        """Return the events of the lane's open numbers; those of erased keys are closed."""
        numbers = set(self.lane.open[_PLACE])
        rows = await resends.listed(
            self.ledger, self.lane.resend_id, first=0, most=len(numbers), numbers=numbers
        )
        for gone in numbers - {int(row["number"]) for row in rows}:
            self.lane.close(_PLACE, gone)
        return [event for event, _ in await opt_outs_of(self.ledger, rows)]

    async def release(self) -> None:
        """Keep nothing open between two pages."""


async def opt_outs_of(
    ledger: Ledger, rows: Collection[Mapping[str, Any]]
) -> Sequence[tuple[WebhookEvent, datetime | None]]:
    """Return the latest opt-out of each of some rows of ``consents`` that have a ``number`` too,
    and when it came to us, which was before its record was appended; None: nobody knows.
    """
    by_key = defaultdict[str, list[Mapping[str, Any]]](list)
    for decision in await resends.decisions(ledger, [row["key"] for row in rows]) if rows else ():
        by_key[key_text(decision["consent"])].append(decision)
    return [opt_out_of(row, by_key[row["key"]]) for row in rows]


def opt_out_of(
    row: Mapping[str, Any], decisions: Sequence[Mapping[str, Any]]
) -> tuple[WebhookEvent, datetime | None]:
    """Return the opt-out of a row by its decisions (Avro), or by itself where none opted out."""
    found = [decision for decision in decisions if decision["opted_out"]]
    if not found:
        at = row["latest_ret_at"]
        return _event(row, _record_of(row), at, webhook_id({}, f"{row['key']}/{at}")), None
    decision = max(found, key=lambda decision: decision["effective_at"])
    event, place = decision["event"], (decision["topic"], decision["partition"], decision["offset"])
    headers = {
        ID: derived_id(event["event_id"], *place, "/opt-out").encode(),
        SOURCE: f"/{event['customer_id']}/{event['origin']}".encode(),
    }
    came_at = event["received_at"] or decision["effective_at"]
    return _event(row, decision["consent"], came_at, webhook_id(headers, "")), came_at


def _event(
    row: Mapping[str, Any], record: Mapping[str, Any], came_at: datetime, own_id: str
) -> WebhookEvent:
    return event_of(
        WebhookType.OPTED_OUT,
        {**record, "customer_id": row["customer_id"]},
        OF_OPT_OUT,
        place={"topic": LaneName.HISTORY.value, "partition": 0, "offset": int(row["number"])},
        appended=came_at.timestamp(),
        webhook_id=own_id,
        since=record["effective_at"],
        shown=_NO_PLACE,
    )


def _record_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a row says of its opt-out; what a later opt-in has replaced is not known."""
    is_latest = row["desired_status"] == Status.RET
    latest = {
        "event_id": row["desired_event_id"],
        "origin": row["desired_origin"],
        "source": row["desired_source"],
        "consent_date": row["desired_consent_date"],
    }
    return {
        "brand_code": row["brand_code"],
        "type": row["channel"],
        "recipient_type": row["recipient_type"],
        "recipient": row["recipient"],
        "status": Status.RET,
        "previous_status": Status.ONAY if row["latest_onay_at"] else None,
        "effective_at": row["latest_ret_at"],
        **(latest if is_latest else dict.fromkeys(latest)),
    }


async def planned(
    ledger: Ledger, kafka: KafkaSettings, codec: Codec, name: str, order: Resend
) -> CountedResend:
    """Return what ``order`` would send to the subscriber of a name, whose customer it is given.

    Raises:
        UnknownSubscriberError: there is none of this name.
        StreamUnavailableError: Kafka does not answer.
    """
    found = await registry.of_name(ledger, name)
    since = found.created_at if order.only_missing and order.since is None else order.since
    chosen = replace(order.filter, customer_id=found.customer_id)
    resend = replace(order, filter=chosen, since=since)
    cursors, is_cut = await asyncio.to_thread(_cursors, kafka, resend)
    its_lanes = lanes_of(found.id, await registry.cursors_of(ledger, [found.id]))
    guard = RepetitionGuard(
        ledger=ledger,
        kafka=kafka,
        subscriber_id=found.id,
        resend=resend,
        followed=[lane for lane in its_lanes if not lane.ends],
    )
    plan, published = CountedResend(name=name, resend=resend, cursors=cursors), set[str]()

    def is_wanted(event: WebhookEvent) -> bool:
        return event.is_for(found.filter) and guard.selects(event)

    reader = EventReader(codec, kafka.topics, partial(registry.brand_customers, ledger))
    async for events in _in_topics(kafka, reader, plan):
        wanted = [event for event in events if is_wanted(event)]
        published |= {event.key for event in wanted if event.type == WebhookType.OPTED_OUT}
        known = [event for event in wanted if not guard.is_waiting(event)]
        lacking = await guard.lacking(known)
        held = await holding(ledger, lacking)
        plan.waiting += len(wanted) - len(known)
        plan.overtaken += len(lacking) - len(held)
        plan.events.update((event.topic, event.type) for event in held)
    if is_cut:
        async for events in _in_history(ledger, resend):
            older = [one for one in events if is_wanted(one) and one.key not in published]
            lacking = await guard.lacking(older)
            plan.older += [event.key for event in lacking]
            plan.events.update((event.topic, event.type) for event in lacking)
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


async def _in_topics(
    kafka: KafkaSettings, reader: EventReader, plan: CountedResend
) -> AsyncIterator[Sequence[WebhookEvent]]:
    """Yield what the topics have between the cursors of ``plan``, of all subscribers."""
    source = LaneSource(
        lane=DeliveryLane.of(0, LaneName.RESEND, plan.cursors),
        feed=None,
        reader=reader,
        settings=kafka,
        turns=asyncio.Semaphore(),
        caught_up_at=plan.resend.ordered_at,
        only_changes=plan.resend.only_missing,
    )
    try:
        while source.lane.ends and not source.lane.is_read:
            taken = await source.take(_PAGE)
            yield taken.events
            source.lane.move_all(taken.positions)
    finally:
        await source.release()


async def _in_history(ledger: Ledger, resend: Resend) -> AsyncIterator[Sequence[WebhookEvent]]:
    """Yield the latest opt-outs of those who may not be messaged, that came in its time."""
    # What came within a day is in the topic, or on its way there.
    until = min(resend.until or resend.ordered_at, resend.ordered_at - _RECENT)
    async for rows in resends.opted_out(ledger, resend):
        yield [
            event
            for event, came_at in await opt_outs_of(ledger, rows)
            if came_at is None or (resend.since or came_at) <= came_at < until
        ]
