"""A consent event as a Kafka record: lane, key, bytes and headers.

Opt-outs, and events that İYS originated, take the express lane: the law gives the same result in
any order, so urgent events may overtake. ``received_at`` is set here where it is missing. The Kafka
key is the canonical key where it can be read; the order worker repartitions the rest.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from izin.consent.errors import SourceError
from izin.consent.fields import read_key
from izin.consent.making import maker
from izin.consent.model import ConsentEvent, ConsentKey, Status
from izin.schemas.cloud_events import Headers, headers
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from izin.schemas.topics import Topic, Topics


class UnencodableError(SourceError):
    """An event with a value that the schema does not allow."""

    def __init__(self, event_id: str, reason: str) -> None:
        super().__init__(f"event {event_id} does not fit the contract ConsentEvent: {reason}")
        self.event_id = event_id


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRecord:
    """An event as a Kafka record."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


_record = maker(KafkaRecord)


def lane(event: ConsentEvent, topics: Topics) -> Topic:
    """Return the topic for ``event``: express for opt-outs and for events from İYS."""
    urgent = event.iys is not None or event.status.strip().upper() == Status.RET
    return topics.express if urgent else topics.events


def kafka_record(
    event: ConsentEvent, key: ConsentKey | None, at: datetime, topics: Topics, codec: Codec
) -> KafkaRecord:
    """Return ``event`` as a Kafka record; ``at`` becomes its ``received_at`` if it has none.

    Raises:
        UnencodableError: a value does not fit the schema.
    """
    received_at = event.received_at or at
    if event.received_at is None:
        event = replace(event, received_at=at)
    topic = lane(event, topics)
    try:
        value = codec.encode(topic.record, event_to_avro(event))
    except (ValueError, TypeError, OverflowError) as error:
        raise UnencodableError(event.event_id, type(error).__name__) from error
    return _record(
        topic=topic.name,
        key=_key(event, key),
        value=value,
        headers=headers(
            record=topic.record,
            event_id=event.event_id,
            source=f"/{event.origin}",
            at=received_at,
        ),
    )


def _key(event: ConsentEvent, key: ConsentKey | None) -> bytes:
    """Return the canonical key, or if it cannot be read a stable one without the recipient."""
    key = key or read_key(event, [])
    if key is not None:
        return key.encode()
    raw = event.recipient_raw or event.recipient
    return hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest().encode()
