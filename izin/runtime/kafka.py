"""Kafka clients of this installation, and what they say of its topics.

:mod:`izin.runtime.kafka_clients` has their defaults, :mod:`izin.runtime.topic_admin` creates and
checks the topics. All of them take the settings as they are.
"""

from collections.abc import Mapping
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from izin.runtime import kafka_clients
from izin.runtime.broker_faults import broker_errors, missing_topic, reason, while_leaders_move
from izin.runtime.kafka_clients import Brokers, admin, consumer, producer
from izin.runtime.kafka_environment import KafkaAccess
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

__all__ = ("admin", "broker_errors", "consumer", "producer", "reason")
TIMEOUT = 15.0
"""Seconds that one request to the broker may take."""


def codec(settings: KafkaSettings) -> Codec:
    """Return the codec of this installation; raises as ``KafkaAccess.codec`` does."""
    return access_of(settings).codec()


def access_of(settings: KafkaSettings) -> KafkaAccess:
    """Return how ``settings`` say that brokers, topics and schema registry are reached."""
    username, password = settings.registry_username, settings.registry_password
    return KafkaAccess(
        bootstrap_servers=settings.bootstrap_servers,
        options=settings.options,
        topic_prefix=settings.topic_prefix,
        registry_url=settings.registry_url,
        registry_login=(username, password.get_secret_value()) if username and password else None,
        registry_ca_file=settings.registry_ca_file,
        schema_folder=settings.schema_folder,
    )


def committed_ends(settings: KafkaSettings, topic: str) -> Mapping[int, int]:
    """Return the last stable offset of each partition of ``topic``; raises as ``watermarks``."""
    return {number: end for number, (_, end) in watermarks(settings, topic).items()}


def watermarks(brokers: Brokers, topic: str) -> Mapping[int, tuple[int, int]]:
    """Return the log start and the last stable offset of each partition of ``topic``.

    Raises:
        BrokerError: the broker cannot be reached, or has no such topic.
    """
    client = kafka_clients.consumer(brokers, "izin-ends", **{"allow.auto.create.topics": False})
    with closing(client), broker_errors(brokers):
        return watermarks_of(client, topic)


def watermarks_of(client: Consumer, topic: str) -> Mapping[int, tuple[int, int]]:
    """Return the same, of what ``client`` reads.

    Raises:
        BrokerError: there is no such topic.
        KafkaException: the broker cannot be reached, or refuses the request.
    """
    found = client.list_topics(topic, timeout=TIMEOUT).topics[topic]
    if found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise missing_topic(topic)
    if found.error is not None and not found.partitions:
        raise KafkaException(found.error)
    return {
        number: partition_watermarks(client, TopicPartition(topic, number))
        for number in found.partitions
    }


@while_leaders_move
def partition_watermarks(
    client: Consumer, partition: TopicPartition, *, timeout: float = TIMEOUT
) -> tuple[int, int]:
    """Return where ``partition`` begins and ends for ``client``; raises KafkaException."""
    start, end = client.get_watermark_offsets(partition, timeout=timeout)
    return int(start), int(end)
