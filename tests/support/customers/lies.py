"""What lies about its customer: events and records of a brand that name another's customer.

Whoever may publish for one brand can write any customer into an event, and with it into all that
is made of the event. Whose it is, the brand says.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from izin.consent import ConsentEvent
from izin.runtime.kafka import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import AvroRecord, event_to_avro, headers
from izin.schemas.topics import Topic
from tests.support.builders import CUSTOMER, an_event
from tests.support.customers.installation import FOREIGN_BRAND, OneBrand
from tests.support.replay.dead_letters import a_letter_of
from tests.support.subscribers.published import a_permission, an_opt_out, an_outcome

UNREGISTERED_BRAND = 940099
FOREIGN_CUSTOMER = "foreign-2"
"""Whose ``FOREIGN_BRAND`` is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """Something of a brand that names another customer."""

    brand: OneBrand
    named: str
    recipient: str

    def event(self, status: str = "RET") -> ConsentEvent:
        """Return an event of the recipient, as it was published."""
        at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=20)
        return an_event(
            customer_id=self.named,
            brand_code=self.brand.code,
            recipient=self.recipient,
            status=status,
            event_id=f"lie-{self.recipient[-5:]}",
            origin="crm" if self.brand.is_ours else f"crm-{self.brand.customer}",
            consent_date=at,
            received_at=at,
        )

    def records(self, kafka: KafkaSettings) -> Iterator[tuple[Topic, AvroRecord]]:
        """Yield what an order stage and sinks of an earlier release made of it."""
        topics, key, now = kafka.topics, self.brand.key(self.recipient), datetime.now(UTC)
        whose = {"customer_id": self.named}
        yield topics.permissions, a_permission(key, now, **whose)
        named = {"event_id": self.event().event_id, "outcome_id": f"o-lie-{self.recipient[-5:]}"}
        yield topics.outcomes, an_outcome(key, **whose, **named)
        yield topics.opt_outs, an_opt_out(key, now, **whose, event_id=self.event().event_id)


def lies(brands: Sequence[OneBrand]) -> tuple[Lie, ...]:
    """Return a lie of a brand of ours, of another's, and of one that is not registered."""
    theirs = next(one for one in brands if one.code == FOREIGN_BRAND)
    nobodys = replace(theirs, code=UNREGISTERED_BRAND, customer="foreign-nobody")
    return (
        Lie(brand=brands[0], named=FOREIGN_CUSTOMER, recipient="+905551000019"),
        Lie(brand=theirs, named=CUSTOMER, recipient="+905590010377"),
        Lie(brand=nobodys, named=CUSTOMER, recipient="+905590990377"),
    )


def of_others(brands: Sequence[OneBrand]) -> tuple[Lie, ...]:
    """Return those that name ours. What an event of our own brand names, is ours: the archive has
    it in the bytes of its decision, and a plan in what it repairs.
    """
    return tuple(one for one in lies(brands) if not one.brand.is_ours)


def publish(kafka: KafkaSettings, lying: Sequence[Lie]) -> None:
    """Publish lies: events, and what was made of them."""
    topics = kafka.topics
    _write(
        kafka,
        (
            (topic, one, record)
            for one in lying
            for topic, record in (
                (topics.events, event_to_avro(one.event())),
                *one.records(kafka),
            )
        ),
    )


def publish_letters(kafka: KafkaSettings, lying: Sequence[Lie]) -> None:
    """Publish dead letters of what is another's, behind all others."""
    place = {
        "topic": kafka.topics.events.name,
        "timestamp": int(datetime.now(UTC).timestamp() * 1000),
    }
    _write(
        kafka,
        (
            (kafka.topics.dead_letters, one, a_letter_of(one.event(), "poison", **place))
            for one in lying
        ),
        partition=0,
    )


def _write(
    kafka: KafkaSettings, records: Iterable[tuple[Topic, Lie, AvroRecord]], **where: int
) -> None:
    client, codec = producer(kafka), Codec()
    for topic, one, record in records:
        key = str(one.brand.key(one.recipient))
        about = headers(
            record=topic.record, event_id=f"lie {key}", source="/izin/test", at=datetime.now(UTC)
        )
        value = codec.encode(topic.record, record)
        client.produce(topic.name, value, key.encode(), headers=about, **where)
    assert client.flush(20) == 0
