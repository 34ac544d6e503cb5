"""A Faust transport that delivers one message per fetched partition batch, and never commits.

Faust's own cost is per message (some 60 µs: a queue, a stream, an event, an acknowledgement each).
This transport subclasses its aiokafka driver so that the unit of all that is the *batch*: whatever
one fetch brought for one partition arrives as one message whose value is a :class:`RecordBatch`. An
agent then handles thousands of records a step, and Faust keeps what it is good at: assignment,
rebalance, lifecycle.

Offsets are the worker's business: they ride in its own Kafka transactions, so this consumer offers
Faust nothing to commit, and reads from nowhere that Faust says. A lane is fetched once the worker
has opened the ``gate`` for it, at the offset that it then seeks (see ``gate``).

One fetch is in flight to a broker at a time, and aiokafka leaves out of it the partitions whose
records are fetched and not yet delivered. Where only quiet partitions are left, such a fetch would
wait for them for a second and more, and everything else for it: a worker of one busy and one quiet
topic would be idle most of the time. So a fetch that leaves out partitions waits for next to
nothing.

A batch says from where it is complete (``start``), by the consumer's own position, so transaction
markers, aborted records and compaction gaps are no holes, even where a whole fetch had nothing
else. A seek or a reset breaks that count: a reader that compares ``start`` with where it stopped
sees any skipped record.

A batch whose checksum is wrong was damaged on its way, or is on the broker's disk: nothing in it
can be trusted, its offsets neither. It is fetched again and again; only its partition waits.

The driver gives up at its first attempt to connect, and Faust with it. A worker that starts while
its broker restarts would end, though it would only have had to wait; so a broker that is away is
waited for. Nor does a consumer wait for its group when it ends: a worker has to be gone in time,
and its session shows that it has left.

Register once, before the app is made, then use the scheme ``batch://``::

    transport.register(gate)
    app = faust.App(..., broker="batch://127.0.0.1:9092", topic_disable_leader=True)

What this relies on inside Faust and aiokafka is listed in ``RELIES_ON``; a test checks each, so
that an upgrade that moves one fails there and not in production.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set as AbstractSet
from contextlib import suppress
from time import monotonic
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
)
from faust.transport.drivers import TRANSPORTS, aiokafka as driver

from izin.kafka.clients import CONTESTED
from izin.runtime.logs import get_logger
from izin.streams.engine import unpacking
from izin.streams.engine.gate import FetchGate, Lane, RecordBatch
from izin.streams.engine.unpacking import FetchedBatches, UnpackedFetch
from izin.streams.engine.watches import StaticMember
from izin.streams.fetched_record import FetchedRecord

SCHEME = "batch"
_PUBLISHED_WITHIN = 1.0
"""Seconds: a commit that waits for a rebalance would keep the consumer from ending."""

_PAUSE = 1.0
_STOPPED_WITHIN = 1.0
"""Seconds: a consumer that is just about to join its group again waits for all of it first."""
WHOLE_WAIT = 500
"""Milliseconds that a broker may wait for a record in a fetch of all its partitions."""
PARTIAL_WAIT = 25
"""The same, in a fetch that leaves out partitions whose records are still being processed."""
_DAMAGED_FOR = 5.0
"""Seconds after which a partition is read again whose batch has a wrong checksum."""

RELIES_ON = (
    *unpacking.RELIES_ON,
    "aiokafka.consumer.group_coordinator:GroupCoordinator._send_req",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_heartbeat",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_start",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_thread_stop",
    "faust.transport.drivers.aiokafka:Producer.on_start",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._fetch_records",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer",
    "faust.transport.drivers.aiokafka:Consumer._new_consumer_thread",
    "faust.transport.drivers.aiokafka:Consumer._to_message",
    "faust.transport.consumer:Consumer._new_offset",
    "faust.transport.consumer:Consumer._add_gap",
    "faust.transport.consumer:Consumer.perform_seek",
    "faust.transport.consumer:Consumer._drain_messages",
    "aiokafka.consumer.fetcher:Fetcher.fetched_records",
    "aiokafka.consumer.fetcher:Fetcher._create_fetch_waiter",
    "aiokafka.consumer.fetcher:Fetcher._get_actions_per_node",
    "aiokafka.protocol.fetch:FetchRequest.__init__",
    "aiokafka.consumer.subscription_state:SubscriptionState.fetch_context",
    "aiokafka.consumer.subscription_state:SubscriptionState.wait_for_assignment",
    "aiokafka.consumer.subscription_state:TopicPartitionState.position",
)


_log = get_logger(__name__)


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """Fetches in its own thread and event loop, and makes batches of what it fetched."""

    gate: FetchGate
    """Which lanes may be fetched; :func:`register` sets it."""
    ahead: frozenset[str] = frozenset()
    """The topics whose records are delivered before any other's: see :func:`register`."""
    member: StaticMember | None = None
    _fetcher: Any = None
    """The fetcher whose waits were shortened."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # the driver is untyped
        super().__init__(*args, **kwargs)
        self._empty: dict[Any, tuple[int, int]] = {}
        """Consumed offsets without a record for us, from and to: markers, aborted, compacted."""
        self._damaged: dict[Any, float] = {}
        """By lane: until when, by ``time.monotonic``, it is not read, for a batch is damaged."""
        self._gate_changed = asyncio.Event()

    async def on_start(self) -> None:
        """Connect as soon as a broker answers, or the worker ends."""
        is_reported = False
        while not self.should_stop:
            try:
                await super().on_start()
            except KafkaConnectionError as error:
                await self._consumer.stop()
                if not is_reported:
                    _log.critical("Kafka not reached", error=str(error), effect="it is waited for")
                    is_reported = True
                await self.sleep(_PAUSE)
            else:
                coordinator = self._consumer._coordinator  # noqa: SLF001  # made by its start
                if (name := coordinator._group_instance_id) is not None:  # noqa: SLF001  # the same
                    self.member = StaticMember(name)
                    self.member.watch(coordinator)
                return

    async def on_thread_stop(self) -> None:
        """Stop the consumer, in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOPPED_WITHIN):
                await super().on_thread_stop()

    def _create_worker_consumer(self, transport: Any) -> Any:  # noqa: ANN401  # the driver is untyped
        consumer = super()._create_worker_consumer(transport)
        # The driver reads uncommitted unless Faust itself runs the transactions; ours are not
        # Faust's.
        consumer._isolation_level = "read_committed"  # noqa: SLF001  # no public way past the driver
        consumer._fetch_max_wait_ms = WHOLE_WAIT  # noqa: SLF001  # the same
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,  # noqa: ANN401  # aiokafka publishes no types
        active_partitions: AbstractSet[Any],
        timeout: float | None = None,  # noqa: ASYNC109  # the driver's signature
        max_records: int | None = None,
    ) -> Mapping[Any, Sequence[ConsumerRecord[None, RecordBatch]]]:
        fetcher = consumer._fetcher  # noqa: SLF001  # made when the consumer starts
        if fetcher is not self._fetcher:
            shorten_waits(fetcher)
            self._fetcher = fetcher
            loop = asyncio.get_running_loop()
            self.gate.on_change = lambda: loop.call_soon_threadsafe(self._gate_changed.set)
        self._gate_changed.clear()
        batches = await self._deliver(consumer, active_partitions, max_records)
        if not batches and timeout and await fetched_or_set(consumer, self._gate_changed, timeout):
            batches = await self._deliver(consumer, active_partitions, max_records)
        return batches

    async def _deliver(
        self,
        consumer: Any,  # noqa: ANN401  # aiokafka publishes no types
        active_partitions: AbstractSet[Any],
        max_records: int | None,
    ) -> Mapping[Any, Sequence[ConsumerRecord[None, RecordBatch]]]:
        """Return batches of what was fetched already: of all topics that go ahead, and of one
        partition of the others, so that neither waits for the other and no batch is a fraction.
        """
        self._seek(consumer)
        now = monotonic()
        openings = self.gate.openings(
            active_partition
            for active_partition in active_partitions
            if self._damaged.get(active_partition, now) <= now
        )
        fetched = [tp for tp in consumer._fetcher._records if tp in openings]  # noqa: SLF001  # the oldest fetch first
        batches: dict[Any, Sequence[ConsumerRecord[None, RecordBatch]]] = {}
        for tp in sorted(fetched, key=lambda tp: tp[0] not in self.ahead):
            found = await self._batch(consumer, tp, openings[tp], max_records)
            if found is not None:
                batches[tp] = [found]
                if tp[0] not in self.ahead:
                    break
        return batches

    def _seek(self, consumer: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
        """Go to where lanes that were opened meanwhile are to be read from."""
        for lane, offset in self.gate.take_seeks().items():
            try:
                consumer.seek(TopicPartition(*lane), offset)
            except IllegalStateError:
                continue  # it was assigned elsewhere, and the worker is about to learn it
            self._empty.pop(lane, None)

    async def _batch(
        self,
        consumer: Any,  # noqa: ANN401  # aiokafka publishes no types
        tp: Any,  # noqa: ANN401  # Faust's TP
        opening: int,
        max_records: int | None,
    ) -> ConsumerRecord[None, RecordBatch] | None:
        """Return a batch of what was fetched of ``tp``, None where nothing in it is for us. Nothing
        is awaited between the two reads of the position, so they differ by what was consumed and by
        no seek.
        """
        subscriptions = consumer._subscription  # noqa: SLF001  # aiokafka has no public way
        if subscriptions.reassignment_in_progress:
            await subscriptions.wait_for_assignment()
        start = position(consumer, tp)
        try:
            fetched = await super()._fetch_records(
                consumer, {tp}, timeout=0, max_records=max_records
            )
        except CorruptRecordException as error:
            self._damaged[tp] = monotonic() + _DAMAGED_FOR
            consumer.seek(TopicPartition(*tp), start)
            effect = "its records wait, opt-outs too; the other partitions go on"
            _log.critical("batch damaged", error=str(error), offset=start, effect=effect)
            return None
        end, empty = position(consumer, tp), self._empty.pop(tp, None)
        if empty is not None and empty[1] == start:
            start = empty[0]
        if tp in fetched:
            return _batch_record(tp, fetched[tp], start, end, opening)
        if start is not None and end is not None:
            self._empty[tp] = start, end
        return None

    async def publish_offsets(self, offsets: Mapping[Lane, int]) -> None:
        """Commit ``offsets`` to the group. Nothing reads them, so a failure has no consequence."""
        await self.call_thread(self._publish_offsets, self._ensure_consumer(), offsets)

    async def _publish_offsets(self, consumer: Any, offsets: Mapping[Lane, int]) -> None:  # noqa: ANN401  # aiokafka publishes no types
        try:
            async with asyncio.timeout(_PUBLISHED_WITHIN):
                is_contested = self.member is not None and self.member.is_contested
                await consumer.commit(
                    {
                        # librdkafka reads notes up to the next zero byte.
                        TopicPartition(*lane): (at, f"{CONTESTED}\0") if is_contested else at
                        for lane, at in offsets.items()
                    }
                )
        except (KafkaError, TimeoutError) as error:
            _log.debug("group offsets not committed", error=type(error).__name__)


class _AnyOffset(dict[Any, Any]):
    """Faust's offsets read so far, by which it drops what was read before: here the worker does."""

    def __getitem__(self, tp: Any) -> None:  # noqa: ANN401  # Faust's TP
        """Return None: nothing was read."""

    def __setitem__(self, tp: Any, offset: Any) -> None:  # noqa: ANN401  # the same
        """Keep nothing."""


class BatchConsumer(driver.Consumer):
    """A consumer of batches that leaves offsets to whoever processes them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # the driver is untyped
        super().__init__(*args, **kwargs)
        self._read_offset = _AnyOffset()

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Seek nowhere: the gate has the offsets."""

    async def publish_offsets(self, offsets: Mapping[Lane, int]) -> None:
        """Commit ``offsets`` to the group, for lag tools alone."""
        if offsets:
            await self._thread.publish_offsets(offsets)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:  # noqa: ANN401  # Faust's TP
        """Keep no gaps: they serve only to find what to commit."""

    def _new_offset(self, tp: Any) -> int | None:  # noqa: ANN401  # Faust's TP
        """Offer nothing to commit, and drop what was acknowledged, for nothing else would."""
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return None


class NoProducer(driver.Producer):
    """Faust's producer, with which nothing is sent."""

    async def on_start(self) -> None:
        """Connect to nothing."""


class Transport(driver.Transport):
    """The driver, with batches."""

    Consumer = BatchConsumer
    Producer = NoProducer


def register(gate: FetchGate, *, ahead: Iterable[str] = ()) -> None:
    """Make ``batch://`` a broker scheme of Faust.

    Only lanes that are open at ``gate`` are fetched. Records of the topics ``ahead`` are delivered
    before what was fetched of any other, so they never wait for more than the batches that Faust
    has already. Holds for all apps of the process, and so does that aiokafka unpacks by
    ``unpacking``.
    """
    aiokafka_fetcher.FetchResult = UnpackedFetch
    aiokafka_fetcher.MemoryRecords = FetchedBatches
    BatchConsumerThread.gate = gate
    BatchConsumerThread.ahead = frozenset(ahead)
    TRANSPORTS.aliases[SCHEME] = f"{__name__}:{Transport.__name__}"


def _batch_record(
    tp: Any,  # noqa: ANN401  # Faust's TP
    records: Sequence[FetchedRecord],
    start: int | None,
    end: int | None,
    opening: int,
) -> ConsumerRecord[None, RecordBatch]:
    first, last = records[0], records[-1]
    # Without a position the first record is where the batch starts: a marker before it may look
    # like a hole, never the reverse.
    begun = start if start is not None and start <= first.offset else first.offset
    following = end if end is not None and end > last.offset else last.offset + 1
    return ConsumerRecord(
        topic=tp.topic,
        partition=tp.partition,
        offset=last.offset,
        timestamp=last.timestamp,
        timestamp_type=1,  # LogAppendTime, which input topics have
        headers=(),
        key=None,
        value=RecordBatch(begun, following, records, opening),
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
    )


def position(consumer: Any, tp: Any) -> int | None:  # noqa: ANN401  # aiokafka publishes no types
    """Return the position of ``tp``; None where it is not assigned, or has none."""
    subscription = consumer._subscription.subscription  # noqa: SLF001  # public calls would await a lookup
    assignment = subscription and subscription.assignment
    state = assignment and assignment.state_value(tp)
    return state.position if state and state.has_valid_position else None


def shorten_waits(fetcher: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
    """Have ``fetcher`` wait for records only where its request leaves out no partition."""
    actions = fetcher._get_actions_per_node  # noqa: SLF001  # aiokafka has no public way

    def with_short_waits(assignment: Any) -> Any:  # noqa: ANN401  # the same
        requests, *others = actions(assignment)
        if fetcher._records:  # noqa: SLF001  # fetched and not yet handed over
            for _, request in requests:
                request._max_wait_ms = PARTIAL_WAIT  # noqa: SLF001  # aiokafka has no public way
        return requests, *others

    fetcher._get_actions_per_node = with_short_waits  # noqa: SLF001  # the same


async def fetched_or_set(consumer: Any, event: asyncio.Event, limit: float) -> bool:  # noqa: ANN401  # aiokafka publishes no types
    """Wait until a fetch brought anything or ``event`` is set, at most ``limit`` seconds; False if
    neither happened.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  # aiokafka has no public way
    with consumer._subscription.fetch_context():  # noqa: SLF001  # the same
        waiter = fetcher._create_fetch_waiter()  # noqa: SLF001  # the same
        changed = asyncio.ensure_future(event.wait())
        done, _ = await asyncio.wait(
            (waiter, changed), timeout=limit, return_when=asyncio.FIRST_COMPLETED
        )
    changed.cancel()
    if waiter in done:
        waiter.result()
    else:
        waiter.cancel()
    return bool(done) and not fetcher._closed  # noqa: SLF001  # the same
