"""Kafka clients of this installation, and what they say of its topics.

:mod:`izin.runtime.kafka_clients` has their defaults, :mod:`izin.runtime.topic_admin` creates and
checks the topics.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from izin.runtime import kafka_clients
from izin.runtime.errors import BrokerError
from izin.runtime.kafka_clients import KafkaConnection
from izin.runtime.kafka_security import remedy, security_options
from izin.runtime.settings import KafkaSettings, SecurityProtocol

TIMEOUT = 15.0
"""Seconds that one request to the broker may take."""
_CAUSE_WITHIN = 5.0
"""Seconds in which a client may find out why no broker can be used."""
_POLL = 0.1


@contextmanager
def broker_errors(settings: KafkaSettings) -> Iterator[None]:
    """Raise BrokerError, with the address, the cause and a remedy, where the block raises
    KafkaException.
    """
    try:
        yield
    except KafkaException as error:
        fault = error.args[0]
        if fault.code() in _UNREACHED:
            fault = _cause(settings) or fault
        raise BrokerError(
            f"Kafka at {settings.bootstrap_servers}: {reason(settings, fault)}"
        ) from error


_UNREACHED = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001  # librdkafka's name for it
        KafkaError._TIMED_OUT,  # noqa: SLF001  # the same
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001  # the same
    }
)
"""The codes of a request that reached no broker, whatever kept it."""


_DISTINCT = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001  # librdkafka's name for it
        KafkaError._SSL,  # noqa: SLF001  # the same
        KafkaError._RESOLVE,  # noqa: SLF001  # the same
    }
)
"""The codes that say which setting is at fault."""


def _cause(settings: KafkaSettings) -> KafkaError | None:
    """Connect once more and return why that fails, None if it does not.

    librdkafka keeps the cause from whoever made a request: it repeats silently, and reports a
    refused password, a certificate or an address to its error callback alone.
    """
    causes: list[KafkaError] = []
    client = admin(settings, error_cb=causes.append)
    limit = time.monotonic() + _CAUSE_WITHIN
    # With TLS a failed handshake may look like a broken connection at the first attempt.
    is_enough = settings.security_protocol is SecurityProtocol.PLAINTEXT
    found = None
    while time.monotonic() < limit and not (is_enough and found):
        client.poll(_POLL)
        found = cause_among(causes)
        is_enough = is_enough or (found is not None and found.code() in _DISTINCT)
    return found


def cause_among(errors: Iterable[KafkaError]) -> KafkaError | None:
    """Return which of ``errors``, of a client's error callback, says most of what is wrong."""
    causes = [one for one in errors if one.code() != KafkaError._ALL_BROKERS_DOWN]  # noqa: SLF001  # librdkafka's name for it
    return max(causes, key=lambda one: one.code() in _DISTINCT, default=None)


def reason(settings: KafkaSettings, fault: KafkaError) -> str:
    """Return what is wrong, in librdkafka's words, and which setting to look at."""
    return f"{fault.str()}; {remedy(settings, fault)}"


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
    return KafkaConnection(
        bootstrap_servers=settings.bootstrap_servers,
        options={**security_options(settings), "log_level": settings.client_log_level},
    )


def committed_ends(settings: KafkaSettings, topic: str) -> Mapping[int, int]:
    """Return the last stable offset of each partition of ``topic``; raises as ``watermarks``."""
    return {number: end for number, (_, end) in watermarks(settings, topic).items()}


def watermarks(settings: KafkaSettings, topic: str) -> Mapping[int, tuple[int, int]]:
    """Return the log start and the last stable offset of each partition of ``topic``.

    Raises:
        BrokerError: the broker cannot be reached, or has no such topic.
    """
    client = consumer(settings, "izin-ends", **{"allow.auto.create.topics": False})
    try:
        with broker_errors(settings):
            return _watermarks_of(client, topic)
    finally:
        client.close()


def ends_seen_by(client: Consumer, topic: str) -> Mapping[int, int]:
    """Return the offset at which each partition of ``topic`` ends for ``client``.

    Raises:
        KafkaException: the broker cannot be reached, or has no such topic.
    """
    return {number: end for number, (_, end) in _watermarks_of(client, topic).items()}


def _watermarks_of(client: Consumer, topic: str) -> Mapping[int, tuple[int, int]]:
    found = client.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions
    return {number: _watermarks(client, TopicPartition(topic, number)) for number in found}


def is_transient(error: BaseException) -> bool:
    """Whether ``error`` is due to a leader or coordinator that is being elected or has moved."""
    return isinstance(error, KafkaException) and error.args[0].code() in {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError._NOENT,  # noqa: SLF001  # librdkafka's name for "no leader known"
    }


while_leaders_move = retry(
    retry=retry_if_exception(is_transient),
    stop=stop_after_delay(TIMEOUT),
    wait=wait_fixed(0.1),
    reraise=True,
)
"""Repeats a request whose leader is being elected, as those of a new topic are."""


@while_leaders_move
def _watermarks(client: Consumer, partition: TopicPartition) -> tuple[int, int]:
    start, end = client.get_watermark_offsets(partition, timeout=TIMEOUT)
    return int(start), int(end)
