"""Where partitions end is asked again where a leader has moved, and only there."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from izin.producers.intake import receipt_log
from izin.producers.intake.receipt_log import PartitionEnds

TOPIC = "first-receipts"


class Brokers:
    """Answer the questions for ends in turn, with an offset or an error."""

    def __init__(self, *answers: int | KafkaException) -> None:
        self.answers = list(answers)
        self.looked_up: list[str] = []
        self.is_away = False
        self.logs = 0

    def list_offsets(
        self, places: Iterable[TopicPartition], *, request_timeout: float
    ) -> Mapping[TopicPartition, Future[Any]]:
        assert request_timeout == 2
        asked: dict[TopicPartition, Future[Any]] = {}
        for place in places:
            asked[place] = Future()
            answer = self.answers.pop(0)
            if isinstance(answer, KafkaException):
                asked[place].set_exception(answer)
            else:
                asked[place].set_result(SimpleNamespace(offset=answer))
        return asked

    def list_topics(self, topic: str, *, timeout: float) -> None:
        assert timeout == 1
        self.looked_up.append(topic)
        if self.is_away:
            raise error(KafkaError._TRANSPORT)

    def poll(self, _timeout: float) -> int:
        self.logs += 1
        return 0


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the clock of the questions."""
    now = 0.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(receipt_log, "monotonic", lambda: now)
    return pass_time


def error(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


def ends_of(brokers: Brokers) -> PartitionEnds:
    return PartitionEnds(cast("AdminClient", brokers), TOPIC)


def test_answer_is_the_end_of_each_partition(pass_time: Callable[[float], None]):
    """No leader is looked up; the log of the client is taken all the same."""
    ends = ends_of(brokers := Brokers(7, 0))
    found = ends.ask([3, 4])
    ends.repeat()
    assert sorted(one.result(0) for one in found.values()) == [0, 7]
    assert found.keys() == {3, 4}
    assert (brokers.looked_up, brokers.logs) == ([], 1)


@pytest.mark.parametrize(
    "first",
    [
        error(KafkaError.NOT_LEADER_FOR_PARTITION),
        error(KafkaError.LEADER_NOT_AVAILABLE),
        -1001,
    ],
    ids=["moved", "elected", "no offset"],
)
def test_question_is_repeated_once_leaders_were_looked_up(
    pass_time: Callable[[float], None], first: int | KafkaException
):
    """A negative offset is no end: everything would count as read up to it, and an event that an
    endpoint has claimed as unknown.
    """
    ends = ends_of(brokers := Brokers(first, 7))
    answer = ends.ask([3])[3]
    assert not answer.done()
    ends.repeat()
    assert answer.result(0) == 7
    assert brokers.looked_up == [TOPIC]
    pass_time(1)
    ends.repeat()
    assert brokers.looked_up == [TOPIC]


def test_repetitions_pause_and_end_with_the_time(pass_time: Callable[[float], None]):
    """The reading thread asks ten times a second at most, and a question for two seconds."""
    moved = error(KafkaError.NOT_LEADER_FOR_PARTITION)
    ends = ends_of(brokers := Brokers(moved, moved, moved))
    answer = ends.ask([3])[3]
    ends.repeat()
    ends.repeat()
    assert len(brokers.answers) == 1
    pass_time(2)
    ends.repeat()
    assert answer.exception(0) is moved


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_other_failure_is_the_answer(pass_time: Callable[[float], None], code: int):
    """The leader may have moved all the same: it is looked up before the next question."""
    ends = ends_of(brokers := Brokers(failure := error(code)))
    assert ends.ask([3])[3].exception(0) is failure
    ends.repeat()
    assert brokers.looked_up == [TOPIC]


def test_leaders_are_looked_up_until_a_broker_answers(pass_time: Callable[[float], None]):
    """Without a broker the former leaders stay, and the next question would go to them."""
    ends = ends_of(brokers := Brokers(error(KafkaError._TIMED_OUT)))
    brokers.is_away = True
    ends.ask([3])
    for _ in range(3):
        ends.repeat()
        pass_time(1)
    brokers.is_away = False
    ends.repeat()
    pass_time(1)
    ends.repeat()
    assert len(brokers.looked_up) == 4
