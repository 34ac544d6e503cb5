"""What all partitions of a worker ask the brokers together, asked again while a leader moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from izin.runtime import kafka

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenacity import RetryCallState

    from izin.runtime.settings import KafkaSettings

_TIMEOUT = 20.0
_FLUSH_TIMEOUT = 6.0
_LEADER_WITHIN = 20.0
_LEADER_WAIT = 0.1


def _look_anew(state: RetryCallState) -> None:
    """Ask for the leaders again: librdkafka's admin client keeps a leader's epoch for minutes, even
    when the broker says that it is over.
    """
    connections, places = state.args[:2]
    for topic in {place.topic for place in places}:
        connections.admin.list_topics(topic, timeout=_TIMEOUT)


_asked_again = retry(
    retry=retry_if_exception(kafka.is_passing),
    stop=stop_after_delay(_LEADER_WITHIN),
    wait=wait_fixed(_LEADER_WAIT),
    before_sleep=_look_anew,
    reraise=True,
)


class Connections:
    """The clients that all partitions of a worker share."""

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self.settings = settings
        self.group = group
        self.admin: AdminClient = kafka.admin(settings)
        self.offsets: Consumer = kafka.consumer(settings, group)
        """Never subscribes: it reads the group's offsets and lends its metadata to the
        transactions."""
        self.refiler: Producer = kafka.producer(settings)
        """Outside every transaction: a re-filed record must not hang on another partition's
        fate."""

    @_asked_again
    def earliest(self, places: Sequence[TopicPartition]) -> dict[str, int]:
        """Return by topic where ``places`` begin; raises KafkaException."""
        asked = self.admin.list_offsets(
            dict.fromkeys(places, OffsetSpec.earliest()), request_timeout=_TIMEOUT
        )
        return {place.topic: future.result().offset for place, future in asked.items()}

    @_asked_again
    def committed(
        self, lanes: Sequence[TopicPartition], marked: TopicPartition, mark: int
    ) -> Sequence[TopicPartition]:
        """Return where the group stands in ``lanes``, as a coordinator tells that knows of
        ``mark``; raises KafkaException.
        """
        *found, seen = self.offsets.committed([*lanes, marked], _TIMEOUT)
        for place in (*found, seen):
            if place.error is not None:
                raise KafkaException(place.error)
        if seen.offset < mark:
            raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))
        return found

    def home(self, topic: str) -> str:
        """Return which ``topic`` of which cluster this is, across names; raises KafkaException."""
        cluster = self.admin.describe_cluster(request_timeout=_TIMEOUT)
        described = self.admin.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT)
        return f"{cluster.result().cluster_id}/{described[topic].result().topic_id}"

    def close(self) -> None:
        """Let go of the clients."""
        self.refiler.flush(_FLUSH_TIMEOUT)
        self.offsets.close()
