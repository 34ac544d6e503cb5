"""The clients that all partitions of a worker share: requests to brokers for all of them.

Requests are repeated while a leader moves.
"""

from collections.abc import Sequence

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec
from tenacity import RetryCallState, retry, retry_if_exception, stop_after_delay, wait_fixed

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings

_TIMEOUT = 20.0
_FLUSH_TIMEOUT = 6.0
_LEADER_WITHIN = 20.0
_LEADER_WAIT = 0.1


def _refresh_leaders(state: RetryCallState) -> None:
    """Request the topics' metadata: librdkafka's admin client keeps a leader's epoch for minutes,
    even when the broker says that it is over.
    """
    clients, places = state.args[:2]
    for topic in {place.topic for place in places}:
        clients.admin.list_topics(topic, timeout=_TIMEOUT)


_while_leaders_move = retry(
    retry=retry_if_exception(kafka.is_transient),
    stop=stop_after_delay(_LEADER_WITHIN),
    wait=wait_fixed(_LEADER_WAIT),
    before_sleep=_refresh_leaders,
    reraise=True,
)


class SharedClients:
    """The clients of one worker, whose consumer group is ``group``."""

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self.settings = settings
        self.group = group
        self.admin: AdminClient = kafka.admin(settings)
        self.offsets: Consumer = kafka.consumer(settings, group)
        """Never subscribes: it reads the group's offsets and lends its metadata to the
        transactions."""
        self.repartition_producer: Producer = kafka.producer(settings)
        """Repartitions records outside every transaction: another partition must not decide their
        fate."""

    @_while_leaders_move
    def earliest(self, places: Sequence[TopicPartition]) -> dict[str, int]:
        """Return the first offset of each of ``places`` by topic; raises KafkaException."""
        futures = self.admin.list_offsets(
            dict.fromkeys(places, OffsetSpec.earliest()), request_timeout=_TIMEOUT
        )
        return {place.topic: future.result().offset for place, future in futures.items()}

    @_while_leaders_move
    def committed(
        self, lanes: Sequence[TopicPartition], marked: TopicPartition, mark: int
    ) -> Sequence[TopicPartition]:
        """Return the group's offsets in ``lanes`` from a coordinator that knows ``mark``.

        Raises KafkaException.
        """
        *found, seen = self.offsets.committed([*lanes, marked], _TIMEOUT)
        for place in (*found, seen):
            if place.error is not None:
                raise KafkaException(place.error)
        if seen.offset < mark:
            raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))
        return found

    def identity(self, topic: str) -> str:
        """Return the ids of the cluster and the topic; raises KafkaException."""
        cluster = self.admin.describe_cluster(request_timeout=_TIMEOUT)
        described = self.admin.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT)
        return f"{cluster.result().cluster_id}/{described[topic].result().topic_id}"

    def close(self) -> None:
        """Close the clients."""
        self.repartition_producer.flush(_FLUSH_TIMEOUT)
        self.offsets.close()
