"""One topic as one subscriber reads it: a consumer of its group, and the thread that polls it.

Kafka is polled only while somebody waits for a change, and never for much longer than the caller
takes for what was read. So an instance whose caller hangs loses its partitions to the others after
five minutes, and a rebalance waits for a second of work at most.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from izin.kafka.connections import (
    Brokers,
    broker_errors,
    consumer,
    is_unreadable,
    while_leaders_move,
)
from izin.runtime.errors import BrokerError, RegistryError
from izin.runtime.plain_log import PlainLogger
from izin.subscribers.changes import (
    Change,
    ChangeReader,
    CheckpointStore,
    Confirm,
    PartitionCheckpoint,
    Position,
)
from izin.subscribers.errors import (
    CheckpointLostError,
    ConfirmationOrderError,
    UnconfirmedChangesError,
)

T = TypeVar("T")

_TIMEOUT = 15.0
_QUICK, _SLOW = 0.1, 0.5
"""Seconds for one batch: the next is greater, or smaller."""
_MOST = 50

_log = PlainLogger(__name__)
_OPTIONS: dict[str, Any] = {
    "allow.auto.create.topics": False,
    "auto.offset.reset": "error",
    # What is confirmed is stored; librdkafka commits that, also when partitions are revoked.
    "enable.auto.commit": True,
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": 1000,
    "partition.assignment.strategy": "cooperative-sticky",
    # The opt-outs of an instance that was killed wait for so long.
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1000,
    # Compressed records grow tenfold.
    "queued.max.messages.kbytes": 8 * 1024,
    "fetch.message.max.bytes": 64 * 1024,
    "fetch.wait.max.ms": 100,
}
_REFUSED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""The codes of what waiting does not change."""
_POLL = 0.5
_PAUSE = 1.0
_SAVED_EVERY = 60.0
"""Seconds after which a store learns of records that nobody wants."""
_MOST_UNCONFIRMED = 10_000


class BatchSize:
    """The size of the batches of one caller; instants are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._size = 1
        self._was_full = False
        self._read_at = 0.0

    def size(self, now: float) -> int:
        """Return how many records to read, by how long the caller took for the last ones."""
        took = now - self._read_at
        if took > _SLOW:
            self._size = max(self._size // 4, 1)
        elif self._was_full and took < _QUICK:
            self._size = min(self._size * 2, _MOST)
        return self._size

    def read(self, count: int, now: float) -> None:
        """Note that so many records were read, until ``now``."""
        self._was_full, self._read_at = count >= self._size, now


class Starts:
    """Starts at the checkpoints; where there is none, at the first record not before ``since``.

    ``load`` returns the checkpoint of a partition that a store has; without it they are Kafka's.
    """

    def __init__(
        self, since: datetime | None, load: Callable[[TopicPartition], int | None] | None = None
    ) -> None:
        self._since = since
        self._load = load

    def of(
        self, client: Consumer, partitions: Sequence[TopicPartition]
    ) -> tuple[list[TopicPartition], list[TopicPartition]]:
        """Return where the ``partitions`` start, and which of these starts must become checkpoints.

        An instant is looked up once: the caller may say "from now on" at every start, and what was
        published between two of them must not be missed.

        Raises:
            KafkaException: the broker does not answer.
        """
        known = self._checkpoints(client, partitions)
        fresh = [partition for partition in partitions if partition.partition not in known]
        starts = [
            TopicPartition(one.topic, one.partition, known[one.partition])
            for one in partitions
            if one.partition in known
        ]
        if self._since is None:
            return [
                *starts,
                *(TopicPartition(one.topic, one.partition, OFFSET_BEGINNING) for one in fresh),
            ], []
        first = self._first(client, fresh, self._since)
        return [*starts, *first], first

    def _checkpoints(
        self, client: Consumer, partitions: Sequence[TopicPartition]
    ) -> dict[int, int]:
        if self._load is None:
            found = client.committed(list(partitions), timeout=_TIMEOUT)
            return {
                partition.partition: partition.offset
                for partition in found
                if partition.offset >= 0
            }
        loaded = {one.partition: self._load(one) for one in partitions}
        return {number: offset for number, offset in loaded.items() if offset is not None}

    @staticmethod
    def _first(
        client: Consumer, partitions: Sequence[TopicPartition], since: datetime
    ) -> list[TopicPartition]:
        if not partitions:
            return []
        # The ends come first: a record that is appended meanwhile must not be before the start.
        ask = while_leaders_move(client.get_watermark_offsets)
        ends = {
            partition.partition: ask(partition, timeout=_TIMEOUT)[1] for partition in partitions
        }
        instant = int(since.timestamp() * 1000)
        asked = [TopicPartition(one.topic, one.partition, instant) for one in partitions]
        found = while_leaders_move(client.offsets_for_times)(asked, timeout=_TIMEOUT)
        return [
            TopicPartition(
                one.topic, one.partition, one.offset if one.offset >= 0 else ends[one.partition]
            )
            for one in found
        ]


def group_consumer(connection: Brokers, subscriber: str, topic: str) -> Consumer:
    """Return a consumer of the group ``<subscriber>-<topic>``.

    Raises:
        BrokerError: Kafka cannot be reached, or the topic does not exist.
    """
    client = consumer(connection, f"{subscriber}-{topic}", **_OPTIONS)
    try:
        _require(client, connection, topic)
    except BrokerError:
        client.close()
        raise
    return client


def _require(client: Consumer, connection: Brokers, topic: str) -> None:
    with broker_errors(connection):
        found = client.list_topics(topic, timeout=_TIMEOUT).topics[topic]
    if found.error is not None:
        raise BrokerError(
            f"topic {topic} does not exist or may not be read; is the topic prefix "
            "(IZIN_TOPIC_PREFIX) right, and may this user read it?"
        )


def judge(fault: KafkaError, subscriber: str, message: Message) -> None:
    """Raise the ``fault`` that was polled as ``message``, unless it passes by itself, or is of a
    batch that cannot be unpacked: its partition waits there.

    Raises:
        CheckpointLostError: what follows a checkpoint is gone.
        KafkaException: Kafka refuses to serve the subscriber.
    """
    code = fault.code()
    if is_unreadable(message):
        return
    if code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # librdkafka's name for it
        raise CheckpointLostError(
            f"{subscriber}: the checkpoint of partition {message.partition()} of {message.topic()} "
            "is outside what the topic holds: it was away for longer than the topic keeps records, "
            "or the topic was made anew. Changes are missing: load a new snapshot "
            "(izin.subscribers.PermissionList or the topic permissions), then subscribe under "
            "another name"
        )
    if fault.fatal() or code in _REFUSED:
        raise KafkaException(fault)
    _log.warning("topic not read", subscriber=subscriber, error=fault.str())


class Lane:
    """The changes of one topic for one subscriber.

    ``review`` returns a change as it is delivered, or None while it must wait, and those behind it.
    """

    def __init__(  # noqa: PLR0913  # what is read, from where, by whom and for whom
        self,
        connection: Brokers,
        *,
        subscriber: str,
        topic: str,
        since: datetime | None,
        store: CheckpointStore | None,
        make_reader: Callable[[Confirm], ChangeReader],
        review: Callable[[Change], Change | None] = lambda change: change,
    ) -> None:
        self._connection = connection
        self._subscriber = subscriber
        self._topic = topic
        self._store = store
        self._starts = Starts(since, None if store is None else self._load)
        self._reader = make_reader(self._confirm)
        self._review = review
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=subscriber)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._buffer: deque[Change] = deque()
        self._checkpoints: dict[int, PartitionCheckpoint] = {}
        self._client: Consumer | None = None
        self._pace = BatchSize()

    @property
    def is_empty(self) -> bool:
        """Whether there is no change that was read and not delivered."""
        return not self._buffer

    def next(self) -> Change | None:
        """Return the next change that was read, None if there is none, or it must wait."""
        with self._lock:
            change = self._review(self._buffer[0]) if self._buffer else None
            if change is not None:
                self._buffer.popleft()
            return change

    async def open(self) -> None:
        """Join the group.

        Raises:
            BrokerError: Kafka cannot be reached, or the topic does not exist.
        """
        await self._in_thread(self._open)

    async def fetch(self) -> None:
        """Read what there is, or wait for half a second.

        Raises:
            BrokerError: Kafka refuses to serve this subscriber.
            CheckpointLostError: what follows a checkpoint is gone.
            UnconfirmedChangesError: too many changes are not confirmed.
        """
        await self._in_thread(self._fetch)
        if self._store is not None:
            await self._save_skipped(self._store)

    async def close(self) -> None:
        """Commit what is confirmed, and leave the group."""
        self._stopped.set()
        try:
            await self._in_thread(self._close)
        finally:
            self._thread.shutdown(wait=False)

    def _in_thread(self, work: Callable[[], None]) -> Awaitable[None]:
        return self._loop.run_in_executor(self._thread, work)

    def _open(self) -> None:
        client = self._client = group_consumer(self._connection, self._subscriber, self._topic)
        client.subscribe(
            [self._topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _fetch(self) -> None:
        if self._client is None or self._stopped.is_set():
            return
        with self._lock:
            unconfirmed = sum(checkpoint.unconfirmed for checkpoint in self._checkpoints.values())
        if unconfirmed >= _MOST_UNCONFIRMED:
            raise UnconfirmedChangesError(
                f"{unconfirmed} changes were delivered and not confirmed; call `await "
                "change.done()` for each, and limit how many you handle at a time"
            )
        size, count = self._pace.size(time.monotonic()), 0
        with broker_errors(self._connection):
            message = self._client.poll(_POLL)
            while message is not None and not self._stopped.is_set():
                self._take(message)
                count += 1
                message = self._client.poll(0) if count < size else None
        self._pace.read(count, time.monotonic())
        self._store_offsets()

    def _take(self, message: Message) -> None:
        fault = message.error()
        if fault is not None:
            judge(fault, self._subscriber, message)
            return
        change = self._read(message)
        if change is None and self._stopped.is_set():
            return
        number = message.partition() or 0
        with self._lock:
            checkpoint = self._checkpoints.get(number)
            if checkpoint is not None:
                checkpoint.add(message.offset() or 0, is_wanted=change is not None)
                if change is not None:
                    self._buffer.append(change)

    def _read(self, message: Message) -> Change | None:
        """Return the change that ``message`` is; wait where its schema cannot be fetched now."""
        while True:
            try:
                return self._reader.read(message)
            except RegistryError as error:
                _log.warning("change not read yet", subscriber=self._subscriber, error=error)
            if self._stopped.wait(_PAUSE):
                return None

    def _on_assign(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        starts, new = self._starts.of(client, partitions)
        with self._lock:
            for one in partitions:
                self._checkpoints[one.partition] = PartitionCheckpoint()
        if new:
            self._keep(client, new)
        client.incremental_assign(starts)

    def _on_revoke(self, _client: Consumer, partitions: list[TopicPartition]) -> None:
        """Forget what was read of ``partitions``: whoever gets them goes on at the checkpoints."""
        gone = {partition.partition for partition in partitions}
        with self._lock:
            for number in gone:
                self._checkpoints.pop(number, None)
            kept = [change for change in self._buffer if change.position.partition not in gone]
            self._buffer.clear()
            self._buffer.extend(kept)

    def _keep(self, client: Consumer, starts: list[TopicPartition]) -> None:
        """Make ``starts`` the checkpoints of their partitions."""
        store = self._store
        if store is None:
            client.commit(offsets=starts, asynchronous=False)
            return
        for start in starts:
            self._wait(store.save(start.topic, start.partition, start.offset))

    def _load(self, place: TopicPartition) -> int | None:
        store = self._store
        return None if store is None else self._wait(store.load(place.topic, place.partition))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns in the event loop; called in the thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _confirm(self, position: Position) -> None:
        with self._lock:
            checkpoint = self._checkpoints.get(position.partition)
            is_first = checkpoint is not None and checkpoint.is_first(position.offset)
        if checkpoint is None or self._stopped.is_set():
            return
        if self._store is not None:
            if not is_first:
                topic, partition, offset = position
                raise ConfirmationOrderError(
                    f"the change at offset {offset} of partition {partition} of {topic} is "
                    "confirmed before an earlier one of that partition; with a checkpoint store "
                    "confirm the changes of a partition in the order in which they came"
                )
            await self._store.save(position.topic, position.partition, position.offset + 1)
            checkpoint.saved(position.offset + 1, time.monotonic())
        with self._lock:
            checkpoint.confirm(position.offset)
        self._store_offsets()

    async def _save_skipped(self, store: CheckpointStore) -> None:
        """Save up to where nobody wants what was read, or the topic would forget the checkpoint."""
        now = time.monotonic()
        with self._lock:
            due = [
                (number, one, one.checkpoint)
                for number, one in self._checkpoints.items()
                if not one.unconfirmed and one.is_to_be_saved(now - _SAVED_EVERY)
            ]
        for number, checkpoint, offset in due:
            if offset is not None:
                await store.save(self._topic, number, offset)
                checkpoint.saved(offset, now)

    def _store_offsets(self) -> None:
        """Hand the checkpoints to librdkafka, which commits them: with a store, for lag alone."""
        with self._lock:
            moved = [
                TopicPartition(self._topic, number, offset)
                for number, one in self._checkpoints.items()
                if (offset := one.moved()) is not None
            ]
        if self._client is None or not moved:
            return
        try:
            self._client.store_offsets(offsets=moved)
        except KafkaException as error:
            # Revoked meanwhile: whoever has the partition now reads it again.
            if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001  # librdkafka's name
                raise
