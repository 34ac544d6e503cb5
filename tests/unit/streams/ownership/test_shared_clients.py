"""The beginning of a partition is requested from its leader, and leaders change."""

from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_INVALID,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)

from izin.runtime.settings import KafkaSettings
from izin.streams.ownership.positions import Positions
from izin.streams.ownership.shared_clients import SharedClients

PLACE = TopicPartition("desired-consents", 3)


class AdminWithOldLeader:
    """An admin client that believes in an old leader until it looks at the topic again."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        self.looked: list[str] = []

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: object) -> dict[Any, Any]:
        future: Future[SimpleNamespace] = Future()
        if self.looked:
            future.set_result(SimpleNamespace(offset=7))
        elif self.code is None:
            future.set_result(SimpleNamespace(offset=OFFSET_INVALID))
        else:
            future.set_exception(KafkaException(KafkaError(self.code)))
        return dict.fromkeys(asked, future)

    def list_topics(self, topic: str, **_: object) -> None:
        self.looked.append(topic)


def bounds(code: int | None) -> tuple[Mapping[str, tuple[int, int]], AdminWithOldLeader]:
    clients = SharedClients(KafkaSettings(client_log_level=0), "group")
    clients.admin = admin = AdminWithOldLeader(code)
    try:
        return clients.bounds([PLACE]), admin
    finally:
        clients.close()


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError._NOENT,
        None,
    ],
)
def test_bounds_with_a_moved_leader_are_retried(code: int | None) -> None:
    """A broker that leads again under a later epoch is found, not refused until a restart. While
    it begins to lead it may answer without an offset, and without an error.
    """
    found, admin = bounds(code)
    assert (found, admin.looked) == ({"desired-consents": (7, 7)}, ["desired-consents"])


def test_bounds_of_a_missing_topic_raise_at_once() -> None:
    """A topic that is not there will not come for being looked at."""
    with pytest.raises(KafkaException):
        bounds(KafkaError.UNKNOWN_TOPIC_OR_PART)


class AdminOfFencedBroker:
    """An admin client of the only broker, which its controller has fenced for a moment: a request
    for the cluster alone is answered without any broker, upon which librdkafka ends the process.
    """

    def __init__(self, cluster_id: str | None) -> None:
        self._cluster_id = cluster_id

    def describe_cluster(self, **_: object) -> None:
        raise AssertionError("rko_result")

    def list_topics(self, topic: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(cluster_id=self._cluster_id, topics={topic: None})

    def describe_topics(self, topics: TopicCollection, **_: object) -> dict[str, Any]:
        futures: dict[str, Future[SimpleNamespace]] = {}
        for name in topics.topic_names:
            futures[name] = Future()
            futures[name].set_result(SimpleNamespace(topic_id=f"id of {name}"))
        return futures


def origin(cluster_id: str | None) -> Positions:
    clients = SharedClients(KafkaSettings(client_log_level=0), "group")
    clients.admin = AdminOfFencedBroker(cluster_id)
    try:
        return clients.origin()
    finally:
        clients.close()


def test_ids_of_a_fenced_broker_are_read_by_its_topics() -> None:
    """The answer to a request that names a topic is never empty."""
    found = origin("cluster")
    assert found.cluster_id == "cluster"
    assert found.events_topic_id == "id of consent-events"


def test_an_unknown_cluster_is_no_other_cluster() -> None:
    """Else every event of the lanes would be decided again."""
    with pytest.raises(KafkaException):
        origin(None)
