"""Fetched records, as the guard and the fold see them."""

from collections.abc import Sequence
from dataclasses import dataclass

from izin.consent.model import ConsentEvent
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from tests.support.builders import NOON, an_event

APPENDED = int(NOON.timestamp() * 1000) + 3 * 3_600_000
"""Three hours after the statements of tests are made."""
TOPIC = "consent-events"
EXPRESS = "consent-events-express"


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What aiokafka's ConsumerRecord says, and nothing else."""

    topic: str = TOPIC
    partition: int = 0
    offset: int = 0
    timestamp: int = APPENDED
    key: bytes | None = b"any"
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def a_record(codec: Codec, event: ConsentEvent | None = None, **fields: object) -> Fetched:
    """Return a record that carries `event`, an ONAY unless given."""
    value = codec.encode("ConsentEvent", event_to_avro(event or an_event()))
    return Fetched(**{"value": value, **fields})
