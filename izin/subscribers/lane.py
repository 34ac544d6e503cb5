"""One topic as one subscriber reads it: a consumer of its group, and the thread that polls it.

Kafka is polled only while somebody waits for a change, and never for much longer than the caller
takes for what was read. So an instance whose caller hangs loses its partitions to the others after
five minutes, and a rebalance waits for a second of work at most.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from izin.runtime.broker_faults import broker_errors
from izin.runtime.errors import RegistryError
from izin.runtime.kafka_clients import KafkaConnection
from izin.runtime.plain_log import PlainLogger
from izin.subscribers.changes import Change, Position
from izin.subscribers.checkpoints import CheckpointStore, Progress
from izin.subscribers.errors import (
    ConfirmationOrderError,
    UnconfirmedChangesError,
)
from izin.subscribers.group_consumer import group_consumer, judge
from izin.subscribers.pace import Pace
from izin.subscribers.reading import ChangeReader, Confirm
from izin.subscribers.starts import Starts

T = TypeVar("T")

_TIMEOUT = 15.0
_POLL = 0.5
_PAUSE = 1.0
_SAVED_EVERY = 60.0
"""Seconds after which a store learns of records that nobody wants."""
_MOST_UNCONFIRMED = 10_000

_log = PlainLogger(__name__)


def _as_it_is(change: Change) -> Change:
    return change


class Lane:
    """The changes of one topic for one subscriber.

    ``review`` returns a change as it is delivered, or None while it must wait, and those behind it.
    """

    def __init__(  # noqa: PLR0913  # what is read, from where, by whom and for whom
        self,
        connection: KafkaConnection,
        *,
        subscriber: str,
        topic: str,
        since: datetime | None,
        store: CheckpointStore | None,
        make_reader: Callable[[Confirm], ChangeReader],
        review: Callable[[Change], Change | None] = _as_it_is,
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
        self._progress: dict[int, Progress] = {}
        self._client: Consumer | None = None
        self._pace = Pace()

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
            unconfirmed = sum(one.unconfirmed for one in self._progress.values())
        if unconfirmed >= _MOST_UNCONFIRMED:
            raise UnconfirmedChangesError(unconfirmed)
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
            progress = self._progress.get(number)
            if progress is not None:
                progress.add(message.offset() or 0, is_wanted=change is not None)
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
                self._progress[one.partition] = Progress()
        if new:
            self._keep(client, new)
        client.incremental_assign(starts)

    def _on_revoke(self, _client: Consumer, partitions: list[TopicPartition]) -> None:
        """Forget what was read of ``partitions``: whoever gets them goes on at the checkpoints."""
        gone = {one.partition for one in partitions}
        with self._lock:
            for number in gone:
                self._progress.pop(number, None)
            kept = [one for one in self._buffer if one.position.partition not in gone]
            self._buffer.clear()
            self._buffer.extend(kept)

    def _keep(self, client: Consumer, starts: list[TopicPartition]) -> None:
        """Make ``starts`` the checkpoints of their partitions."""
        store = self._store
        if store is None:
            client.commit(offsets=starts, asynchronous=False)
            return
        for one in starts:
            self._wait(store.save(one.topic, one.partition, one.offset))

    def _load(self, place: TopicPartition) -> int | None:
        store = self._store
        return None if store is None else self._wait(store.load(place.topic, place.partition))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns in the event loop; called in the thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _confirm(self, position: Position) -> None:
        with self._lock:
            progress = self._progress.get(position.partition)
            is_first = progress is not None and progress.is_first(position.offset)
        if progress is None or self._stopped.is_set():
            return
        if self._store is not None:
            if not is_first:
                raise ConfirmationOrderError(*position)
            await self._store.save(position.topic, position.partition, position.offset + 1)
            progress.saved(position.offset + 1, time.monotonic())
        with self._lock:
            progress.confirm(position.offset)
        self._store_offsets()

    async def _save_skipped(self, store: CheckpointStore) -> None:
        """Save up to where nobody wants what was read, or the topic would forget the checkpoint."""
        now = time.monotonic()
        with self._lock:
            due = [
                (number, one, one.checkpoint)
                for number, one in self._progress.items()
                if not one.unconfirmed and one.is_to_be_saved(now - _SAVED_EVERY)
            ]
        for number, progress, offset in due:
            if offset is not None:
                await store.save(self._topic, number, offset)
                progress.saved(offset, now)

    def _store_offsets(self) -> None:
        """Hand the checkpoints to librdkafka, which commits them: with a store, for lag alone."""
        with self._lock:
            moved = [
                TopicPartition(self._topic, number, offset)
                for number, one in self._progress.items()
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
