"""What the gate follows, written as its publishers write it, and a gate that follows it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import TopicPartition

from izin.consent import AdmittedEvent, ConsentKey, RefusedEvent, Status, admit, decide
from izin.gate.state import GateState, Standing
from izin.runtime.kafka import admin, consumer, producer
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import TopicIdentities, identities
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro
from izin.schemas.topics import Topic
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    a_decision_record,
    an_event,
)
from tests.support.subscribers.published import TopicWriter, key_of
from tests.support.waiting import until

PARTITIONS = 3
CODEC = Codec()
STALE_AFTER = timedelta(seconds=2.5)


class GateTopics(TopicWriter):
    """Writes the topics that the gate follows."""

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__(settings)
        self.settings = settings
        names = (self.topics.events.name, self.topics.express.name)
        self.identities: TopicIdentities = identities(admin(settings), names)

    def brand(self, **overrides: object) -> None:
        """Register the brand of the builders."""
        fields: dict[str, Any] = {
            "brand_code": BRAND,
            "iys_code": 200001,
            "customer_id": CUSTOMER,
            "name": "Example",
            "activated_at": None,
            "loading_deadline": None,
            "status": "active",
            "suspension": None,
        }
        value = CODEC.encode("Brand", fields | overrides)
        self.raw(self.topics.brands, str(BRAND).encode(), value)

    def pulled(self, key: ConsentKey, at: datetime) -> None:
        """Have İYS's data of the brand and channel of a key pulled at ``at``."""
        fields = {
            "customer_id": CUSTOMER,
            "brand_code": key.brand_code,
            "type": str(key.channel),
            "last_pulled_at": at,
            "pulled_until": at,
        }
        value = CODEC.encode("IysFreshness", fields)
        self.raw(self.topics.freshness, f"{key.brand_code}/{key.channel}".encode(), value)

    def event(
        self,
        key: ConsentKey,
        status: str = "RET",
        *,
        lane: Topic | None = None,
        partition: int | None = None,
        **overrides: object,
    ) -> tuple[str, int, int]:
        """Publish an event of a key on the express lane; return where it is."""
        value = event_value(key, status, **overrides)
        topic = self.topics.express if lane is None else lane
        number = partition_of(key.encode(), PARTITIONS) if partition is None else partition
        self.raw(topic, key.encode(), value, partition=number)
        return topic.name, number, self.end(topic, number) - 1

    def decision(
        self, key: ConsentKey, status: Status = Status.RET, *, at: datetime, after: datetime | None
    ) -> None:
        """Write the decision on an event of a key at ``at``, whose latest opt-in was ``after``."""
        fields: dict[str, object] = {
            "brand_code": key.brand_code,
            "type": str(key.channel),
            "recipient_type": str(key.recipient_type),
            "recipient": key.recipient,
        }
        current = None
        if after is not None:
            current = decide(None, _admitted(after, Status.ONAY, **fields)).consent
        record = a_decision_record(decide(current, _admitted(at, status, **fields)))
        self.raw(self.topics.decisions, key.encode(), CODEC.encode("Decision", record))

    def opt_out(self, *keys: ConsentKey, at: datetime = NOON) -> None:
        """Have an opt-out of each key decided, which applies."""
        for one in keys:
            self.decision(one, at=at, after=at - timedelta(days=1))

    def taken(self, *offsets: int, **overrides: object) -> None:
        """Have the ledger say that it has taken the decisions below ``offsets``, by partition."""
        found = identities(admin(self.settings), [self.topics.decisions.name])
        fields: dict[str, Any] = {
            "cluster_id": found.cluster_id,
            "decisions_topic_id": found.topic_ids[self.topics.decisions.name],
            "decisions_offsets": offsets,
        }
        value = CODEC.encode("LedgerPositions", fields | overrides)
        self.raw(self.topics.ledger_positions, b"ledger", value)

    def end(self, topic: Topic, partition: int) -> int:
        """Return where a partition ends, transactions that have not ended included."""
        client = consumer(self.settings, "test", **{"isolation.level": "read_uncommitted"})
        try:
            place = TopicPartition(topic.name, partition)
            return int(client.get_watermark_offsets(place, timeout=10)[1])
        finally:
            client.close()

    def decide(self, partition: int, **overrides: object) -> None:
        """Have the order stage decide all of a partition number that is on both lanes."""
        fields: dict[str, Any] = {
            "cluster_id": self.identities.cluster_id,
            "events_topic_id": self.identities.topic_ids[self.topics.events.name],
            "express_topic_id": self.identities.topic_ids[self.topics.express.name],
            "desired_consents_topic_id": "desired",
            "events_offset": self.end(self.topics.events, partition),
            "express_offset": self.end(self.topics.express, partition),
            "law_version": 1,
        }
        value = CODEC.encode("Positions", fields | overrides)
        self.raw(self.topics.positions, str(partition).encode(), value, partition=partition)

    @contextmanager
    def open_transaction(
        self, topic: Topic, partition: int, key: bytes, value: bytes
    ) -> Iterator[None]:
        """Have a record in a transaction that does not end; it is aborted with the context."""
        self._count += 1
        client = producer(self.settings, **{"transactional.id": f"{topic.name}-{self._count}-open"})
        client.init_transactions(20)
        client.begin_transaction()
        client.produce(topic.name, value, key, partition)
        assert client.flush(20) == 0
        try:
            yield
        finally:
            client.abort_transaction(20)


def _admitted(at: datetime, status: Status, **fields: object) -> AdmittedEvent:
    event = an_event(status=status, consent_date=at, received_at=at, **fields)
    admitted = admit(event, appended_at=at)
    assert not isinstance(admitted, RefusedEvent), admitted.violations
    return admitted


def event_value(key: ConsentKey, status: str = "RET", **overrides: object) -> bytes:
    """Return an event of a key as it is in Kafka."""
    fields: dict[str, object] = {
        "brand_code": key.brand_code,
        "type": str(key.channel),
        "recipient_type": str(key.recipient_type),
        "recipient": key.recipient,
        "status": status,
    }
    return CODEC.encode("ConsentEvent", event_to_avro(an_event(**fields | overrides)))


def keys_in(partition: int, first: int = 0) -> Iterator[ConsentKey]:
    """Yield keys that belong to a partition, from a number on."""
    number = first
    while True:
        key = key_of(number)
        if partition_of(key.encode(), PARTITIONS) == partition:
            yield key
        number += 1


@contextmanager
def following(
    settings: KafkaSettings,
    codec: Codec = CODEC,
    stale_after: timedelta = STALE_AFTER,
    suppressions: SuppressionKeys = NO_SUPPRESSIONS,
) -> Iterator[GateState]:
    """Yield a gate's state that is read, and follows."""
    state = GateState(settings, codec, stale_after=stale_after, suppressions=suppressions)
    with state.following():
        yield state


def shown(effect: Callable[[], bool], *, within: float = 20) -> None:
    """Return once the effect is there."""
    until(effect, within=within)


def says_yes(standing: Standing) -> bool:
    """Whether nothing of the key stands against a message."""
    return standing.reason == "registered" and not standing.opted_out


def current(state: GateState) -> Mapping[int, bool]:
    """Return by partition whether it is current."""
    return {number: state.is_current(number) for number in range(PARTITIONS)}
