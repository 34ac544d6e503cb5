"""Kafka clients of this installation, and what they say of its topics.

:mod:`izin.runtime.kafka_clients` has their defaults, :mod:`izin.runtime.topic_admin` creates and
checks the topics.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from izin.runtime import broker_faults, kafka_clients
from izin.runtime.broker_faults import missing_topic, while_leaders_move
from izin.runtime.kafka_clients import KafkaConnection
from izin.runtime.kafka_environment import KafkaAccess
from izin.runtime.setting_rules.checks import security_options_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

TIMEOUT = 15.0
"""Seconds that one request to the broker may take."""


@contextmanager
def broker_errors(settings: KafkaSettings) -> Iterator[None]:
    """Raise BrokerError as ``broker_faults.broker_errors`` does."""
    with broker_faults.broker_errors(connection_of(settings)):
        yield


def reason(settings: KafkaSettings, fault: KafkaError) -> str:
    """Return what is wrong, in librdkafka's words, and which setting to look at."""
    return broker_faults.reason(connection_of(settings), fault)


def producer(settings: KafkaSettings, **overrides: Any) -> Producer:  # noqa: ANN401  # librdkafka's values
    """Return a producer as ``kafka_clients.producer`` does."""
    return kafka_clients.producer(connection_of(settings), **overrides)


def consumer(settings: KafkaSettings, group: str, **overrides: Any) -> Consumer:  # noqa: ANN401  # the same
    """Return a consumer as ``kafka_clients.consumer`` does."""
    return kafka_clients.consumer(connection_of(settings), group, **overrides)


def admin(settings: KafkaSettings, **overrides: Any) -> AdminClient:  # noqa: ANN401  # the same
    """Return an admin client as ``kafka_clients.admin`` does."""
    return kafka_clients.admin(connection_of(settings), **overrides)


def connection_of(settings: KafkaSettings) -> KafkaConnection:
    """Return how ``settings`` say that the brokers are reached."""
    return access_of(settings)


def codec(settings: KafkaSettings) -> Codec:
    """Return the codec of this installation; raises as ``KafkaAccess.codec`` does."""
    return access_of(settings).codec()


def access_of(settings: KafkaSettings) -> KafkaAccess:
    """Return how ``settings`` say that brokers, topics and schema registry are reached."""
    username, password = settings.registry_username, settings.registry_password
    return KafkaAccess(
        bootstrap_servers=settings.bootstrap_servers,
        options={**security_options_of(settings.given), "log_level": settings.client_log_level},
        topic_prefix=settings.topic_prefix,
        registry_url=settings.registry_url,
        registry_login=(username, password.get_secret_value()) if username and password else None,
        registry_ca_file=settings.registry_ca_file,
        schema_folder=settings.schema_folder,
    )


def committed_ends(settings: KafkaSettings, topic: str) -> Mapping[int, int]:
    """Return the last stable offset of each partition of ``topic``; raises as ``watermarks``."""
    return {number: end for number, (_, end) in watermarks(settings, topic).items()}


def watermarks(settings: KafkaSettings, topic: str) -> Mapping[int, tuple[int, int]]:
    """Return the log start and the last stable offset of each partition of ``topic``.

    Raises:
        BrokerError: the broker cannot be reached, or has no such topic.
    """
    return watermarks_at(connection_of(settings), topic)


def watermarks_at(connection: KafkaConnection, topic: str) -> Mapping[int, tuple[int, int]]:
    """Return the same, where the brokers are reached by ``connection``; raises as that does."""
    options = {"allow.auto.create.topics": False}
    client = kafka_clients.consumer(connection, "izin-ends", **options)
    with closing(client), broker_faults.broker_errors(connection):
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
