"""Where a subscriber begins: at the end of the topics, or where a resend is ordered from."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import KafkaException, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec

from izin.kafka.partition_client import Place
from izin.runtime.kafka import TIMEOUT, admin
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import TopicIdentities
from izin.schemas.partitioning import partition_of
from izin.sinks.ingest.topic_reader import identities_of
from izin.sinks.ledger.webhooks.errors import UnknownPlaceError
from izin.sinks.ledger.webhooks.subscriber import DeliveryCursor, LaneName
from izin.sinks.record.errors import StreamUnavailableError
from izin.sinks.webhooks.events import EventReader, WebhookEvent, lanes
from izin.sinks.webhooks.partitions import (
    PartitionReader,
    bounds,
    offsets_at,
    places_of,
)

_MOST = 1000
_WAIT = 1.0
_SILENT_AFTER = 15
"""Polls without a record, after which Kafka counts as out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRange:
    """Some records of one partition."""

    place: Place
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendPeriod:
    """When what is sent again was appended to its topic; what is not given does not limit it."""

    since: datetime | None = None
    until: datetime | None = None
    """Without this instant itself."""
    ranges: Sequence[OffsetRange] = ()
    """At most one of a partition; none: every partition."""


def cursors_at_end(settings: KafkaSettings) -> list[DeliveryCursor]:
    """Return the cursors of a subscriber that gets what comes from now on.

    Raises:
        StreamUnavailableError: Kafka does not answer.
    """
    by_lane = lanes(settings.topics)
    found = identities_of(settings, [topic for topics in by_lane.values() for topic in topics])
    ends = {place: end for place, (_, end) in bounds(settings, places_of(found)).items()}
    return [
        _cursor(lane, place, found, end)
        for lane, topics in by_lane.items()
        for place, end in ends.items()
        if place[0] in topics
    ]


def cursors_of(
    settings: KafkaSettings, period: ResendPeriod, keys: Collection[str] | None = None
) -> list[DeliveryCursor]:
    """Return the cursors of a resend of what ``period`` has and is there now; with ``keys`` only of
    the partitions that these belong to.

    Raises:
        UnknownPlaceError: a range of offsets is of no partition that webhooks are made of.
        StreamUnavailableError: Kafka does not answer.
    """
    found = identities_of(
        settings, [one for some in lanes(settings.topics).values() for one in some]
    )
    places = places_of(found)
    for one in period.ranges:
        if one.place not in places:
            raise UnknownPlaceError(one.place, sorted(found.partitions))
    kept = bounds(settings, places)
    firsts = {} if period.since is None else offsets_at(settings, kept, period.since)
    lasts = {} if period.until is None else offsets_at(settings, kept, period.until)
    ranges = {one.place: one for one in period.ranges}
    chosen = _partitions_of(keys, found)
    cursors = []
    for place, (start, end) in kept.items():
        if (ranges and place not in ranges) or (chosen and place not in chosen):
            continue
        first, last = firsts.get(place, start), lasts.get(place)
        begin = end if first is None else max(first, start)
        stop = end if last is None else min(last, end)
        if place in ranges:
            begin, stop = max(begin, ranges[place].first), min(stop, ranges[place].last + 1)
        if begin < stop:
            cursors.append(_cursor(LaneName.RESEND, place, found, begin, stop))
    return cursors


def _partitions_of(keys: Collection[str] | None, found: TopicIdentities) -> set[Place]:
    return {
        (topic, partition_of(key.encode(), count))
        for key in keys or ()
        for topic, count in found.partitions.items()
    }


def opt_outs_reach(settings: KafkaSettings, *, now: datetime) -> Mapping[int, datetime]:
    """Return, of each partition of the topic of opt-outs from which retention has removed some,
    since when it has them.

    Raises:
        StreamUnavailableError: Kafka does not answer.
    """
    topic = settings.topics.opt_outs.name
    kept = bounds(settings, places_of(identities_of(settings, [topic])))
    cut = {number: (start, end) for (_, number), (start, end) in kept.items() if start > 0}
    places = [TopicPartition(topic, one) for one, (start, end) in cut.items() if start < end]
    reach = dict.fromkeys(cut, now)
    client = admin(settings)  # kept until it has answered
    try:
        spec = dict.fromkeys(places, OffsetSpec.for_timestamp(0))
        asked = client.list_offsets(spec, request_timeout=TIMEOUT) if places else {}
        for place, answer in asked.items():
            appended = answer.result(TIMEOUT).timestamp / 1000
            reach[place.partition] = datetime.fromtimestamp(appended, UTC)
    except KafkaException as error:
        raise StreamUnavailableError(f"webhooks: {error.args[0].str()}") from error
    return reach


def _cursor(
    lane: str, place: Place, found: TopicIdentities, at: int, end: int | None = None
) -> DeliveryCursor:
    return DeliveryCursor(
        subscriber_id=0,
        lane=lane,
        topic=place[0],
        partition=place[1],
        cluster_id=found.cluster_id,
        topic_id=found.topic_ids[place[0]],
        next_offset=at,
        end_offset=end,
    )


async def events_of(
    settings: KafkaSettings, reader: EventReader, cursors: Sequence[DeliveryCursor]
) -> AsyncIterator[WebhookEvent]:
    """Yield the events between ``cursors`` and their ends, of all subscribers.

    Raises:
        StreamUnavailableError: Kafka does not answer.
    """
    ends = {(one.topic, one.partition): one.end_offset or 0 for one in cursors}
    begins = {(one.topic, one.partition): one.next_offset for one in cursors}
    wanted = {place: at for place, at in begins.items() if at < ends[place]}
    own, silent = PartitionReader(settings), 0
    try:
        if wanted:
            await own.open(wanted)
        while any(own.positions[place] < ends[place] for place in wanted):
            before = dict(own.positions)
            messages = await own.poll(_MOST, _WAIT)
            await reader.prepare(messages)
            for event in _within(messages, reader, ends):
                yield event
            silent = 0 if own.positions != before else silent + 1
            if silent >= _SILENT_AFTER:
                raise StreamUnavailableError("webhooks: the topics cannot be read now")
    finally:
        await own.close()


def _within(
    messages: Sequence[Message], reader: EventReader, ends: dict[Place, int]
) -> Iterator[WebhookEvent]:
    for message in messages:
        event = reader.read(message)
        if event is not None and event.offset < ends[event.place]:
            yield event
