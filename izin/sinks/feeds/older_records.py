"""Read records that are no longer in memory: a few consumers, which all requests share.

A request reads one stretch at a time and then gives way. Those who wait are served in turn by their
API key, so that no key with many requests delays the request of another. Each consumer works in a
thread: nothing here keeps the event loop waiting.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import monotonic

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from izin.consent.errors import OurError
from izin.kafka.partition_client import partition_client
from izin.runtime.broker_faults import is_unreadable
from izin.runtime.observe import get_logger
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import KafkaSettings
from izin.sinks.feeds.log import LogRecord, LostOffsetError, Stretch, UnreachableLogError

_WITHIN = 5.0
"""Seconds in which a stretch must be there."""
_PLACE_WITHIN = 15.0
"""Seconds after which a request is refused that has no place yet."""
_WAIT = 0.05
_FETCH_BYTES = 256 * 1024
_AHEAD_KB = 4096

_log = get_logger(__name__)


class FairPlaces:
    """Gives out a number of places, to those who wait in turn by their names."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def place(self, name: str) -> AsyncIterator[None]:
        """Wait for a place of ``name``, and have it while the block runs."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(name)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, name: str) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._pass_on()  # it was given meanwhile
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            name, places = self._waiting.popitem(last=False)
            place = places.popleft()
            if places:
                self._waiting[name] = places  # behind the others
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class BusyReadersError(OurError):
    """Too many requests read older records for one more to have a place in time."""


class OlderRecords:
    """Reads stretches of any topic, ``readers`` at a time. Close it at the end."""

    def __init__(self, settings: KafkaSettings, *, readers: int) -> None:
        self._settings = settings
        self._turns = FairPlaces(readers)
        self._idle: list[Consumer] = []

    async def read(
        self, topic: str, starts: Mapping[int, int], most: int, *, name: str
    ) -> Mapping[int, Stretch]:
        """Return about ``most`` records of the partitions of ``starts``, each from its offset on.

        ``name`` is that of the API key that asks.

        Raises:
            LostOffsetError: retention has deleted what is at such an offset, or it is behind the
                end of the log.
            UnreachableLogError: Kafka does not answer.
            BusyReadersError: too many others read.
        """
        try:
            async with asyncio.timeout(_PLACE_WITHIN) as limit, self._turns.place(name):
                limit.reschedule(None)
                return await self._read(topic, starts, most)
        except TimeoutError:
            raise BusyReadersError from None

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
            raise UnreachableLogError(f"{topic}: {error.args[0].str()}") from error
        except asyncio.CancelledError:
            raise  # its thread still uses the consumer, which goes with it
        except LostOffsetError:
            self._idle.append(client)
            raise
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

    Raises LostOffsetError, and KafkaException where the error is another one.
    """
    fault = message.error()
    if fault is not None and fault.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public spelling
        return message.offset() or 0
    if fault is not None and fault.code() in _LOST:
        raise LostOffsetError(message.partition() or 0)
    raise KafkaException(fault)


_LOST = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001  # its public spelling
        KafkaError.OFFSET_OUT_OF_RANGE,
    }
)
