"""Where a topic ends, asked every second, and since when all before that was read.

Each leader is asked in a request of its own: one that does not answer says nothing of the
partitions of others.
"""

import os
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from confluent_kafka import OFFSET_INVALID, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.kafka.connections import Brokers, admin

RECONNECT = {"reconnect.backoff.max.ms": 1000}
"""The table is stale until it is connected again."""
_ASKED_EVERY = 1.0
_ASKED_WITHIN = 1.0
_LOOKED_EVERY = 0.05
_NO_LEADER = -1

_clients = WeakValueDictionary[tuple[object, ...], AdminClient]()

Leaders = Mapping[int, int]
"""By partition: the id of the broker that leads it; -1: none does."""


def asking_client(connection: Brokers) -> AdminClient:
    """Return the client that asks these brokers: one for all topics that this process follows,
    since the threads of each wake every second. They do not survive a fork.
    """
    key = os.getpid(), connection.bootstrap_servers, *connection.options.items()
    return _clients.get(key) or _clients.setdefault(key, admin(connection, **RECONNECT))


class _Request(NamedTuple):
    asked_at: float
    answers: Mapping[TopicPartition, Future[Any]]


class TopicEnd:
    """Asks where the partitions of ``topic`` end for readers of this ``isolation``."""

    def __init__(
        self, client: AdminClient, topic: str, leaders: Leaders, isolation: IsolationLevel
    ) -> None:
        self._client = client
        self._topic = topic
        self._isolation = isolation
        self._looked_at = float("-inf")
        self._asked_at: dict[int, float] = {}
        self._requests: dict[int, _Request] = {}
        """By leader: what is not answered yet."""
        self._unread: dict[int, tuple[float, int]] = {}
        """By partition: an end that was not reached yet, and when it was asked for."""
        self._is_lost = False
        """Whether a leader must be looked up again."""
        self._led = _by_leader(leaders)

    def reached(self, positions: Mapping[int, int]) -> Mapping[int, float]:
        """Return, by partition, when an end was asked for that ``positions`` have reached now.

        A partition that grows all the time is complete once it was read up to where it ended when
        that was asked.
        """
        now = monotonic()
        if now - self._looked_at < _LOOKED_EVERY:
            return {}
        self._looked_at = now
        self._take_answers()
        self._ask(now)
        found = {
            number: asked_at
            for number, (asked_at, end) in self._unread.items()
            if positions[number] >= end
        }
        for number in found:
            del self._unread[number]
        return found

    @property
    def is_awaited(self) -> bool:
        """Whether something was asked for that is not answered yet."""
        return bool(self._requests)

    def unread_since(self) -> float:
        """Return when the first end was asked for that is not reached; infinity: all are."""
        return min((asked_at for asked_at, _ in self._unread.values()), default=float("inf"))

    def _take_answers(self) -> None:
        for leader, request in list(self._requests.items()):
            if not all(one.done() for one in request.answers.values()):
                continue
            del self._requests[leader]
            for place, answer in request.answers.items():
                end = _offset(answer)
                if end < 0:
                    self._is_lost = True  # the age says for how long
                else:
                    self._unread.setdefault(place.partition, (request.asked_at, end))

    def _ask(self, now: float) -> None:
        due = [
            leader
            for leader in self._led
            if leader not in self._requests
            and now - self._asked_at.get(leader, float("-inf")) >= _ASKED_EVERY
        ]
        if not due:
            return
        self._client.poll(0)  # hands over its log, which grows until then
        if self._is_lost:
            self._look_up_leaders()
        for leader in due:
            self._asked_at[leader] = now
            partitions = self._led.get(leader, ())
            if leader == _NO_LEADER:
                self._is_lost = True
            elif partitions:
                answers = self._client.list_offsets(
                    {
                        TopicPartition(self._topic, partition): OffsetSpec.latest()
                        for partition in partitions
                    },
                    isolation_level=self._isolation,
                    request_timeout=_ASKED_WITHIN,
                )
                self._requests[leader] = _Request(now, answers)

    def _look_up_leaders(self) -> None:
        """Have the leaders looked up again: librdkafka would ask the former ones for ever."""
        with suppress(KafkaException):
            found = self._client.list_topics(self._topic, timeout=_ASKED_WITHIN)
            self._led = _by_leader(leaders_of(found.topics[self._topic].partitions))
            self._is_lost = False


def leaders_of(partitions: Mapping[int, Any]) -> dict[int, int]:
    """Return the leaders of the ``partitions`` of a topic's metadata."""
    return {number: int(one.leader) for number, one in partitions.items()}


def _by_leader(leaders: Leaders) -> Mapping[int, list[int]]:
    led = defaultdict(list)
    for number, leader in leaders.items():
        led[leader].append(number)
    return led


def _offset(answer: Future[Any]) -> int:
    """Return the offset that was answered, a negative one where none was.

    librdkafka says so either by an error or, where a request timed out, by such an offset.
    """
    return OFFSET_INVALID if answer.exception() else int(answer.result().offset)
