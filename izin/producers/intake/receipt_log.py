"""The topic ``first-receipts``, written by every endpoint and followed by each.

A new process reads the day that the topic has while it already answers: whoever needs an instant
waits for the reader to reach it, or has to retry.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, Self, TypeVar
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.kafka.clients import access_of, admin
from izin.kafka.connections import is_transient
from izin.kafka.follower import RecordFollower, in_thread, take_each
from izin.producers.intake.first_receipts import (
    HALF,
    FirstReceipts,
    ReceiptsFullError,
)
from izin.producers.publishing.publisher import KafkaRecord, Published, running
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.fast.reader import append_instant
from izin.schemas.partitioning import partition_of

_ANSWERED_WITHIN = 2.0
_LOOKED_UP_WITHIN = 1.0
_REPEATED_EVERY = 0.1
_POLL = 0.1
_log = get_logger(__name__)
T = TypeVar("T")
Append = Callable[[str, KafkaRecord], Future[Published]]
"""Appends a record about an event id to a topic."""


class _Question(NamedTuple):
    partition: int
    until: float
    """By ``time.monotonic``: not repeated after this."""
    answer: Future[int]


class PartitionEnds:
    """Asks brokers through ``client`` where partitions of ``topic`` end. Thread-safe, but for
    :meth:`ask`.

    What requests ask in one turn of the event loop is one call. librdkafka would ask a former
    leader for ever, and a new topic's leaders do not know at once that they lead: a question that
    fails so is repeated after the leaders were looked up again.
    """

    def __init__(self, client: AdminClient, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._asked: list[_Question] = []
        """In this turn of the event loop."""
        self._unanswered: deque[_Question] = deque()
        self._is_lost = False
        """Whether leaders must be looked up again."""
        self._repeated_at = float("-inf")

    def ask(self, partitions: Collection[int]) -> Mapping[int, Future[int]]:
        """Return, by partition, the offset behind its last record at the end of this turn of the
        event loop.

        The futures raise KafkaException where no leader answers within two seconds.
        """
        until = monotonic() + _ANSWERED_WITHIN
        questions = [_Question(partition, until, running()) for partition in partitions]
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._send_asked)
        self._asked += questions
        return {question.partition: question.answer for question in questions}

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

    def _send_asked(self) -> None:
        questions, self._asked = self._asked, []
        self._send(questions)

    def _send(self, questions: Sequence[_Question]) -> None:
        places = {TopicPartition(self._topic, question.partition) for question in questions}
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


class ReceiptLog:
    """The first receipts in Kafka; used within :meth:`follow`."""

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        append: Append,
        *,
        limit: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._append = append
        self._clock = clock
        self._topic = settings.topics.first_receipts
        self._ends = PartitionEnds(admin(settings), self._topic.name)
        self._partitions = 0
        self.receipts = FirstReceipts(limit)

    def claim(self, event_id: str, received_at: datetime, *, by: str = "") -> Future[datetime]:
        """Return the first receipt of ``event_id``: ``received_at`` if it is new.

        The future raises BrokerError: Kafka is not reachable, the event is new and the limit
        reached, or the record was not read back.
        """
        answer: Future[datetime] = running()
        key = UUID(event_id).bytes

        def read(done: Published) -> None:
            own = self.receipts.after(done.partition, done.offset + 1, key)
            lost = BrokerError(f"the receipt of {event_id} was not read back")
            _then(own, _known_or(lost, answer), answer)

        try:
            self.receipts.take_room(self._clock(), by)
        except ReceiptsFullError as full:
            _then(self.recall([event_id])[event_id], _known_or(full, answer), answer)
        else:
            try:
                _then(self._written(event_id, event_id, received_at), read, answer)
            except BrokerError as error:
                answer.set_exception(error)
        return answer

    def bind(self, request_id: str, received_at: datetime, *, by: str = "") -> Future[bool]:
        """Return whether ``request_id`` is the first that begins with its half.

        The future raises BrokerError as :meth:`claim` does.
        """
        answer: Future[bool] = running()
        own = UUID(request_id).bytes
        half = own[:HALF]

        def read(done: Published) -> None:
            first = self.receipts.request_after(done.partition, done.offset + 1, half, received_at)
            _then(first, lambda found: answer.set_result(found == own), answer)

        try:
            self.receipts.take_room(self._clock(), by)
            _then(self._written(request_id, half.hex(), received_at), read, answer)
        except BrokerError as error:
            answer.set_exception(error)
        return answer

    def _written(self, own_id: str, key: str, received_at: datetime) -> Future[Published]:
        """Append the record of an id, to the partition of ``key``; raises BrokerError."""
        value = {"event_id": own_id, "received_at": received_at}
        record = KafkaRecord(
            topic=self._topic.name,
            key=key.encode(),
            value=self._codec.encode(self._topic.record, value),
            headers=[],
        )
        return self._append(own_id, record)

    def recall(self, event_ids: Collection[str]) -> Mapping[str, Future[datetime | None]]:
        """Return the first receipt of each of ``event_ids``, or None if no endpoint claimed it.

        The futures raise BrokerError where the end of the partition cannot be read.
        """
        partitions = {
            event_id_: partition_of(event_id_.encode(), self._partitions) for event_id_ in event_ids
        }
        ends = self._ends.ask(set(partitions.values()))
        return {
            one: self._after_end(ends[partition], partition, one)
            for one, partition in partitions.items()
        }

    def _after_end(
        self, end: Future[int], partition: int, event_id: str
    ) -> Future[datetime | None]:
        answer: Future[datetime | None] = running()

        def read(end: int) -> None:
            receipt = self.receipts.after(partition, end, UUID(event_id).bytes)
            _then(receipt, answer.set_result, answer)

        _then(end, read, answer)
        return answer

    @contextmanager
    def follow(self) -> Iterator[Self]:
        """Yield this log; a thread reads the topic until the context ends.

        Raises:
            BrokerError: the topic does not exist, or Kafka cannot be reached.
        """
        follower = RecordFollower(
            access_of(self._settings), self._topic, self, moved=lambda: self._moved(follower)
        )
        with follower.follow(complete=False):
            self._partitions = len(follower.positions)
            stopped = threading.Event()
            with in_thread(partial(self._repeat, stopped), "ends of receipts", stopped):
                yield self

    def _repeat(self, stopped: threading.Event) -> None:
        while not stopped.wait(_POLL):
            self._ends.repeat()

    def _moved(self, follower: RecordFollower) -> None:
        for partition, position in follower.positions.items():
            self.receipts.read_to(partition, position)

    def take(self, records: Sequence[Message]) -> int:
        """Take ``records`` until the schema of one cannot be fetched now; return how many."""
        return take_each(records, self._read)

    def _read(self, message: Message) -> None:
        partition, offset = message.partition() or 0, message.offset() or 0
        try:
            value = self._codec.decode(self._topic.record, message.value() or b"")
            event_id = UUID(value["event_id"]).bytes
        except (UndecodableError, ValueError) as error:
            _log.error(
                "first receipt skipped", partition=partition, offset=offset, error=str(error)
            )
            return
        self.receipts.read(
            partition,
            offset,
            event_id,
            value["received_at"],
            appended_at=append_instant(message.timestamp()[1]),
        )


def _known_or(error: BrokerError, answer: Future[datetime]) -> Callable[[datetime | None], None]:
    def take(found: datetime | None) -> None:
        if found is None:
            raise error
        answer.set_result(found)

    return take


def _then(first: Future[T], use: Callable[[T], None], answer: Future[Any]) -> None:
    """Have ``use`` take the result of ``first``; what either raises is the ``answer``."""

    def done(future: Future[T]) -> None:
        try:
            use(future.result())
        except BrokerError as error:
            answer.set_exception(error)
        except KafkaException as error:
            answer.set_exception(BrokerError(error.args[0].str()))

    first.add_done_callback(done)
