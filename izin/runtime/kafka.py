"""Kafka clients with our defaults, and the check of the topics.

Everything is written with ``acks=all`` and idempotence and read with ``read_committed``; keys go to
the partition that Java's default partitioner gives them. Topics are created by ``ensure_topics``
alone and checked by ``topic_faults``: a partition count is fixed for life.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from tenacity import retry, retry_if_exception, retry_if_result, stop_after_delay, wait_fixed

from izin.consent.errors import OurError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from izin.runtime.settings import KafkaSettings
    from izin.schemas.topics import Topic

_TIMEOUT = 15.0


class BrokerError(OurError):
    """The broker cannot be reached or refused what we need of it."""


def producer(settings: KafkaSettings, **overrides: Any) -> Producer:  # noqa: ANN401  # librdkafka's values
    """Return an idempotent producer that partitions as Java does."""
    return Producer(
        {
            **_common(settings),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": 2,
            "compression.type": "lz4",
            **overrides,
        }
    )


def consumer(settings: KafkaSettings, group: str, **overrides: Any) -> Consumer:  # noqa: ANN401  # the same
    """Return a consumer that sees committed records only and commits only what it is told to."""
    return Consumer(
        {
            **_common(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            **overrides,
        }
    )


def admin(settings: KafkaSettings) -> AdminClient:
    """Return an admin client."""
    return AdminClient(_common(settings))


def _common(settings: KafkaSettings) -> dict[str, Any]:
    """Return the settings of every client: without a logger librdkafka writes to standard error."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "log_level": settings.client_log_level,
        "logger": logging.getLogger("librdkafka"),
    }


def partitions_of(topic: Topic, settings: KafkaSettings) -> int:
    """Return how many partitions ``topic`` must have: P for the keyed ones, one for the others."""
    return settings.partitions if topic.keyed else 1


def ensure_topics(settings: KafkaSettings) -> tuple[str, ...]:
    """Create the topics that are not there and return their names; raises BrokerError."""
    client = admin(settings)
    try:
        there = client.list_topics(timeout=_TIMEOUT).topics
        missing = [topic for topic in settings.topics if topic.name not in there]
        if not missing:
            return ()
        made = client.create_topics(
            [
                NewTopic(
                    topic.name,
                    num_partitions=partitions_of(topic, settings),
                    replication_factor=settings.replication_factor,
                    config=dict(topic.config),
                )
                for topic in missing
            ],
            operation_timeout=_TIMEOUT,
        )
        for future in made.values():
            future.result(_TIMEOUT)
        _await_leaders(client, missing)
    except KafkaException as error:
        raise BrokerError(_told(error, settings)) from error
    return tuple(topic.name for topic in missing)


def mend_topics(settings: KafkaSettings) -> tuple[str, ...]:
    """Set what the topics' settings must be where they are otherwise; raises BrokerError.

    Returns the names of the topics changed. A partition count is never changed: it is fixed for
    life.
    """
    client = admin(settings)
    try:
        there = client.list_topics(timeout=_TIMEOUT).topics
        configs = _configs(client, [topic for topic in settings.topics if topic.name in there])
        found = [topic for topic in settings.topics if topic.name in configs]
        changes = [
            ConfigResource(
                ResourceType.TOPIC,
                topic.name,
                incremental_configs=[
                    ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                    for name, value in wrong.items()
                ],
            )
            for topic in found
            if (wrong := _wrong(topic, configs[topic.name]))
        ]
        if changes:
            for future in client.incremental_alter_configs(changes).values():
                future.result(_TIMEOUT)
            _await_settings(client, found)
    except KafkaException as error:
        raise BrokerError(_told(error, settings)) from error
    return tuple(change.name for change in changes)


def topic_faults(settings: KafkaSettings) -> tuple[str, ...]:
    """Return what is wrong with the topics, a sentence with its cure each; raises BrokerError."""
    client = admin(settings)
    try:
        there = client.list_topics(timeout=_TIMEOUT).topics
        configs = _configs(client, [topic for topic in settings.topics if topic.name in there])
        found = [topic for topic in settings.topics if topic.name in configs]
        faults = [
            f"topic {topic.name} does not exist; run: izin up, or izin doctor --fix"
            for topic in settings.topics
            if topic.name not in configs
        ]
        for topic in found:
            wanted = partitions_of(topic, settings)
            has = len(there[topic.name].partitions)
            if has != wanted:
                faults.append(
                    f"topic {topic.name} has {has} partitions, not {wanted}: the count is "
                    "fixed for life; set IZIN_PARTITIONS to what it was created with"
                )
            faults += [
                f"topic {topic.name} has {name}={configs[topic.name].get(name)}, not {value}; "
                "run: izin doctor --fix"
                for name, value in _wrong(topic, configs[topic.name]).items()
            ]
            if settings.production:
                faults += _production_faults(topic, there[topic.name], configs[topic.name])
    except KafkaException as error:
        raise BrokerError(_told(error, settings)) from error
    return tuple(faults)


def committed_ends(settings: KafkaSettings, topic: str) -> Mapping[int, int]:
    """Return the end of the committed part of each partition of ``topic``; raises BrokerError."""
    client = consumer(settings, "izin-ends", **{"allow.auto.create.topics": False})
    try:
        found = client.list_topics(topic, timeout=_TIMEOUT).topics[topic].partitions
        return {number: _committed_end(client, TopicPartition(topic, number)) for number in found}
    except KafkaException as error:
        raise BrokerError(_told(error, settings)) from error
    finally:
        client.close()


def is_passing(error: BaseException) -> bool:
    """Whether ``error`` says that whoever was asked is being elected, or is elsewhere by now."""
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


@retry(
    retry=retry_if_exception(is_passing),
    stop=stop_after_delay(_TIMEOUT),
    wait=wait_fixed(0.1),
    reraise=True,
)
def _committed_end(client: Consumer, partition: TopicPartition) -> int:
    return int(client.get_watermark_offsets(partition, timeout=_TIMEOUT)[1])


_until_settled = retry(
    retry=retry_if_result(lambda settled: not settled),
    stop=stop_after_delay(_TIMEOUT),
    wait=wait_fixed(0.1),
    retry_error_callback=lambda _: None,
)


@_until_settled
def _await_leaders(client: AdminClient, topics: list[Topic]) -> bool:
    """Wait until the broker leads what the controller made; who asks sooner is told of no topic."""
    there = client.list_topics(timeout=_TIMEOUT).topics
    found = [there[topic.name].partitions.values() for topic in topics if topic.name in there]
    return len(found) == len(topics) and all(one.leader >= 0 for led in found for one in led)


@_until_settled
def _await_settings(client: AdminClient, topics: list[Topic]) -> bool:
    """Wait until the broker tells the settings as they were set; it takes them a moment later."""
    configs = _configs(client, topics)
    return not any(_wrong(topic, configs.get(topic.name, {})) for topic in topics)


def _wrong(topic: Topic, config: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that ``topic`` must have and has not."""
    return {
        name: value
        for name, value in topic.config.items()
        if not _keeps(name, config.get(name), value)
    }


_FOREVER = -1
_AT_LEAST = frozenset({"retention.ms", "min.compaction.lag.ms"})
"""Settings that an operator may raise: to keep more is no fault."""


def _keeps(name: str, found: str | None, wanted: str) -> bool:
    if found == wanted or found is None or name not in _AT_LEAST:
        return found == wanted
    return int(found) == _FOREVER or int(found) >= int(wanted)


_MIN_REPLICAS, _MIN_INSYNC = 3, 2


def _production_faults(topic: Topic, found: Any, config: Mapping[str, str]) -> list[str]:  # noqa: ANN401  # untyped
    faults = []
    replicas = min(len(one.replicas) for one in found.partitions.values())
    if replicas < _MIN_REPLICAS:
        faults.append(
            f"topic {topic.name} has {replicas} replicas; production needs {_MIN_REPLICAS}"
        )
    if int(config.get("min.insync.replicas", "1")) < _MIN_INSYNC:
        faults.append(
            f"topic {topic.name}: min.insync.replicas must be {_MIN_INSYNC} in production"
        )
    if config.get("unclean.leader.election.enable") == "true":
        faults.append(f"topic {topic.name}: unclean.leader.election.enable must be false")
    return faults


def _configs(client: AdminClient, topics: list[Topic]) -> Mapping[str, dict[str, str]]:
    """Return the settings of each of ``topics`` that is there."""
    if not topics:
        return {}
    asked = client.describe_configs(
        [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    )
    found = {}
    for resource, future in asked.items():
        try:
            entries = future.result(_TIMEOUT)
        except KafkaException as error:
            # A listing may still name a topic that was deleted a moment ago.
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        else:
            found[resource.name] = {name: entry.value for name, entry in entries.items()}
    return found


def _told(error: KafkaException, settings: KafkaSettings) -> str:
    cure = "is it running, and is KAFKA_BOOTSTRAP_SERVERS right?"
    return f"Kafka at {settings.bootstrap_servers}: {error.args[0].str()}; {cure}"
