"""Where a topic ends, by leaders of which some do not answer.

Kafka's silence is noticed in time, and said once.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs
from structlog.typing import EventDict

from izin.kafka.broker_watch import BrokerWatch
from izin.kafka.follower import end
from izin.kafka.follower.end import TopicEnd
from izin.runtime.settings import KafkaSettings
from tests.support.waiting import ManualClock


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
        self.asked.append({one.partition for one in places})
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


AWAY = KafkaException(KafkaError(KafkaError._TRANSPORT))


@pytest.fixture
def admin() -> Mock:
    """Return a broker that answers."""
    return Mock()


@pytest.fixture
def manual_clock() -> ManualClock:
    """Return the clock of the watch."""
    return ManualClock()


@pytest.fixture
def watch(admin: Mock, manual_clock: ManualClock) -> BrokerWatch:
    """Return the watch under test."""
    watch = BrokerWatch(KafkaSettings(client_log_level=0), manual_clock)
    watch._admin = admin
    return watch


async def watched(watch: BrokerWatch, clock: ManualClock, times: int) -> list[EventDict]:
    """Ask so many times, two seconds apart; return what was logged."""
    with capture_logs() as logs:
        for _ in range(times):
            clock.now += 2
            await watch.ask()
    return logs


async def test_broker_that_answers_is_reachable(
    watch: BrokerWatch, manual_clock: ManualClock
) -> None:
    """However long it has been asked, and nothing is logged."""
    assert await watched(watch, manual_clock, 10) == []
    assert watch.is_reachable


async def test_silence_is_noticed_and_logged_once(
    watch: BrokerWatch, admin: Mock, manual_clock: ManualClock
) -> None:
    """A lost request is no outage; ten minutes are two log events, not ten thousand."""
    admin.list_topics.side_effect = AWAY
    manual_clock.now += 2
    assert await watched(watch, manual_clock, 1) == []
    assert watch.is_reachable
    (lost,) = await watched(watch, manual_clock, 300)
    assert not watch.is_reachable
    admin.list_topics.side_effect = None
    (found,) = await watched(watch, manual_clock, 2)
    assert watch.is_reachable
    assert (lost["event"], lost["log_level"]) == ("kafka unreachable", "error")
    assert (found["event"], found["log_level"]) == ("kafka reachable again", "warning")
    assert found["seconds"] == 606


async def test_cause_and_setting_of_a_refusal_are_logged(
    watch: BrokerWatch, admin: Mock, manual_clock: ManualClock
) -> None:
    """The failed request itself tells of a broken connection only; the least helpful error is the
    last that its callback reports.
    """
    codes = (KafkaError._TRANSPORT, KafkaError._AUTHENTICATION, KafkaError._ALL_BROKERS_DOWN)
    admin.list_topics.side_effect = AWAY
    admin.poll.side_effect = lambda _: watch._errors.extend(map(KafkaError, codes))
    (one,) = await watched(watch, manual_clock, 5)
    assert "KAFKA_SASL_PASSWORD" in one["error"]


async def test_cause_of_a_former_outage_is_forgotten(
    watch: BrokerWatch, admin: Mock, manual_clock: ManualClock
) -> None:
    """The next one may have another."""
    watch._errors.append(KafkaError(KafkaError._AUTHENTICATION))
    await watch.ask()
    admin.list_topics.side_effect = AWAY
    (one,) = await watched(watch, manual_clock, 5)
    assert "KAFKA_BOOTSTRAP_SERVERS" in one["error"]
