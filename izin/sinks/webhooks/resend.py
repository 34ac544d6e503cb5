"""Where a subscriber begins: at the end of the topics, or where a resend is ordered from."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime

from confluent_kafka import Message

from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_identity import TopicIdentities
from izin.sinks.ingest.topic_reader import identities_of
from izin.sinks.ledger.webhooks.subscriber import DeliveryCursor, LaneName
from izin.sinks.record.errors import StreamUnavailableError
from izin.sinks.webhooks.events import EventReader, WebhookEvent, lanes
from izin.sinks.webhooks.partitions import (
    PartitionReader,
    Place,
    bounds,
    offsets_at,
    places_of,
)

_MOST = 1000
_WAIT = 1.0
_SILENT_AFTER = 15
"""Polls without a record, after which Kafka counts as out of reach."""


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


def cursors_since(settings: KafkaSettings, since: datetime | None) -> list[DeliveryCursor]:
    """Return the cursors of a resend of what was appended ``since`` then and is there now; None:
    of everything that is kept.

    Raises:
        StreamUnavailableError: Kafka does not answer.
    """
    found = identities_of(
        settings, [one for some in lanes(settings.topics).values() for one in some]
    )
    kept = bounds(settings, places_of(found))
    firsts = {} if since is None else offsets_at(settings, kept, since)
    cursors = []
    for place, (start, end) in kept.items():
        first = firsts.get(place, start)
        begin = end if first is None else max(first, start)
        cursors.append(_cursor(LaneName.RESEND, place, found, begin, end))
    return cursors


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
