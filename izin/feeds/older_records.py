"""Read records that are no longer in memory: a few consumers, which all requests share.

A request reads one stretch at a time and then gives way. Of one API key no more requests have a
consumer, or wait in the queue for one, than there are consumers: so no key with many requests
delays the request of another for long. Each consumer works in a thread: nothing here keeps the
event loop waiting.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from time import monotonic

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from izin.feeds.protocol import (
    FeedRefusal,
    LogRecord,
    Stretch,
)
from izin.kafka.bounded_reader import OffsetGoneError, partition_client
from izin.kafka.connections import is_unreadable
from izin.runtime.errors import BrokerError
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import KafkaSettings

_WITHIN = 5.0
"""Seconds in which a stretch must be there."""
_TURN_WITHIN = 15.0
"""Seconds after which a request is refused that has no consumer yet."""
_WAIT = 0.05
_FETCH_BYTES = 256 * 1024
_AHEAD_KB = 4096
_LOST = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001  # its public spelling
        KafkaError.OFFSET_OUT_OF_RANGE,
    }
)


class OlderRecords:
    """Reads stretches of any topic, ``readers`` at a time. Close it at the end."""

    def __init__(self, settings: KafkaSettings, *, readers: int) -> None:
        self._settings = settings
        self._turns = asyncio.Semaphore(readers)
        self._turns_of = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(readers))
        """By API key: how many of its requests may have a consumer, or wait for one."""
        self._idle: list[Consumer] = []

    async def read(
        self, topic: str, starts: Mapping[int, int], most: int, *, name: str
    ) -> Mapping[int, Stretch]:
        """Return about ``most`` records of the partitions of ``starts``, each from its offset on.

        ``name`` is that of the API key that asks.

        Raises:
            OffsetGoneError: retention has deleted what is at such an offset, or it is behind the
                end of the log.
            BrokerError: Kafka does not answer.
            RequestRefusedError: too many others read.
        """
        try:
            async with (
                asyncio.timeout(_TURN_WITHIN) as limit,
                self._turns_of[name],
                self._turns,
            ):
                limit.reschedule(None)
                return await self._read(topic, starts, most)
        except TimeoutError:
            raise FeedRefusal.BUSY.error() from None

    async def _read(
        self, topic: str, starts: Mapping[int, int], most: int
    ) -> Mapping[int, Stretch]:
        client = self._idle.pop() if self._idle else self._consumer()
        try:
            found = await in_daemon_thread(
                lambda: _read(client, topic, starts, most), name="older records"
            )
        except KafkaException as error:
            await in_daemon_thread(client.close, name="older records")
            raise BrokerError(f"{topic}: {error.args[0].str()}") from error
        except OffsetGoneError:
            self._idle.append(client)
            raise
        # Where it was cancelled, its thread still uses the consumer, which goes with it.
        self._idle.append(client)
        return found

    async def close(self) -> None:
        """Close the consumers that are idle."""
        while self._idle:
            await in_daemon_thread(self._idle.pop().close, name="older records")

    def _consumer(self) -> Consumer:
        return partition_client(
            self._settings,
            "izin-feed-older",
            {},
            **{
                "auto.offset.reset": "error",
                # A new stretch waits for the fetch of the last one, which at an end has nothing.
                "fetch.wait.max.ms": 10,
                "fetch.message.max.bytes": _FETCH_BYTES,
                "queued.max.messages.kbytes": _AHEAD_KB,
                "fetch.queue.backoff.ms": 5,
            },
        )


def _read(
    client: Consumer, topic: str, starts: Mapping[int, int], most: int
) -> Mapping[int, Stretch]:
    # Else it would look for leaders when it needs them, and again half a second later.
    client.list_topics(topic, timeout=_WITHIN)
    client.assign([TopicPartition(topic, number, offset) for number, offset in starts.items()])
    try:
        return _stretches(client, topic, starts, most)
    finally:
        client.unassign()


def _stretches(
    client: Consumer, topic: str, starts: Mapping[int, int], most: int
) -> Mapping[int, Stretch]:
    """Return what was read once each partition has its share of ``most`` records, or has ended."""
    found: dict[int, list[LogRecord]] = {number: [] for number in starts}
    reached, ended, open_ = dict(starts), set[int](), set(starts)
    share, limit = -(-most // len(starts)), monotonic() + _WITHIN
    while open_:
        messages = client.consume(1, _WAIT)
        messages += client.consume(most, 0) if messages else []
        for message in messages:
            number = message.partition() or 0
            if is_unreadable(message):
                open_.discard(number)  # neither read to its end, nor keeping the others waiting
            elif message.error() is not None:
                end = _end_in(message)
                if number in open_:  # else it is of the stretch before
                    reached[number] = max(reached[number], end)
                    ended.add(number)
                    open_.discard(number)
            elif number in open_:
                found[number].append(LogRecord(message))
                reached[number] = (message.offset() or 0) + 1
                if len(found[number]) >= share:
                    open_.discard(number)
                    client.incremental_unassign([TopicPartition(topic, number)])
        if not messages and monotonic() > limit:
            if not any(found.values()):
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
            break
    return {number: Stretch(found[number], end, number in ended) for number, end in reached.items()}


def _end_in(message: Message) -> int:
    """Return the end that an error of the consumer shows.

    Raises OffsetGoneError, and KafkaException where the error is another one.
    """
    fault = message.error()
    if fault is not None and fault.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public spelling
        return message.offset() or 0
    if fault is not None and fault.code() in _LOST:
        raise OffsetGoneError
    raise KafkaException(fault)
