"""Where the partitions of a topic end now, although their leaders move.

librdkafka would ask a former leader for ever, and a new topic's leaders do not know at once that
they lead: a question that fails so is repeated after the leaders were looked up again.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.runtime.broker_faults import is_transient

_ANSWERED_WITHIN = 2.0
_LOOKED_UP_WITHIN = 1.0
_REPEATED_EVERY = 0.1


class _Question(NamedTuple):
    partition: int
    until: float
    """By ``time.monotonic``: not repeated after this."""
    answer: Future[int]


class PartitionEnds:
    """Asks brokers through ``client`` where partitions of ``topic`` end. Thread-safe."""

    def __init__(self, client: AdminClient, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._unanswered: deque[_Question] = deque()
        self._is_lost = False
        """Whether leaders must be looked up again."""
        self._repeated_at = float("-inf")

    def ask(self, partitions: Collection[int]) -> Mapping[int, Future[int]]:
        """Return, by partition, the offset behind its last record.

        The futures raise KafkaException where no leader answers within two seconds.
        """
        until = monotonic() + _ANSWERED_WITHIN
        questions = [_Question(one, until, Future()) for one in partitions]
        for one in questions:
            one.answer.set_running_or_notify_cancel()
        self._send(questions)
        return {one.partition: one.answer for one in questions}

    def repeat(self) -> None:
        """Ask again what was not answered because a leader has moved; takes up to a second.

        To be called again and again, by one thread that may wait.
        """
        now = monotonic()
        if now - self._repeated_at < _REPEATED_EVERY:
            return
        self._repeated_at = now
        self._client.poll(0)  # hands over its log, which grows until then
        if not self._is_lost:
            return
        self._is_lost = False
        try:
            self._client.list_topics(self._topic, timeout=_LOOKED_UP_WITHIN)
        except KafkaException:
            self._is_lost = True
        questions = [self._unanswered.popleft() for _ in range(len(self._unanswered))]
        if questions:
            self._send(questions)

    def _send(self, questions: Sequence[_Question]) -> None:
        places = {TopicPartition(self._topic, one.partition) for one in questions}
        asked = self._client.list_offsets(
            dict.fromkeys(places, OffsetSpec.latest()), request_timeout=_ANSWERED_WITHIN
        )
        ends = {place.partition: end for place, end in asked.items()}
        for one in questions:
            ends[one.partition].add_done_callback(partial(self._take, one))

    def _take(self, question: _Question, end: Future[Any]) -> None:
        error = end.exception()
        if error is None:
            offset = int(end.result().offset)
            if offset >= 0:
                question.answer.set_result(offset)
                return
            # So librdkafka says that a leader does not know it yet, or has not answered in time.
            error = KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
        if is_transient(error) and monotonic() < question.until:
            self._unanswered.append(question)
        else:
            question.answer.set_exception(error)
        self._is_lost = True
