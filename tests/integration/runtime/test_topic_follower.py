"""Topics followed into memory: what is known, and for how long that may lack the latest.

A batch that Kafka's client cannot unpack: its partition stands there, and the others go on.
"""

import asyncio
import weakref
from collections.abc import Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message

from izin.feeds.older_records import OlderRecords
from izin.kafka.bounded_reader import BoundedReader, unread
from izin.kafka.clients import access_of, ensure_topics, producer
from izin.kafka.connections import headers_of
from izin.kafka.follower import RecordFollower, TopicFollower
from izin.kafka.follower.end import asking_client
from izin.kafka.tables.api_keys import ApiKeyReader, Freshness
from izin.kafka.tables.latest_records import LatestRecordReader
from izin.ledger.record import StreamUnavailableError
from izin.local import Kafka, free_port
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.runtime.unreadable import unreadable_batches
from izin.schemas.codec import Codec
from izin.schemas.fast.record_format import BatchBuilder
from izin.schemas.fast.writer import long_bytes
from izin.schemas.partitioning import partition_of
from izin.schemas.topics import Topic
from izin.sinks.ingest.ingested_topics import TopicReader, every_record, reader_at
from izin.subscribers import ChangeKind, PermissionList, subscribe
from izin.webhooks.partitions import PartitionReader
from tests.support.builders import API_KEY, KEY_ID, NOON, a_second_key, an_api_key, known
from tests.support.hostile.batches import HOSTILE, RawBatch, RawProducer, batch_of
from tests.support.order.harness import CODEC
from tests.support.published import TopicWriter, key_of, produce, publish_key, transaction
from tests.support.waiting import until
from tests.support.webhooks import event_reader

pytestmark = pytest.mark.broker

PARTITIONS, BROKEN = 2, 1
_MANY = 100
"""Records: a call that is repeated becomes another one inside the interpreter."""


@pytest.fixture
def settings(make_settings: Callable[[int], KafkaSettings]) -> KafkaSettings:
    return make_settings(PARTITIONS)


def write(settings: KafkaSettings, value: bytes | None) -> None:
    """Write a value about the key."""
    produce(settings, settings.topics.api_keys.name, value, key=KEY_ID.encode())


def test_revocation_is_seen_at_every_endpoint_within_two_seconds(settings: KafkaSettings):
    """A record of the key, which every follower of the topic reads."""
    publish_key(settings, an_api_key())
    first, second = (ApiKeyReader(settings, Codec()) for _ in range(2))
    with first.follow() as one, second.follow() as other:
        until(lambda: {one.freshness, other.freshness} == {Freshness.FRESH})
        assert one.find(API_KEY) == other.find(API_KEY) == an_api_key()
        publish_key(settings, an_api_key(revoked_at=NOON))
        later = NOON + timedelta(seconds=1)
        for keys in (one, other):
            until(lambda keys=keys: not keys.find(API_KEY).is_valid(later), within=2)  # type: ignore[misc]


def test_directory_says_that_it_was_not_read(settings: KafkaSettings):
    """From the start it exists, and knows that it is empty only because nothing was read."""
    publish_key(settings, an_api_key())
    reader = ApiKeyReader(settings, Codec())
    assert (reader.directory.freshness, len(reader.directory)) == (Freshness.NOT_READ, 0)
    with reader.follow() as keys:
        until(lambda: keys.freshness is Freshness.FRESH)
        assert len(keys) == 1


def test_followers_of_a_process_share_the_client_that_asks(settings: KafkaSettings):
    """Its threads wake every second, and it ends with the last of them."""
    access = access_of(settings)
    with ApiKeyReader(settings, Codec()).follow(), ApiKeyReader(settings, Codec()).follow():
        shared = weakref.ref(asking_client(access))
        assert asking_client(access_of(settings)) is shared()
        assert asking_client(replace(access, options={"client.id": "other"})) is not shared()
    until(lambda: shared() is None)


def test_topic_ends_behind_the_mark_of_a_transaction(settings: KafkaSettings):
    """The outbox writes in transactions: the topic's end is no record, and is reached."""
    client = transaction(settings, "test")
    value = Codec().encode("ApiKey", an_api_key().to_avro())
    client.produce(settings.topics.api_keys.name, key=KEY_ID.encode(), value=value)
    client.commit_transaction(20)
    table = known()
    follower = TopicFollower(access_of(settings), Codec(), settings.topics.api_keys, table)
    until(lambda: load(follower, table) == 1)
    assert follower.age() is not None


def load(follower: TopicFollower, table: Any) -> int:  # noqa: ANN401  # a table with a length
    """Load the topic; return how many records are known."""
    follower.load()
    return len(table)


class _EndNotedBefore(Consumer):
    """Names the end that a broker names which notes it, and reads a record appended since."""

    def get_watermark_offsets(self, *args: Any, **options: Any) -> tuple[int, int]:  # noqa: ANN401  # a client's values
        low, high = super().get_watermark_offsets(*args, **options)
        return low, high - options.get("cached", False)


def test_record_beyond_the_end_of_its_reply_is_read(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """It was appended while the broker answered: nothing about its partition is unreadable."""
    publish_key(settings, an_api_key())
    monkeypatch.setattr("izin.kafka.connections.Consumer", _EndNotedBefore)
    with ApiKeyReader(settings, Codec()).follow() as keys:
        until(lambda: keys.freshness is Freshness.FRESH)
        assert (keys.find(API_KEY), unreadable_batches()) == (an_api_key(), {})


def test_reader_that_has_read_asks_the_broker_for_nothing(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """One that is open for long, such as the order worker's, fetched a hundred times a second."""
    made: list[Consumer] = []

    class Kept(Consumer):
        def __init__(self, *args: Any) -> None:  # noqa: ANN401  # a client's settings
            super().__init__(*args)
            made.append(self)

    publish_key(settings, an_api_key())
    monkeypatch.setattr("izin.kafka.connections.Consumer", Kept)
    with closing(BoundedReader(settings, "test", settings.topics.api_keys.name)) as reader:
        records = [record for page in reader.every() for record in page if record.error() is None]
        assert len(records) == 1
        assert [one.assignment() for one in made] == [[]]


def test_tombstone_and_unreadable_record_remove_a_key(
    settings: KafkaSettings, caplog: pytest.LogCaptureFixture
):
    """A revocation by a newer release may be what cannot be read."""
    text, second = a_second_key()
    publish_key(settings, second)
    with ApiKeyReader(settings, Codec()).follow() as keys:
        for value in (b"{}", None):
            publish_key(settings, an_api_key())
            until(lambda: keys.find(API_KEY) is not None)
            write(settings, value)
            until(lambda: keys.find(API_KEY) is None)
        assert keys.find(text) == second
    (error,) = [one for one in caplog.records if "record not readable" in one.getMessage()]
    assert error.levelname == "ERROR"


def test_record_whose_schema_is_out_of_reach_is_read_later(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """It is not skipped: nothing behind it is read before, and the table is not complete."""
    publish_key(settings, an_api_key())
    codec, faults = Codec(), [BrokerError("the registry is away")] * 2
    decode = codec.decode

    def failing(record: str, data: bytes) -> dict[str, Any]:
        if faults:
            raise faults.pop()
        return decode(record, data)

    monkeypatch.setattr(codec, "decode", failing)
    with ApiKeyReader(settings, codec).follow() as keys:
        until(lambda: len(faults) < 2)
        assert keys.freshness is Freshness.NOT_READ
        until(lambda: keys.freshness is Freshness.FRESH)
        assert keys.find(API_KEY) == an_api_key()


def test_age_grows_while_the_broker_is_away(tmp_path: Path):
    """Nothing is read then, so nothing else would show it; and what is known stays known."""
    with Kafka(tmp_path / "kafka", free_port()) as kafka:
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=1)
        ensure_topics(settings)
        publish_key(settings, an_api_key())
        table = known()
        follower = TopicFollower(access_of(settings), Codec(), settings.topics.api_keys, table)
        with follower.follow():
            assert age(follower) < 3
            kafka.kill()
            until(lambda: age(follower) > 4)
            assert table.find(API_KEY) is not None
            kafka.start()
            until(lambda: age(follower) < 3)


def age(follower: TopicFollower) -> float:
    found = follower.age()
    assert found is not None
    return found


def test_missing_topic_names_the_remedy(kafka: str, topic_prefix: str):
    """Nothing is created behind the operator's back."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    with pytest.raises(BrokerError, match=r"api-keys does not exist.*izin doctor --fix"):
        ApiKeyReader(settings, Codec()).follow().__enter__()


def test_table_that_fails_once_gets_the_same_records_again(settings: KafkaSettings):
    """Our own fault ends no reading: nothing is passed that was not taken."""
    for value in (b"1", b"2", b"3"):
        write(settings, value)
    taken, faults = list[bytes | None](), [ZeroDivisionError()]

    class Table:
        def take(self, records: Sequence[Message]) -> int:
            if len(taken) == 1 and faults:
                raise faults.pop()
            taken.append(records[0].value())
            return 1

    follower = RecordFollower(access_of(settings), settings.topics.api_keys, Table())
    with follower.follow(complete=False):
        until(lambda: len(taken) == 3, within=20)
        write(settings, b"4")
        until(lambda: len(taken) == 4, within=20)
    assert taken == [b"1", b"2", b"3", b"4"]


def write_damaged(settings: KafkaSettings, topic: Topic) -> str:
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
    place = write_damaged(settings, topic)
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
    write_damaged(settings, topic)
    with pytest.raises(StreamUnavailableError, match="cannot be unpacked"):
        async for _ in every_record(settings, topic.name):
            pass
    with pytest.raises(BrokerError, match=r"cannot be unpacked.*docs/runbook\.md"):
        unread(settings, topic, {(topic.name, 0): 2, (topic.name, BROKEN): 1})


def test_latest_records_of_other_partitions_are_read(settings: KafkaSettings) -> None:
    """The positions of one partition do not keep those of the others."""
    topic = settings.topics.positions
    write_damaged(settings, topic)
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
    write_damaged(settings, settings.topics.opt_outs)
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
