"""The transport hands over every committed record once, in order, and sees a hole as a hole."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v4
from confluent_kafka import Producer
from faust.transport.drivers import TRANSPORTS

from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.streams.engine import app, transport
from izin.streams.engine.gate import FetchGate, RecordBatch
from izin.streams.engine.transport import BatchConsumer, BatchConsumerThread
from izin.streams.engine.unpacking import FetchedBatches
from izin.streams.ownership import transactional_producer
from tests.support.hostile.batches import RawProducer, batch_of
from tests.support.published import produce, remove_below


@pytest.mark.parametrize(
    "name", [*transport.RELIES_ON, *app.RELIES_ON, *transactional_producer.RELIES_ON]
)
def test_private_names_of_faust_and_aiokafka_exist(name: str) -> None:
    """An upgrade of Faust or aiokafka that moves a name fails here, not in production."""
    module, _, path = name.partition(":")
    assert attrgetter(path)(importlib.import_module(module))


def test_private_name_that_moved_is_found() -> None:
    """A name that moved is missed."""
    with pytest.raises(AttributeError):
        attrgetter("Consumer._moved_away")(
            importlib.import_module("faust.transport.drivers.aiokafka")
        )


def test_transport_registered_twice_is_unchanged() -> None:
    """The scheme leads to the transport, however often it is registered."""
    transport.register(FetchGate())
    transport.register(FetchGate())
    assert TRANSPORTS.by_name(transport.SCHEME) is transport.Transport


def test_consumer_offers_no_offset_to_commit() -> None:
    """Faust finds no offset to commit, and forgets what was acknowledged."""
    acked = SimpleNamespace(_acked={"tp": [1, 2]}, _acked_index={"tp": {1, 2}})
    assert BatchConsumer._new_offset(acked, "tp") is None
    assert (acked._acked, acked._acked_index) == ({"tp": []}, {"tp": set()})


@pytest.mark.parametrize(("held", "wait"), [({}, 500), ({"tp": "fetched"}, transport.PARTIAL_WAIT)])
def test_fetch_that_leaves_out_partitions_waits_briefly(held: dict[str, str], wait: int) -> None:
    """While a busy partition is worked on, a fetch of the quiet ones must not hold up its next."""
    asked = [(1, FetchRequest(500, 1, 1 << 20, 1, [("quiet", [(0, 7, 1 << 20)])]))]
    fetcher = SimpleNamespace(_get_actions_per_node=lambda _: (asked, "others"), _records=held)
    transport.shorten_waits(fetcher)
    ((_, request),), others = fetcher._get_actions_per_node("assignment")
    assert others == "others"
    assert request.build(FetchRequest_v4).max_wait_time == wait


class BatchReader:
    """The transport's fetch over a real consumer, without Faust around it."""

    def __init__(self, consumer: AIOKafkaConsumer, *places: TopicPartition) -> None:
        self.consumer = consumer
        self.place = places[0]
        self.gate = FetchGate()
        self.opening = self.gate.open(dict.fromkeys(places, 0))
        self._thread = BatchConsumerThread.__new__(BatchConsumerThread)
        self._thread.gate = self.gate
        self._thread._empty = {}
        self._thread._damaged = {}
        self._thread._gate_changed = asyncio.Event()
        self._thread.consumer = SimpleNamespace(flow_active=True)

    async def fetch(self, timeout: float = 1.0) -> RecordBatch | None:  # noqa: ASYNC109  # the driver's
        found = await self._thread._fetch_records(
            self.consumer, {self.place}, timeout=timeout, max_records=50
        )
        return found[self.place][0].value if found else None

    async def read(self, count: int) -> list[RecordBatch]:
        """Return the batches that bring so many records."""
        batches: list[RecordBatch] = []
        async with asyncio.timeout(20):
            while sum(len(one.records) for one in batches) < count:
                batch = await self.fetch()
                batches += [] if batch is None else [batch]
        return batches


@asynccontextmanager
async def consuming(
    settings: KafkaSettings, *places: TopicPartition
) -> AsyncIterator[AIOKafkaConsumer]:
    """Give a consumer of partitions from their beginning."""
    # aiokafka then unpacks as in a worker.
    transport.register(FetchGate(), ahead=BatchConsumerThread.ahead)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def reading(settings: KafkaSettings) -> AsyncIterator[BatchReader]:
    """Give the fetch of the first partition of the bulk lane."""
    place = TopicPartition(settings.topics.events.name, 0)
    async with consuming(settings, place) as consumer:
        yield BatchReader(consumer, place)


class TransactionWriter:
    """Writes to one partition in transactions that end well or not."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._topic = settings.topics.events.name
        self._producer: Producer = clients.producer(
            settings, **{"transactional.id": f"{settings.topic_prefix}writer"}
        )
        self._producer.init_transactions(20)

    def write(self, *values: str, abort: bool = False) -> None:
        self._producer.begin_transaction()
        for value in values:
            self._producer.produce(self._topic, value=value, partition=0)
        self._producer.flush(10)
        if abort:
            self._producer.abort_transaction(10)
        else:
            self._producer.commit_transaction(10)


@pytest.fixture
def writer(make_settings: Callable[[int], KafkaSettings]) -> TransactionWriter:
    """Give a writer to a topic of one partition."""
    return TransactionWriter(make_settings(1))


def values(batches: list[RecordBatch]) -> list[str]:
    return [record.value.decode() for batch in batches for record in batch.records]


async def fetched_to(consumer: AIOKafkaConsumer, is_there: Callable[[Any], bool]) -> None:
    """Return once what was fetched ahead is as wanted."""
    async with asyncio.timeout(20):
        while not is_there(consumer._fetcher._records):  # noqa: ASYNC110  # aiokafka has no event for it
            await asyncio.sleep(0.01)


def contiguous(batches: list[RecordBatch]) -> bool:
    """Tell whether each batch begins where the one before ended."""
    ends = [0, *(one.next_offset for one in batches)]
    return all(one.start == end for one, end in zip(batches, ends, strict=False))


@pytest.mark.broker
async def test_markers_and_aborted_records_are_no_holes(writer: TransactionWriter) -> None:
    """Committed records come once and in order; what lies between them is complete, and empty."""
    for number in range(30):
        writer.write(f"kept-{number}", f"kept-{number}b")
        writer.write("dropped", abort=True)
    async with reading(writer.settings) as reader:
        batches = await reader.read(60)
    assert values(batches) == [f"kept-{n}{b}" for n in range(30) for b in ("", "b")]
    assert contiguous(batches)


@pytest.mark.broker
async def test_fetch_of_aborted_records_leaves_no_hole(writer: TransactionWriter) -> None:
    """A fetch of aborted records alone moves the position, and the next batch accounts for it."""
    writer.write("first")
    async with reading(writer.settings) as reader:
        (first,) = await reader.read(1)
        for _ in range(3):
            writer.write(*["dropped"] * 100, abort=True)
            for _ in range(3):
                assert await reader.fetch(timeout=0.2) is None
        moved = await reader.consumer.position(reader.place)
        writer.write("second")
        (second,) = await reader.read(1)
    assert moved > first.next_offset  # else nothing was tried
    assert (first.start, second.start) == (0, first.next_offset)
    assert values([first, second]) == ["first", "second"]


@pytest.mark.broker
async def test_batch_is_the_whole_fetch_of_one_partition(
    make_settings: Callable[[int], KafkaSettings],
) -> None:
    """Two partitions that were fetched come one after the other, neither of them in scraps."""
    settings = make_settings(2)
    topic = settings.topics.events.name
    for partition in range(2):
        produce(settings, topic, *(b"%d" % number for number in range(30)), partition=partition)
    places = {TopicPartition(topic, 0), TopicPartition(topic, 1)}
    async with consuming(settings, *places) as consumer:
        await fetched_to(consumer, lambda records: len(records) == 2)
        thread = BatchReader(consumer, *places)._thread
        found = [
            await thread._fetch_records(consumer, places, timeout=1, max_records=40)
            for _ in range(2)
        ]
    assert [[len(one.value.records) for (one,) in each.values()] for each in found] == [[30], [30]]
    assert {*found[0], *found[1]} == places


async def test_topics_that_go_ahead_are_delivered_first(
    make_settings: Callable[[int], KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An opt-out does not wait for the bulk that was fetched before it."""
    settings = make_settings(1)
    bulk, express = settings.topics.events.name, settings.topics.express.name
    monkeypatch.setattr(BatchConsumerThread, "ahead", frozenset({express}))
    produce(settings, bulk, *(b"bulk-%d" % number for number in range(500)), partition=0)
    places = [TopicPartition(bulk, 0), TopicPartition(express, 0)]
    async with consuming(settings, *places) as consumer:
        reader = BatchReader(consumer, *places)
        await reader.read(1)  # the bulk is fetched, and most of it held back
        produce(settings, express, b"opt-out", partition=0)
        await fetched_to(consumer, lambda records: places[1] in records)
        found = await reader._thread._fetch_records(consumer, {*places}, timeout=1, max_records=10)
    assert [place.topic for place in found] == [express, bulk]


@pytest.mark.broker
async def test_damaged_batch_holds_back_its_partition_alone(
    make_settings: Callable[[int], KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is before it is delivered, and all else of others; it is fetched again until it is as
    its checksum says, and nothing is missing then.
    """
    monkeypatch.setattr(transport, "_DAMAGED_FOR", 0.3)
    settings = make_settings(2)
    topic, damaged = settings.topics.events.name, {b"bad"}
    take = FetchedBatches.next_batch

    def next_batch(batches: FetchedBatches) -> bytes:
        found = take(batches)
        return found[:-1] + b"!" if any(one in found for one in damaged) else found

    monkeypatch.setattr(FetchedBatches, "next_batch", next_batch)
    places = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    with RawProducer(settings) as raw:
        for value in (b"first", b"bad", b"last"):
            raw.produce(topic, 0, batch_of([(b"key", value)]))
            raw.produce(topic, 1, batch_of([(b"key", b"other")]))
    async with consuming(settings, *places) as consumer, asyncio.timeout(30):
        one, other = BatchReader(consumer, places[0]), BatchReader(consumer, places[1])
        before = await one.read(1)
        for _ in range(3):
            assert await one.fetch(0.2) is None
        assert values(await other.read(3)) == ["other"] * 3
        damaged.clear()
        after = await one.read(2)
    assert values([*before, *after]) == ["first", "bad", "last"]
    assert contiguous([*before, *after])


@pytest.mark.broker
async def test_seek_shows_as_a_hole(writer: TransactionWriter) -> None:
    """A seek past records makes a batch that begins after the last one ended."""
    writer.write(*(f"value-{number}" for number in range(10)))
    async with reading(writer.settings) as reader:
        await reader.fetch(0)
        reader.consumer.seek(reader.place, 4)
        (batch,) = await reader.read(6)
    assert batch.start == 4


@pytest.mark.broker
async def test_opened_lane_is_read_from_its_offset(writer: TransactionWriter) -> None:
    """What was fetched before is recognised by its opening, and a closed lane is not fetched."""
    writer.write(*(f"value-{number}" for number in range(10)))
    async with reading(writer.settings) as reader:
        (first,) = await reader.read(10)
        reader.gate.close([reader.place])
        assert await reader.fetch(0.05) is None
        again = reader.gate.open({reader.place: 3})
        (second,) = await reader.read(7)
    assert (first.start, first.opening) == (0, reader.opening)
    assert (second.start, second.next_offset, second.opening) == (3, 11, again)


@pytest.mark.broker
async def test_held_lane_is_fetched_once_it_is_released(writer: TransactionWriter) -> None:
    """A fetch that waits goes on at once, and the lane where it stopped."""
    writer.write("first")
    async with reading(writer.settings) as reader:
        await reader.read(1)
        writer.write("second")
        reader.gate.hold(reader.place)
        assert await reader.fetch(0.2) is None
        waiting = asyncio.create_task(reader.fetch(20))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        reader.gate.release(reader.place)
        async with asyncio.timeout(10):
            batch = await waiting
    assert batch is not None
    assert values([batch]) == ["second"]
    assert batch.opening == reader.opening


async def test_lane_assigned_elsewhere_is_not_sought() -> None:
    """The seek comes to nothing: the worker learns of the assignment and closes the lane."""

    class Unassigned:
        def seek(self, *_: object) -> None:
            raise IllegalStateError("no current assignment")

    reader = BatchReader(Unassigned(), TopicPartition("events", 0))  # type: ignore[arg-type]  # only seeks
    reader._thread._seek(reader.consumer)
    assert reader.gate.take_seeks() == {}


async def test_group_offsets_that_are_refused_are_of_no_consequence() -> None:
    """They are for lag tools alone; a rebalance refuses them."""
    asked: list[object] = []

    class Rebalancing:
        async def commit(self, offsets: object) -> None:
            asked.append(offsets)
            raise CommitFailedError

    thread = BatchConsumerThread.__new__(BatchConsumerThread)
    await thread._publish_offsets(Rebalancing(), {("events", 0): 7})
    assert asked == [{TopicPartition("events", 0): 7}]


async def test_group_offsets_that_wait_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker ends in time though its group rebalances."""

    class Waiting:
        async def commit(self, _: object) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(transport, "_PUBLISHED_WITHIN", 0.01)
    thread = BatchConsumerThread.__new__(BatchConsumerThread)
    await thread._publish_offsets(Waiting(), {("events", 0): 7})


async def test_no_offsets_are_not_committed() -> None:
    """Aiokafka refuses an empty commit, and a worker without partitions has none."""
    consumer = BatchConsumer.__new__(BatchConsumer)
    consumer._thread = None
    await consumer.publish_offsets({})


async def test_faust_finds_no_offset_read_before() -> None:
    """A batch that is read again is not dropped, as Faust drops what it thinks it has seen."""
    offsets = transport._AnyOffset()
    offsets["lane"] = 7
    assert offsets["lane"] is None


@pytest.mark.broker
async def test_records_removed_by_retention_are_a_hole(writer: TransactionWriter) -> None:
    """A reader thrown back to what is left does not claim to have seen what is gone."""
    writer.write("first")
    async with reading(writer.settings) as reader:
        (first,) = await reader.read(1)
        reader.consumer.pause(reader.place)
        writer.write(*(f"value-{number}" for number in range(10)))
        remove_below(writer.settings, writer.settings.topics.events.name, {0: 8})
        reader.consumer.resume(reader.place)
        (second,) = await reader.read(4)
    assert first.next_offset < second.start == 8


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(5, 20, (5, 20)), (None, None, (10, 13)), (11, 12, (10, 13))],
)
def test_batch_without_position_covers_only_its_records(
    start: int | None, end: int | None, expected: tuple[int, int]
) -> None:
    """What the position does not vouch for may look like a hole, never the reverse."""
    records: list[Any] = [
        SimpleNamespace(offset=offset, timestamp=0, timestamp_type=0) for offset in (10, 12)
    ]
    batch = transport._batch_record(TopicPartition("events", 0), records, start, end, 1).value
    assert (batch.start, batch.next_offset) == expected
