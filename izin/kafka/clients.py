"""Kafka clients of this installation; its topics, created, repaired and checked; and who consumes
them. All take the settings as they are; :mod:`izin.kafka.connections` has the defaults.

The partition count of a topic is fixed for life, for the key decides the partition; everything else
can be repaired. A topic that was deleted and created again has the same name, another id, and other
records at the same offsets: :func:`identities` tells.
"""

import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from izin.consent import LAW_VERSION
from izin.kafka import connections
from izin.kafka.access import KafkaAccess
from izin.kafka.connections import (
    Brokers,
    admin,
    broker_errors,
    consumer,
    missing_topic,
    producer,
    reason,
    while_leaders_move,
)
from izin.runtime.logs import configure, exiting_on_error
from izin.runtime.plan import Bounds, Plan
from izin.runtime.settings import KafkaSettings, LogSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topic

__all__ = ("admin", "broker_errors", "consumer", "producer", "reason")
TIMEOUT = 15.0
"""Seconds that one request to the broker may take."""
CONTESTED = "instance id in use twice"
"""What an order worker writes beside the offsets of the group while another has its name."""
_POLL = 0.1
TRANSACTION_LIMIT = 15_000
"""The most milliseconds for which a transaction may be open: opt-outs behind it wait."""
_FOREVER = -1
_AT_LEAST = frozenset({"retention.ms", "min.compaction.lag.ms", "delete.retention.ms"})
"""Settings that an operator may raise: retaining more is no fault."""
_MIN_REPLICAS = 3
_MIN_INSYNC = 2


def codec(settings: KafkaSettings) -> Codec:
    """Return the codec of this installation; raises as ``KafkaAccess.codec`` does."""
    return access_of(settings).codec()


def run_process(
    event: str, run: Callable[..., None], *groups: Callable[[], object], is_guarded: bool = True
) -> None:
    """Configure the logs, and ``run`` a process: with Kafka's settings, those of ``groups``, and
    the codec.

    Where something is at fault on which an operator can act it logs ``event``, and exits with
    ``EXIT``; of what is not ``is_guarded`` only until its settings are read.
    """
    configure(LogSettings())
    with exiting_on_error(event):
        kafka = KafkaSettings()
        given = (kafka, *(group() for group in groups), codec(kafka))
        if is_guarded:
            run(*given)
    if not is_guarded:
        run(*given)


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
    client = connections.consumer(brokers, "izin-ends", **{"allow.auto.create.topics": False})
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicIdentities:
    """The ids of a cluster and of topics of it, and how many partitions each has."""

    cluster_id: str
    topic_ids: Mapping[str, str]
    partitions: Mapping[str, int]


def identities(
    client: AdminClient, names: Collection[str], *, timeout: float = TIMEOUT
) -> TopicIdentities:
    """Return the identities of the topics of these ``names``.

    Raises:
        KafkaException: one does not exist, or the broker did not answer in ``timeout`` seconds.
    """
    # Not describe_cluster: see izin.streams.ownership.shared_clients.
    cluster_id = client.list_topics(timeout=timeout).cluster_id
    if cluster_id is None:
        raise KafkaException(KafkaError(KafkaError._PARTIAL))  # noqa: SLF001  # librdkafka's name for it
    asked = client.describe_topics(TopicCollection(list(names)), request_timeout=timeout)
    found = {name: asked[name].result(timeout) for name in names}
    return TopicIdentities(
        cluster_id=cluster_id,
        topic_ids={name: str(one.topic_id) for name, one in found.items()},
        partitions={name: len(one.partitions) for name, one in found.items()},
    )


def bounds_of(
    settings: KafkaSettings, topics: Mapping[str, bool]
) -> tuple[str, Mapping[str, Bounds]]:
    """Return the cluster's id, and ``topics`` with their committed bounds; the value of each says
    whether it must stand still.

    Raises:
        BrokerError: Kafka cannot be reached, or a topic does not exist.
    """
    with broker_errors(settings):
        found = identities(admin(settings), list(topics))
    bounds = {}
    for topic, stands_still in topics.items():
        marks = watermarks(settings, topic)
        bounds[topic] = Bounds(
            topic_id=found.topic_ids[topic],
            starts={number: start for number, (start, _) in marks.items()},
            ends={number: end for number, (_, end) in marks.items()},
            stands_still=stands_still,
        )
    return found.cluster_id, bounds


def check_plan(plan: Plan, settings: KafkaSettings) -> None:
    """Compare cluster, topics and law of ``plan`` with what they are now.

    Raises:
        PlanMovedError: one of them has changed.
        BrokerError: Kafka cannot be reached, or a topic does not exist.
    """
    still = {topic: bounds.stands_still for topic, bounds in plan.topics.items()}
    cluster_id, topics = bounds_of(settings, still)
    plan.check(replace(plan, cluster_id=cluster_id, topics=topics, law_version=LAW_VERSION))


@while_leaders_move
def offsets(
    client: AdminClient,
    partitions: Collection[tuple[str, int]],
    spec: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> Mapping[tuple[str, int], int]:
    """Return the offset of each of ``partitions`` (topic and number) that ``spec`` names, for
    readers of this ``isolation``: one request to each leader.

    Raises:
        KafkaException: the broker did not answer, or has no such topic.
    """
    places = [TopicPartition(*place) for place in partitions]
    asked = client.list_offsets(
        dict.fromkeys(places, spec),
        isolation_level=isolation,
        request_timeout=TIMEOUT,
    )
    found = {
        (place.topic, place.partition): int(asked[place].result(TIMEOUT).offset) for place in places
    }
    if any(offset < 0 for offset in found.values()):  # of a new leader
        raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
    return found


def is_contested(settings: KafkaSettings, group: str) -> bool:
    """Return whether two order workers of ``group`` had one name lately; raises BrokerError."""
    with broker_errors(settings):
        client = admin(settings)  # kept: its answers end with it
        asked = client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=TIMEOUT
        )
        places = asked[group].result().topic_partitions or []
        return any(place.metadata == CONTESTED for place in places)


def members(settings: KafkaSettings, group: str) -> int:
    """Return how many members a consumer ``group`` has, 0 where there is no such group; raises
    BrokerError.
    """
    with broker_errors(settings):
        client = admin(settings)
        # Groups are listed first: where there never was one, nothing answers what they are.
        listed = client.list_consumer_groups(request_timeout=TIMEOUT).result()
        if listed.errors:
            raise listed.errors[0]
        if group not in {one.group_id for one in listed.valid}:
            return 0
        asked = client.describe_consumer_groups([group], request_timeout=TIMEOUT)
        return len(asked[group].result().members)


def transaction_limit(settings: KafkaSettings) -> int | None:
    """Return the brokers' largest ``transaction.max.timeout.ms``; None where they do not say.

    Raises:
        BrokerError: the brokers cannot be reached, or refused.
    """
    client = admin(settings)
    with broker_errors(settings):
        asked = client.describe_configs(
            [
                ConfigResource(ResourceType.BROKER, str(broker))
                for broker in client.list_topics(timeout=TIMEOUT).brokers
            ],
            request_timeout=TIMEOUT,
        )
        found = [
            future.result(TIMEOUT).get("transaction.max.timeout.ms") for future in asked.values()
        ]
    return max((int(one.value) for one in found if one is not None), default=None)


def partitions_of(topic: Topic, settings: KafkaSettings) -> int:
    """Return how many partitions ``topic`` must have: ``IZIN_PARTITIONS`` if keyed, else 1."""
    return settings.partitions if topic.is_partitioned else 1


def missing_topics(settings: KafkaSettings) -> tuple[str, ...]:
    """Return the names of the topics that do not exist; raises BrokerError."""
    with broker_errors(settings):
        existing = admin(settings).list_topics(timeout=TIMEOUT).topics
    return tuple(topic.name for topic in settings.topics if topic.name not in existing)


def ensure_topics(settings: KafkaSettings, *, without: Container[str] = ()) -> tuple[str, ...]:
    """Create the topics that are missing, ``without`` those named, and return their names.

    Raises:
        BrokerError: the broker cannot be reached, or refused.
    """
    client = admin(settings)
    with broker_errors(settings):
        names = {*missing_topics(settings)}
        missing = [one for one in settings.topics if one.name in names and one.name not in without]
        if missing:
            created = client.create_topics(
                [
                    NewTopic(
                        topic.name,
                        num_partitions=partitions_of(topic, settings),
                        replication_factor=settings.replication_factor,
                        config=dict(topic.config),
                    )
                    for topic in missing
                ],
                operation_timeout=TIMEOUT,
            )
            for future in created.values():
                future.result(TIMEOUT)
            _await(lambda: _have_leaders(client, missing))
    return tuple(topic.name for topic in missing)


def repair_topics(settings: KafkaSettings) -> tuple[str, ...]:
    """Set the required topic settings where they differ, and return the names of changed topics.

    A partition count is never changed.

    Raises:
        BrokerError: the broker cannot be reached, or refused.
    """
    client = admin(settings)
    with broker_errors(settings):
        configs = _configs(client, settings.topics)
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
                future.result(TIMEOUT)
            _await(lambda: _are_set(client, found))
    return tuple(change.name for change in changes)


def topic_faults(
    settings: KafkaSettings, remedies: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, ...]:
    """Return what is wrong with the topics, one sentence with its remedy each; ``remedies`` are
    those of missing ones that may not simply be created, by name.

    Raises:
        BrokerError: the broker cannot be reached, or refused.
    """
    client = admin(settings)
    with broker_errors(settings):
        existing = client.list_topics(timeout=TIMEOUT).topics
        configs = _configs(client, settings.topics)
    faults: list[str] = []
    for topic in settings.topics:
        config = configs.get(topic.name)
        if config is None:
            remedy = remedies.get(topic.name, "run: izin up, or izin doctor --fix")
            faults.append(f"topic {topic.name} does not exist; {remedy}")
            continue
        wanted = partitions_of(topic, settings)
        count = len(existing[topic.name].partitions)
        if count != wanted:
            faults.append(
                f"topic {topic.name} has {count} partitions, not {wanted}: the count is "
                "fixed for life; set IZIN_PARTITIONS to what it was created with"
            )
        faults += [
            f"topic {topic.name} has {name}={config.get(name)}, not {value}; run: izin doctor --fix"
            for name, value in _wrong(topic, config).items()
        ]
        if settings.production:
            faults += _production_faults(topic, existing[topic.name], config)
    return tuple(faults)


def _await(is_settled: Callable[[], bool]) -> None:
    """Return once that is so, or after a time."""
    limit = time.monotonic() + TIMEOUT
    while not is_settled() and time.monotonic() < limit:
        time.sleep(_POLL)  # the brokers tell each other, and nobody here


def _have_leaders(client: AdminClient, topics: list[Topic]) -> bool:
    """Whether every partition has a leader: until then the broker knows no such topic."""
    existing = client.list_topics(timeout=TIMEOUT).topics
    return all(
        topic.name in existing
        and all(one.leader >= 0 for one in existing[topic.name].partitions.values())
        for topic in topics
    )


def _are_set(client: AdminClient, topics: list[Topic]) -> bool:
    """Whether the broker shows the settings as they were set; it applies them with a delay."""
    configs = _configs(client, topics)
    return not any(_wrong(topic, configs.get(topic.name, {})) for topic in topics)


def _wrong(topic: Topic, config: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that ``topic`` must have and does not."""
    return {
        name: value
        for name, value in topic.config.items()
        if not _fulfils(name, config.get(name), value)
    }


def _fulfils(name: str, found: str | None, wanted: str) -> bool:
    if found == wanted or found is None or name not in _AT_LEAST:
        return found == wanted
    return int(found) == _FOREVER or int(found) >= int(wanted)


def _production_faults(topic: Topic, found: Any, config: Mapping[str, str]) -> Iterator[str]:  # noqa: ANN401  # untyped
    replicas = min(len(partition.replicas) for partition in found.partitions.values())
    if replicas < _MIN_REPLICAS:
        yield f"topic {topic.name} has {replicas} replicas; production needs {_MIN_REPLICAS}"
    if int(config.get("min.insync.replicas", "1")) < _MIN_INSYNC:
        yield f"topic {topic.name}: min.insync.replicas must be {_MIN_INSYNC} in production"
    if config.get("unclean.leader.election.enable") == "true":
        yield f"topic {topic.name}: unclean.leader.election.enable must be false"


def _configs(client: AdminClient, topics: Iterable[Topic]) -> Mapping[str, dict[str, str]]:
    """Return the settings of each of ``topics`` that exists."""
    requested = client.describe_configs(
        [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics],
        request_timeout=TIMEOUT,
    )
    found = {}
    for resource, future in requested.items():
        try:
            entries = future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        else:
            found[resource.name] = {name: entry.value for name, entry in entries.items()}
    return found
