"""Where a topic ends, by leaders of which some do not answer."""

from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition

from izin.kafka.follower import end
from izin.kafka.follower.end import TopicEnd


class Brokers:
    """An admin client of brokers, some of which do not answer."""

    def __init__(self) -> None:
        self.ends = {0: 10, 1: 20, 2: 30}
        self.leaders = {0: 1, 1: 2, 2: -1}
        self.silent: set[int] = set()
        """Partitions whose leader does not answer."""
        self.gone: set[int] = set()
        """Partitions whose leader is another now."""
        self.asked: list[set[int]] = []

    def list_offsets(self, places: Mapping[TopicPartition, Any], **_: object) -> Any:  # noqa: ANN401  # the client's
        """Answer for the partitions of one leader."""
        numbers = {one.partition for one in places}
        self.asked.append(numbers)
        answers: dict[TopicPartition, Future[Any]] = {}
        for place in places:
            answers[place] = answer = Future()
            if place.partition in self.gone:
                answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
            elif place.partition not in self.silent:
                answer.set_result(SimpleNamespace(offset=self.ends[place.partition]))
        return answers

    def list_topics(self, topic: str, timeout: float) -> Any:  # noqa: ANN401, ARG002  # the same
        """Return the leaders of now."""
        partitions = {n: SimpleNamespace(leader=one) for n, one in self.leaders.items()}
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=partitions)})

    def poll(self, timeout: float) -> None:
        """Do nothing."""


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, to be moved on."""
    now = [100.0]
    monkeypatch.setattr(end, "monotonic", lambda: now[0])
    return now


def topic_end(brokers: Brokers) -> TopicEnd:
    return TopicEnd(
        brokers,  # type: ignore[arg-type]
        "topic",
        dict(brokers.leaders),
        IsolationLevel.READ_COMMITTED,
    )


def reached(one: TopicEnd, clock: list[float], positions: Mapping[int, int]) -> dict[int, float]:
    """Return what is reached within the next seconds, when the end was asked for."""
    found: dict[int, float] = {}
    for _ in range(30):
        clock[0] += 0.1
        for number, asked_at in one.reached(positions).items():
            found.setdefault(number, asked_at)
    return found


def test_each_leader_is_asked_alone(brokers: Brokers, clock: list[float]):
    """One that does not answer, or a partition without one, says nothing of the others."""
    brokers.silent = {1}
    found = reached(topic_end(brokers), clock, {0: 10, 1: 20, 2: 30})
    assert set(found) == {0}
    assert found[0] > 100
    assert all(len(numbers) == 1 for numbers in brokers.asked)


def test_new_leader_is_found(brokers: Brokers, clock: list[float]):
    """Of a partition that had none, and of one whose leader no longer is."""
    brokers.gone = {1}
    one = topic_end(brokers)
    assert set(reached(one, clock, {0: 10, 1: 20, 2: 30})) == {0}
    brokers.gone, brokers.leaders = set(), {0: 1, 1: 1, 2: 1}
    assert set(reached(one, clock, {0: 10, 1: 20, 2: 30})) == {0, 1, 2}
    assert brokers.asked[-1] == {0, 1, 2}


def test_end_is_reached_by_who_has_read_so_far(brokers: Brokers, clock: list[float]):
    """As it was when it was asked for, however the partition grows meanwhile."""
    one = topic_end(brokers)
    assert set(reached(one, clock, {0: 9, 1: 20, 2: 0})) == {1}
    brokers.ends[0] = 1000
    first = clock[0]
    assert reached(one, clock, {0: 10, 1: 20, 2: 0})[0] < first
