"""What others write to our topics, written as they write it: the order stage, the outbox, the gate;
and a gate that follows it. Topics are cut and deleted as others do it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from izin.consent import AdmittedEvent, ConsentKey, Status, decide
from izin.gate.state import GateState, KeyFacts
from izin.kafka import clients
from izin.kafka.clients import TopicIdentities, admin, consumer, identities, producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import ApiKey
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.schemas.partitioning import partition_of
from izin.schemas.records import Headers, event_to_avro, headers
from izin.schemas.topics import Topic
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    a_key,
    a_phone,
    an_event,
    as_admitted,
    usual,
)
from tests.support.waiting import until


def key_of(number: int = 1, **overrides: object) -> ConsentKey:
    """Return the key of a number."""
    return a_key(recipient=a_phone(number), **overrides)


def _fields(key: ConsentKey) -> dict[str, Any]:
    return {
        "customer_id": CUSTOMER,
        "brand_code": key.brand_code,
        "type": str(key.channel),
        "recipient_type": str(key.recipient_type),
        "recipient": key.recipient,
    }


def an_opt_out(key: ConsentKey, at: datetime = NOON, **overrides: object) -> dict[str, Any]:
    """Return the Avro Consent of a RET at ``at``."""
    return {
        **_fields(key),
        "status": "RET",
        "previous_status": "ONAY",
        "effective_at": at,
        "origin_rank": 2,
        "event_id": f"event-{at.isoformat()}",
        "origin": "iys",
        "source": "IYS_WEB",
        "consent_date": at,
        "registrable": True,
        "latest_onay_at": at - timedelta(days=1),
        "latest_ret_at": at,
        "law_version": 2,
        **overrides,
    }


def a_permission(key: ConsentKey, at: datetime = NOON, **overrides: object) -> dict[str, Any]:
    """Return the Avro Permission by a consent that was given and registered at ``at``."""
    return {
        **_fields(key),
        "may_send": True,
        "reason": "registered",
        "desired": "ONAY",
        "registered": "ONAY",
        "registered_at": at,
        "consent_date": at,
        "since": at + timedelta(seconds=1),
        **overrides,
    }


def no_permission(
    key: ConsentKey, reason: str = "opted-out", **overrides: object
) -> dict[str, Any]:
    """Return the Avro Permission that denies."""
    return a_permission(key, may_send=False, reason=reason, **overrides)


def an_outcome(key: ConsentKey, **overrides: object) -> dict[str, Any]:
    """Return the Avro Outcome of a saved event."""
    return {
        **_fields(key),
        "outcome_id": "outcome-1",
        "event_id": "event-1",
        "outcome": "accepted",
        "status": "ONAY",
        "code": None,
        "message": None,
        "request_id": None,
        "transaction_id": "transaction-1",
        "creation_date": NOON,
        "attempt": 1,
        "origin": "web",
        "origin_ref": "signup-1",
        "occurred_at": NOON,
        **overrides,
    }


Keyed = tuple[ConsentKey | str, dict[str, Any]]
"""A record with its key."""


class TopicWriter:
    """Writes records with the headers that ours have, each with an id of its own."""

    def __init__(self, settings: KafkaSettings, codec: Codec | None = None) -> None:
        self.topics = settings.topics
        self._codec = codec or Codec()
        self._settings = settings
        self._producer = producer(settings)
        self._count = 0

    def opt_out(self, *keys: ConsentKey, at: datetime = NOON) -> None:
        """Write an opt-out of each key."""
        self.write(self.topics.opt_outs, ((one, an_opt_out(one, at)) for one in keys))

    def permit(self, *keys: ConsentKey, at: datetime = NOON) -> None:
        """Write a permission for each key, by a consent at ``at``."""
        self.write(self.topics.permissions, ((one, a_permission(one, at)) for one in keys))

    def deny(self, *keys: ConsentKey, reason: str = "opted-out") -> None:
        """Write for each key that there is no permission."""
        self.write(self.topics.permissions, ((one, no_permission(one, reason)) for one in keys))

    def erase(self, key: ConsentKey) -> None:
        """Write the tombstone of a permission."""
        self.raw(self.topics.permissions, key.encode(), None)

    def write(self, topic: Topic, records: Iterable[Keyed]) -> None:
        """Write records and wait until the broker has them."""
        self._produce(self._producer, topic, records)
        assert self._producer.flush(20) == 0

    def encode(self, topic: Topic, record: dict[str, Any]) -> bytes:
        """Return a record of ``topic`` as it is in Kafka."""
        return self._codec.encode(topic.record, record)

    def raw(self, topic: Topic, key: bytes | None, value: bytes | None, **named: Any) -> None:  # noqa: ANN401  # a producer's
        """Write any bytes and wait until the broker has them."""
        self._producer.produce(topic.name, key=key, value=value, **named)
        assert self._producer.flush(20) == 0

    def in_transaction(self, topic: Topic, records: Iterable[Keyed], *, commit: bool) -> None:
        """Write records in a transaction, and commit or abort it."""
        self._count += 1
        client = transaction(self._settings, f"{topic.name}-{self._count}-{commit}")
        self._produce(client, topic, records)
        client.flush(20)
        if commit:
            client.commit_transaction(20)
        else:
            client.abort_transaction(20)

    def _produce(
        self,
        client: Producer,
        topic: Topic,
        records: Iterable[Keyed],
    ) -> None:
        for key, record in records:
            value = self.encode(topic, record)
            client.produce(topic.name, key=key.encode(), value=value, headers=self._headers(topic))
            client.poll(0)

    def _headers(self, topic: Topic) -> Headers:
        self._count += 1
        return headers(
            record=topic.record, event_id=f"record-{self._count}", source="/izin/test", at=NOON
        )


def produce(settings: KafkaSettings, topic: str, *values: bytes | None, **more: Any) -> None:  # noqa: ANN401  # a producer's
    """Write ``values``, each with the same key, partition or headers; wait for the broker."""
    client = producer(settings)
    for value in values:
        client.produce(topic, value=value, **more)
    assert client.flush(20) == 0


def transaction(settings: KafkaSettings, name: str, **options: object) -> Producer:
    """Return a producer that has begun a transaction under an id of this ``name``."""
    client = producer(settings, **{"transactional.id": f"{settings.topic_prefix}{name}"}, **options)
    client.init_transactions(20)
    client.begin_transaction()
    return client


def remove_below(settings: KafkaSettings, topic: str, ends: Mapping[int, int]) -> None:
    """Remove the records below an offset of each partition, as retention does."""
    client = admin(settings)  # gone, it would take the answer with it
    places = [TopicPartition(topic, number, end) for number, end in ends.items()]
    for removed in client.delete_records(places).values():
        removed.result(20)


def delete_topics(settings: KafkaSettings, *some: str) -> None:
    """Delete our topics, or ``some`` of them; return once the broker has them no more."""
    client = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    names = [*some] or [one.name for one in settings.topics]
    for deleted in client.delete_topics(names).values():
        deleted.result(20)
    until(lambda: not set(names) & set(client.list_topics(timeout=10).topics))


_BRAND: dict[str, Any] = {
    "brand_code": BRAND,
    "iys_code": 200001,
    "customer_id": CUSTOMER,
    "name": "Example",
    "activated_at": None,
    "loading_deadline": None,
    "status": "active",
    "suspension": None,
}


def publish_brand(settings: KafkaSettings, **overrides: object) -> None:
    """Publish the record of the brand of the builders, so that producers and readers know it."""
    record = _BRAND | overrides
    key, value = str(record["brand_code"]).encode(), Codec().encode("Brand", record)
    produce(settings, settings.topics.brands.name, value, key=key)


def publish_key(settings: KafkaSettings, key: ApiKey) -> None:
    """Publish the record of ``key`` as the sinks do."""
    value = Codec().encode("ApiKey", key.to_avro())
    produce(settings, settings.topics.api_keys.name, value, key=key.id.encode())


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
        self.raw(self.topics.brands, str(BRAND).encode(), CODEC.encode("Brand", _BRAND | overrides))

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
        fields, current = _fields(key), None
        if after is not None:
            current = decide(None, admitted(after, Status.ONAY, **fields)).consent
        record = a_decision_record(decide(current, admitted(at, status, **fields)))
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
        client = transaction(self.settings, f"{topic.name}-{self._count}-open")
        client.produce(topic.name, value, key, partition)
        assert client.flush(20) == 0
        try:
            yield
        finally:
            client.abort_transaction(20)


def admitted(at: datetime, status: Status, **fields: object) -> AdmittedEvent:
    """Return the admitted event of `an_event`, given, received and appended at ``at``."""
    return as_admitted(an_event(status=status, consent_date=at, received_at=at, **fields), at)


def event_value(key: ConsentKey, status: str = "RET", **overrides: object) -> bytes:
    """Return an event of a key as it is in Kafka."""
    return CODEC.encode(
        "ConsentEvent",
        event_to_avro(an_event(**usual(overrides, **_fields(key), status=status))),
    )


def keys_in(
    partition: int, first: int = 0, *, partitions: int = PARTITIONS
) -> Iterator[ConsentKey]:
    """Return keys that belong to a partition, from a number on."""
    keys = map(key_of, count(first))
    return (one for one in keys if partition_of(one.encode(), partitions) == partition)


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


def says_yes(key_facts: KeyFacts) -> bool:
    """Whether nothing of the key stands against a message."""
    return key_facts.reason == "registered" and not key_facts.opted_out


def current(state: GateState) -> Mapping[int, bool]:
    """Return by partition whether it is current."""
    return {number: state.is_current(number) for number in range(PARTITIONS)}


def a_receipt(number: int = 1, **overrides: object) -> dict[str, Any]:
    """Return the record of a whole list, of two recipients."""
    return {
        "receipt_id": f"019d1f5e-0000-7000-8000-{number:012}",
        "index": None,
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": None,
        "may_send": None,
        "reason": None,
        "recipients": 2,
        "reasons": {"registered": 1, "opted-out": 1},
        "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "message_class": "commercial",
        "basis": None,
        "campaign": "spring",
        "retailer_code": None,
        "asked_by": "campaigns",
        "asked_at": NOON,
        "as_of": "not-a-real-token",
        **overrides,
    }


def a_decision_receipt(number: int = 1, **overrides: object) -> dict[str, Any]:
    """Return the record of one recipient, who was asked about alone."""
    return a_receipt(
        number,
        **usual(
            overrides,
            index=0,
            recipient=PHONE,
            may_send=True,
            reason="exempt",
            recipients=1,
            reasons={"exempt": 1},
            message_class="delivery",
            basis="order 17",
        ),
    )


def publish_receipts(
    settings: KafkaSettings,
    receipts: Collection[dict[str, Any] | bytes],
    *,
    partition: int | None = None,
) -> None:
    """Publish receipts, or bytes in place of one, to their topic."""
    producer, codec = clients.producer(settings), Codec()
    for one in receipts:
        value = one if isinstance(one, bytes) else codec.encode("GateReceipt", one)
        key = b"junk" if isinstance(one, bytes) else one["receipt_id"].encode()
        where = {} if partition is None else {"partition": partition}
        producer.produce(settings.topics.gate_receipts.name, value, key=key, **where)
    assert producer.flush(20) == 0
