"""Junk on one partition of both lanes: records that nobody can decode, and refused ones."""

from izin.consent import Status
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from tests.support.builders import an_event


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
