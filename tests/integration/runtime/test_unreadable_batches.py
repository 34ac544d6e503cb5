"""A batch that Kafka's client cannot unpack: its partition stands there, and the others go on."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta

import pytest

from izin.feeds.older_records import OlderRecords
from izin.kafka.bounded_reader import unread
from izin.kafka.clients import access_of, producer
from izin.kafka.connections import headers_of
from izin.kafka.tables.latest_records import LatestRecordReader
from izin.ledger.record import StreamUnavailableError
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.runtime.unreadable import unreadable_batches
from izin.schemas.fast.record_format import BatchBuilder
from izin.schemas.fast.writer import long_bytes
from izin.schemas.partitioning import partition_of
from izin.schemas.topics import Topic
from izin.sinks.ingest.ingested_topics import TopicReader, every_record, reader_at
from izin.subscribers import ChangeKind, PermissionList, subscribe
from izin.webhooks.partitions import PartitionReader
from tests.support.hostile.batches import HOSTILE, RawBatch, RawProducer, batch_of
from tests.support.order.harness import CODEC
from tests.support.published import TopicWriter, key_of
from tests.support.waiting import until
from tests.support.webhooks import event_reader

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

PARTITIONS, BROKEN = 2, 1
_MANY = 100
"""Records: a call that is repeated becomes another one inside the interpreter."""


@pytest.fixture
def settings(make_settings: Callable[[int], KafkaSettings]) -> KafkaSettings:
    return make_settings(PARTITIONS)


def write(settings: KafkaSettings, topic: Topic) -> str:
    """Write a record to each partition, a batch that cannot be unpacked to one, and a record behind
    it; return where that is.
    """
    with RawProducer(settings) as raw:
        for number in range(PARTITIONS):
            raw.produce(topic.name, number, batch_of([(b"key", b"first")]))
        raw.produce(topic.name, BROKEN, HOSTILE["lz4 content checksum"]([(b"key", b"damaged")]))
        for number in range(PARTITIONS):
            raw.produce(topic.name, number, batch_of([(b"key", b"last")]))
    return f"{topic.name}[{BROKEN}]"


async def test_readers_pass_no_batch_that_cannot_be_unpacked(settings: KafkaSettings) -> None:
    """They read the other partitions to their ends, and say where one stands."""
    topic = settings.topics.opt_outs
    place = write(settings, topic)
    starts = dict.fromkeys(range(PARTITIONS), 0)
    client = reader_at(settings, topic.name, starts, lost="error")
    ingest = TopicReader(client, topic=topic.name, topic_id="", positions=starts)
    webhooks, older = PartitionReader(settings), OlderRecords(settings, readers=1)
    await webhooks.open({(topic.name, number): 0 for number in starts})
    try:
        async with asyncio.timeout(60):
            while not unreadable_batches(topic.name) or ingest.positions != {0: 2, 1: 1}:
                ingest.moved(ingest.moves(await ingest.poll(10, 0.2)))
            while webhooks.positions != {(topic.name, 0): 2, (topic.name, BROKEN): 1}:
                await webhooks.poll(10, 0.2)
            found = await older.read(topic.name, starts, 10, name="test")
    finally:
        await ingest.close()
        await webhooks.close()
        await older.close()
    assert unreadable_batches(topic.name).keys() == {place}
    assert "the batch at offset 1 cannot be unpacked" in unreadable_batches(topic.name)[place]
    assert {number: (one.end, one.is_last) for number, one in found.items()} == {
        0: (2, True),
        BROKEN: (1, False),
    }


async def test_what_reads_to_an_end_says_that_it_cannot(settings: KafkaSettings) -> None:
    """A list that must be whole is none, and the doctor prints the remedy."""
    topic = settings.topics.decisions
    write(settings, topic)
    with pytest.raises(StreamUnavailableError, match="cannot be unpacked"):
        async for _ in every_record(settings, topic.name):
            pass
    with pytest.raises(BrokerError, match=r"cannot be unpacked.*docs/runbook\.md"):
        unread(settings, topic, {(topic.name, 0): 2, (topic.name, BROKEN): 1})


def test_latest_records_of_other_partitions_are_read(settings: KafkaSettings) -> None:
    """The positions of one partition do not keep those of the others."""
    topic = settings.topics.positions
    write(settings, topic)
    reader = LatestRecordReader(settings, CODEC, [topic], lambda *_: None)
    with reader.following():
        assert reader.loaded.wait(30)
        assert reader.fault is None


def test_latest_record_behind_aborted_ones_is_found(settings: KafkaSettings) -> None:
    """A reader looks further back: the last record may be far from the end."""
    topic, found = settings.topics.ledger_positions, list[int]()
    value = {"cluster_id": "any", "decisions_topic_id": "any", "decisions_offsets": [7]}
    client = producer(settings, **{"transactional.id": f"{settings.topic_prefix}test"})
    client.init_transactions(20)
    for content in (CODEC.encode("LedgerPositions", value), b"mark", b"mark"):
        client.begin_transaction()
        for _ in range(1 if content != b"mark" else _MANY):
            client.produce(topic.name, key=b"decisions", value=content)
        if content == b"mark":
            client.abort_transaction(20)
        else:
            client.commit_transaction(20)
    reader = LatestRecordReader(
        settings, CODEC, [topic], lambda *record: found.extend(record[2]["decisions_offsets"])
    )
    with reader.following():
        assert reader.loaded.wait(30)
    assert found == [7]


async def test_permission_list_closes_the_keys_of_a_partition(settings: KafkaSettings) -> None:
    """It starts, and answers for the others."""
    writer = TopicWriter(settings)
    keys = {partition_of(one.encode(), PARTITIONS): one for one in map(key_of, range(20))}
    writer.permit(*keys.values())
    with RawProducer(settings) as raw:
        batch = HOSTILE["lz4 content checksum"]([(b"key", b"damaged")])
        raw.produce(settings.topics.permissions.name, BROKEN, batch)
    bound = timedelta(seconds=2.5)
    async with PermissionList(access=access_of(settings), stale_after=bound) as permissions:
        await asyncio.to_thread(until, lambda: permissions.may_send(keys[0]), within=20)
        assert permissions.answer(keys[BROKEN]).reason == "stale"
        assert permissions.is_stale


async def test_subscriber_gets_the_changes_of_other_partitions(settings: KafkaSettings) -> None:
    """None of its own is passed: it reads them once the topic is repaired."""
    write(settings, settings.topics.opt_outs)
    changes = subscribe("test", [ChangeKind.OPT_OUTS], access=access_of(settings))
    async with aclosing(changes), asyncio.timeout(60):
        found = [await anext(changes) for _ in range(3)]
    places = {(one.position.partition, one.position.offset) for one in found}
    assert places == {(0, 0), (0, 1), (BROKEN, 0)}


def test_record_with_a_header_name_that_is_no_text_is_read(settings: KafkaSettings) -> None:
    """Without its headers, however often they are asked for; webhooks post it by its key."""
    topic, name = settings.topics.opt_outs, b"\xff\xfe\xc3("
    headers = long_bytes(1) + long_bytes(len(name)) + name + long_bytes(-1)
    builder = BatchBuilder("", BROKEN)
    for _ in range(_MANY):
        builder.add(b"100001/MESAJ/BIREYSEL/+905550000001", b"damaged", headers)
    with RawProducer(settings) as raw:
        raw.produce(topic.name, BROKEN, RawBatch(payload=builder.payload(), count=_MANY).encoded())
    client = reader_at(settings, topic.name, {BROKEN: 0}, lost="error")
    reader = event_reader(CODEC, settings.topics)
    reader.customers = {100001: "acme"}
    try:
        messages = client.consume(_MANY, 30)
        events = [reader.read(one) for one in messages]
        assert [headers_of(one) for one in messages] == [[]] * _MANY
    finally:
        client.close()
    found = [(one.type, one.offset) for one in events if one is not None]
    assert found == [("consent.opted-out", number) for number in range(_MANY)]
