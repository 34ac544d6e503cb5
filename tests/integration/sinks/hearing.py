"""What the tests of hearing and telling share: a Kafka that keeps all, and hours that pass."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from izin.consent.model import ConsentEvent
from izin.iys.wire_format.consents import Stream
from izin.schemas.records import event_from_avro
from izin.sinks.inbound.pull import Puller
from izin.sinks.record.messages import Message
from tests.integration.sinks.sink_harness import A_SECOND, House
from tests.support.builders import PHONE, an_event


@dataclass
class Topic:
    """A Kafka that acknowledges all and keeps it."""

    messages: list[Message] = field(default_factory=list)

    async def publish(self, messages: Iterable[Message]) -> None:
        """Take messages."""
        self.messages += messages

    def events(self, house: House) -> list[ConsentEvent]:
        """Return the consent events that were published, for the law to decide."""
        return [
            event_from_avro(house.codec.decode("ConsentEvent", one.value)) for one in self.messages
        ]


async def pull(house: House, *streams: Stream) -> list[ConsentEvent]:
    """Pull streams; return what was published, which the law has not decided yet."""
    # İYS shows what is a second old.
    house.passes(A_SECOND * 2)
    topic = Topic()
    puller = Puller(tools=house.tools, publisher=topic, interval=timedelta(0))  # type: ignore[arg-type]
    brand = await house.brand()
    for stream in streams or tuple(Stream):
        await puller.pull_stream(brand, stream, force=True)
    return topic.events(house)


def fresh(at: datetime, **more: object) -> ConsentEvent:
    """Return an ONAY given and received at ``at``."""
    return an_event(event_id="fresh", recipient=PHONE, consent_date=at, received_at=at, **more)


async def decided(house: House, events: Iterable[ConsentEvent]) -> None:
    """Have the law decide events and the ledger ingest that."""
    for event in events:
        await house.ingest(event)


def begins_a_second(house: House) -> None:
    """Have the clocks stand at the beginning of a second."""
    house.passes(A_SECOND - timedelta(microseconds=house.clock().microsecond))
