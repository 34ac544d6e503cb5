"""Generate traffic for both lanes, with duplicates and undecodable records among it; or junk."""

from datetime import timedelta
from random import Random

from izin.consent import ConsentEvent, Status
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from tests.support.builders import NOON, an_event, an_iys_event, an_iys_origin

_ROUTINE, _REPEATED, _RUBBISH, _MISPLACED = 0.75, 0.93, 0.95, 0.97


class Traffic:
    """The same events for the same seed, published as any producer would."""

    def __init__(
        self, settings: KafkaSettings, codec: Codec, *, seed: int, recipients: int
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._random = Random(seed)
        self._recipients = recipients
        self._recent: list[ConsentEvent] = []
        self._made = 0
        self.failures: list[str] = []
        self._producer = kafka.producer(settings)

    def publish(self, count: int) -> None:
        """Publish so many events, and wait until the broker has them."""
        for _ in range(count):
            self._publish_one()
        self._producer.poll(0.02)
        assert self._producer.flush(90) == 0
        assert not self.failures

    def _publish_one(self) -> None:
        roll, topics = self._random.random(), self._settings.topics
        if roll > _REPEATED and self._recent:
            event = self._random.choice(self._recent)
        else:
            event = self._new()
            self._recent = [*self._recent[-200:], event]
        value = self._codec.encode("ConsentEvent", event_to_avro(event))
        if _ROUTINE < roll < _ROUTINE + 0.01:
            value = value[:20]
        urgent = event.status == "RET" and self._random.random() < 0.8
        key = f"{event.brand_code}/{event.type}/{event.recipient_type}/{event.recipient}"
        if _RUBBISH < roll < _MISPLACED:
            key = event.event_id
        self._producer.produce(
            (topics.express if urgent else topics.events).name,
            key=key,
            value=value,
            on_delivery=lambda error, _: self.failures.append(error.str()) if error else None,
        )
        self._producer.poll(0)

    def _new(self) -> ConsentEvent:
        self._made += 1
        random = self._random
        # Time advances, or in a long run no event would be newer than the state.
        at = NOON + timedelta(seconds=self._made // 4 + random.randrange(600))
        recipient = f"+90555{random.randrange(self._recipients):07d}"
        event_id = f"event-{self._made:07d}"
        if random.random() < 0.1:
            return an_iys_event(
                event_id=event_id,
                recipient=recipient,
                consent_date=at,
                received_at=at + timedelta(seconds=2),
                iys=an_iys_origin(creation_date=at),
            )
        return an_event(
            event_id=event_id,
            recipient=recipient,
            status="RET" if random.random() < 0.4 else "ONAY",
            # One in fifty has no date: a RET counts from its receipt, an ONAY is refused.
            consent_date=None if random.random() < 0.02 else at,
            received_at=at + timedelta(seconds=2),
        )


def flood(settings: KafkaSettings, partition: int, *, undecodable: int, refused: int) -> bool:
    """Publish so many of each to `partition` of each lane; return whether the broker took all."""
    # An opt-in without a date is refused.
    event = an_event(event_id="refused", status=Status.ONAY, consent_date=None)
    value = Codec().encode("ConsentEvent", event_to_avro(event))
    producer, topics = kafka.producer(settings), settings.topics
    values = [b"junk"] * undecodable + [value] * refused
    failures: list[str] = []
    for lane in (topics.express.name, topics.events.name):
        for one in values:
            producer.produce(
                lane,
                value=one,
                key=b"junk",
                partition=partition,
                on_delivery=lambda error, _: failures.append(error.str()) if error else None,
            )
        producer.poll(0)
    return producer.flush(90) == 0 and not failures
