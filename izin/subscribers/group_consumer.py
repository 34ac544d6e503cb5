"""A consumer of a subscriber's group, and which of its faults a person must look at."""

from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from izin.runtime.broker_faults import broker_errors, is_unreadable
from izin.runtime.errors import BrokerError
from izin.runtime.kafka_clients import KafkaConnection, consumer
from izin.runtime.plain_log import PlainLogger
from izin.subscribers.errors import CheckpointLostError

_TIMEOUT = 15.0
_OPTIONS: dict[str, Any] = {
    "allow.auto.create.topics": False,
    "auto.offset.reset": "error",
    # What is confirmed is stored; librdkafka commits that, also when partitions are revoked.
    "enable.auto.commit": True,
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": 1000,
    "partition.assignment.strategy": "cooperative-sticky",
    # The opt-outs of an instance that was killed wait for so long.
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1000,
    # Compressed records grow tenfold.
    "queued.max.messages.kbytes": 8 * 1024,
    "fetch.message.max.bytes": 64 * 1024,
    "fetch.wait.max.ms": 100,
}
_REFUSED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""The codes of what waiting does not change."""


_log = PlainLogger(__name__)


def group_consumer(connection: KafkaConnection, subscriber: str, topic: str) -> Consumer:
    """Return a consumer of the group ``<subscriber>-<topic>``.

    Raises:
        BrokerError: Kafka cannot be reached, or the topic does not exist.
    """
    client = consumer(connection, f"{subscriber}-{topic}", **_OPTIONS)
    try:
        _require(client, connection, topic)
    except BrokerError:
        client.close()
        raise
    return client


def _require(client: Consumer, connection: KafkaConnection, topic: str) -> None:
    with broker_errors(connection):
        found = client.list_topics(topic, timeout=_TIMEOUT).topics[topic]
    if found.error is not None:
        raise BrokerError(
            f"topic {topic} does not exist or may not be read; is the topic prefix "
            "(IZIN_TOPIC_PREFIX) right, and may this user read it?"
        )


def judge(fault: KafkaError, subscriber: str, message: Message) -> None:
    """Raise the ``fault`` that was polled as ``message``, unless it passes by itself, or is of a
    batch that cannot be unpacked: its partition waits there.

    Raises:
        CheckpointLostError: what follows a checkpoint is gone.
        KafkaException: Kafka refuses to serve the subscriber.
    """
    code = fault.code()
    if is_unreadable(message):
        return
    if code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # librdkafka's name for it
        raise CheckpointLostError(subscriber, message.topic() or "", message.partition() or 0)
    if fault.fatal() or code in _REFUSED:
        raise KafkaException(fault)
    _log.warning("topic not read", subscriber=subscriber, error=fault.str())
