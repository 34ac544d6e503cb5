"""Which topics an installation has, by the ids that Kafka gave them, and where they begin and end.

A topic that was deleted and created again has the same name, another id, and other records at the
same offsets.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.runtime.broker_faults import while_leaders_move
from izin.runtime.kafka import TIMEOUT


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


@while_leaders_move
def offsets(
    client: AdminClient,
    topic: str,
    partitions: Collection[int],
    spec: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> Mapping[int, int]:
    """Return the offset of each of ``partitions`` that ``spec`` names, for readers of this
    ``isolation``.

    Raises:
        KafkaException: the broker did not answer, or has no such topic.
    """
    places = [TopicPartition(topic, number) for number in partitions]
    asked = client.list_offsets(
        dict.fromkeys(places, spec),
        isolation_level=isolation,
        request_timeout=TIMEOUT,
    )
    found = {place.partition: int(asked[place].result(TIMEOUT).offset) for place in places}
    if any(offset < 0 for offset in found.values()):  # of a new leader
        raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
    return found
