"""What subscribers read, written as the order stage and the outbox write it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import Producer

from izin.consent import ConsentKey
from izin.runtime.kafka import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import Headers, headers
from izin.schemas.topics import Topic
from tests.support.builders import CUSTOMER, NOON, a_key


def a_recipient(number: int) -> str:
    """Return one of a million phone numbers that nobody has."""
    return f"+90555{number:07}"


def key_of(number: int = 1, **overrides: object) -> ConsentKey:
    """Return the key of a number."""
    return a_key(recipient=a_recipient(number), **overrides)


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

    def write(self, topic: Topic, records: Iterable[tuple[ConsentKey, dict[str, Any]]]) -> None:
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

    def in_transaction(
        self, topic: Topic, records: Iterable[tuple[ConsentKey, dict[str, Any]]], *, commit: bool
    ) -> None:
        """Write records in a transaction, and commit or abort it."""
        self._count += 1
        client = producer(
            self._settings, **{"transactional.id": f"{topic.name}-{self._count}-{commit}"}
        )
        client.init_transactions(20)
        client.begin_transaction()
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
        records: Iterable[tuple[ConsentKey, dict[str, Any]]],
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
