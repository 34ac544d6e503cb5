"""Taking, keeping and losing a partition, against a real broker.

Where a partition is resumed. Transactions of an order worker: whole, in order, or not at all.
"""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (
    OffsetSpec,
)
from structlog.typing import EventDict

from izin.consent import LAW_VERSION
from izin.kafka import clients
from izin.kafka.bounded_reader import BoundedReader
from izin.runtime.settings import KafkaSettings
from izin.schemas.fast.record_format import NO_HEADERS
from izin.schemas.records import event_to_avro
from izin.streams.errors import PositionAheadError, StateError
from izin.streams.order import OrderStage
from izin.streams.ownership import DecidedOffsets, Effects, OutputRecord, transactional_producer
from izin.streams.ownership.positions import latest_positions
from izin.streams.state.state import MemoryState
from tests.support.builders import an_event
from tests.support.order.harness import (
    IN_FULL,
    KEY,
    ONAY,
    RET,
    OrderHarness,
    apply,
    consent_of,
    row_of,
)
from tests.support.order.verdict import committed_records, source
from tests.support.published import produce
from tests.support.tcp import listening

pytestmark = pytest.mark.broker


async def test_commit_writes_rows_and_offset_and_changes_the_state(harness: OrderHarness) -> None:
    """All of a batch becomes visible together, and only then does the memory change."""
    owner = await harness.acquired()
    await harness.commit(owner, harness.effects(ONAY), next_offset=7)
    assert consent_of(owner.state, KEY) == ONAY
    successor = await harness.acquired()
    assert successor.next_offsets == {harness.events: 7, harness.express: 0}
    assert consent_of(successor.state, KEY) == ONAY


async def test_clock_that_is_ahead_keeps_nothing_from_being_written(
    harness: OrderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker refuses what was made more than an hour after it, unless it takes its own time."""
    ahead = time.time_ns() + 2 * 3_600_000_000_000
    monkeypatch.setattr(transactional_producer, "time", SimpleNamespace(time_ns=lambda: ahead))
    await harness.commit(await harness.acquired(), harness.effects(ONAY), next_offset=1)
    (row,) = committed_records(harness.settings, harness.rows_topic)
    assert row.timestamp()[1] < ahead // 1_000_000 - 3_600_000


async def test_writes_of_a_batch_become_visible_together(harness: OrderHarness) -> None:
    """What was sent on its way before the rest was folded waits for the commit with it."""
    owner = await harness.acquired()
    effects = harness.effects(ONAY)
    await owner.write(effects)
    assert (effects.writes, harness.rows(), consent_of(owner.state, KEY)) == ([], 0, None)
    effects.writes.extend(harness.effects(RET).writes)
    effects.changes[KEY] = IN_FULL.pack(RET)
    await harness.commit(owner, effects, next_offset=2)
    begun = owner.state.position
    assert (harness.rows(), consent_of(owner.state, KEY)) == (2, RET)
    await owner.acquire()
    assert owner.state.position >= begun
    assert consent_of(owner.state, KEY) == RET


async def test_acquiring_fences_the_former_owner(harness: OrderHarness) -> None:
    """The first owner's commit fails, nothing of it is visible, and its memory stays as it was."""
    first, second = harness.owner(), harness.owner()
    await first.acquire()
    await second.acquire()
    with pytest.raises(KafkaException):
        await harness.commit(first, harness.effects(ONAY), next_offset=3)
    assert consent_of(first.state, KEY) is None
    assert harness.rows() == 0
    await harness.commit(second, harness.effects(ONAY), next_offset=5)
    assert (await harness.acquired()).next_offsets[harness.events] == 5


async def test_open_transaction_is_aborted_by_the_next_owner(harness: OrderHarness) -> None:
    """Uncommitted records of a killed worker are not readable and block no reader."""
    first, second = harness.owner(), harness.owner()
    await first.acquire()
    await harness.write_open(first, row_of(ONAY))
    await second.acquire()
    await harness.commit(second, harness.effects(ONAY), next_offset=1)
    assert harness.rows() == 1


async def test_commit_without_acquisition_raises(harness: OrderHarness) -> None:
    """Before it is taken, and after it is let go, a commit fails as a lost one does."""
    owner = harness.owner()
    for _ in range(2):
        with pytest.raises(KafkaException):
            await harness.commit(owner, Effects(), next_offset=1)
        await owner.acquire()
        owner.release()


async def test_tombstone_removes_its_key(harness: OrderHarness) -> None:
    """A key erased from the topic is erased from the state."""
    harness.write_row(row_of(ONAY))
    owner = await harness.acquired()
    held = consent_of(owner.state, KEY)
    harness.write_row(None)
    await owner.acquire()
    assert (held, consent_of(owner.state, KEY)) == (ONAY, None)


async def test_former_leader_is_not_believed(
    harness: OrderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that was frozen returns an outdated end; the state would lack later rows."""
    harness.write_row(row_of(ONAY))
    owner = harness.owner()
    admin = owner._clients.admin
    real = admin.list_offsets

    def of_the_past(asked: Any, **keywords: Any) -> Any:  # noqa: ANN401  # the client is untyped
        return real(dict.fromkeys(asked, OffsetSpec.earliest()), **keywords)

    past = SimpleNamespace(
        list_offsets=of_the_past,
        list_topics=admin.list_topics,
        describe_topics=admin.describe_topics,
    )
    monkeypatch.setattr(owner._clients, "admin", past)
    await owner.acquire()
    assert consent_of(owner.state, KEY) == ONAY


async def test_marks_are_invisible_to_subscribers(harness: OrderHarness) -> None:
    """A ``read_committed`` reader finds rows alone, however often a partition changed owners."""
    await harness.owner().acquire()
    await harness.owner().acquire()
    assert harness.rows() == 0


async def test_state_whose_position_is_gone_is_discarded(
    harness: OrderHarness, logged: list[EventDict]
) -> None:
    """Where the topic no longer has the state's position, it is cleared and read back whole."""
    row = row_of(ONAY)
    for number in range(6):
        harness.write_row(row, key=f"key-{number}".encode())
    harness.delete_below(harness.rows_topic, 4)
    state = MemoryState()
    apply(state, {b"long gone": ONAY}, 2)
    state.caught_up_at = time.time_ns() // 1_000_000
    await harness.acquired(state)
    assert consent_of(state, b"long gone") is None
    assert (len(state), state.position) == (2, 8)
    assert logged[0]["why"] == "its position is gone from the topic"


async def test_state_ahead_of_its_topic_is_discarded(
    harness: OrderHarness, logged: list[EventDict]
) -> None:
    """A topic shorter than what we have seen of it is another topic."""
    harness.write_row(row_of(ONAY))
    state = MemoryState()
    apply(state, {b"another cluster's": ONAY}, 900)
    await harness.owner(state).acquire()
    assert (consent_of(state, b"another cluster's"), consent_of(state, KEY)) == (None, ONAY)
    assert logged[0]["why"] == "it is ahead of its topic"


async def test_undecided_records_removed_by_retention_are_logged(
    harness: OrderHarness, logged: list[EventDict]
) -> None:
    """A loss cannot be undone, but it is always reported."""
    harness.publish(10)
    await harness.commit(await harness.acquired(), Effects(), next_offset=2)
    harness.delete_below(harness.events, 6)
    assert (await harness.acquired()).next_offsets[harness.events] == 6
    (log,) = logged
    assert log["event"] == "retention removed undecided records"
    assert (log["decided_below"], log["earliest"]) == (2, 6)


@pytest.mark.parametrize("rubbish", [b"rubbish", b"\xc3\x01" + b"\x07" * 8])
async def test_unreadable_row_raises_state_error(harness: OrderHarness, rubbish: bytes) -> None:
    """A record of the state topic that is no row of ours must not be guessed at."""
    harness.write_row(rubbish)
    with pytest.raises(StateError):
        await harness.owner().acquire()


async def test_row_of_a_newer_law_raises_state_error(harness: OrderHarness) -> None:
    """An old worker does not decide over the state of a law it does not know."""
    harness.write_row(row_of(replace(ONAY, law_version=LAW_VERSION + 1)))
    with pytest.raises(StateError, match="newer release"):
        await harness.owner().acquire()


async def test_repartitioned_record_arrives_in_its_partition(
    make_settings: Callable[[int], KafkaSettings],
) -> None:
    """Outside the transaction, but before its offset: found elsewhere, decided at home."""
    settings = make_settings(3)
    harness = OrderHarness(settings)
    owner = await harness.acquired()
    again = OutputRecord(
        topic=harness.events, partition=2, key=KEY, value=b"value", headers=NO_HEADERS
    )
    await harness.commit(owner, Effects(repartitioned=[again]), next_offset=1)
    (arrived,) = [source(one) for one in committed_records(settings, harness.events)]
    assert (arrived.partition, arrived.key, arrived.value) == (2, KEY, b"value")
    await harness.close()


async def test_failed_repartitioning_keeps_the_offset(harness: OrderHarness) -> None:
    """A record that did not arrive elsewhere is not counted as decided."""
    owner = await harness.acquired()
    lost = OutputRecord(
        topic=harness.events, partition=0, key=KEY, value=b"x" * 2_000_000, headers=NO_HEADERS
    )
    with pytest.raises(KafkaException):
        await harness.commit(owner, Effects(repartitioned=[lost]), next_offset=1)
    assert (await harness.acquired()).next_offsets[harness.events] == 0


async def test_largest_folded_record_can_be_written(harness: OrderHarness) -> None:
    """The limit of the fold is below those of the broker and the client."""
    stage = OrderStage(topics=harness.settings.topics, partitions=1, codec=harness.codec)
    event = an_event(evidence={"page": "x" * 890_000})
    value = harness.codec.encode("ConsentEvent", event_to_avro(event))
    produce(harness.settings, harness.events, value, partition=0)
    *_, record = (source(one) for one in committed_records(harness.settings, harness.events))
    owner = await harness.acquired()
    effects = stage.fold(0, [record], owner.state)
    assert effects.counts["Apply"] == 1
    await harness.commit(owner, effects, next_offset=1)
    assert harness.rows() == 1


async def decided_to(harness: OrderHarness, offset: int) -> None:
    """Decide the bulk lane up to `offset`, with a row, as another worker."""
    await harness.commit(await harness.acquired(), harness.effects(ONAY), next_offset=offset)


async def test_lost_positions_topic_loses_no_event(
    harness: OrderHarness, logged: list[EventDict]
) -> None:
    """What is still in the lanes is decided again; a person is called."""
    await decided_to(harness, 4)
    harness.recreate(harness.settings.topics.positions.name)
    assert (await harness.acquired()).next_offsets == {harness.events: 0, harness.express: 0}
    assert [(one["event"], one["log_level"]) for one in logged] == [
        ("positions not found", "critical")
    ] * 2


async def test_recreated_lane_is_decided_from_its_beginning(
    harness: OrderHarness, logged: list[EventDict]
) -> None:
    """Its offsets begin anew: those below the old position were never decided."""
    await decided_to(harness, 4)
    harness.recreate(harness.events)
    harness.publish(10)
    owner = await harness.acquired()
    assert owner.next_offsets == {harness.events: 0, harness.express: 0}
    (log,) = logged
    assert (log["event"], log["topic"]) == ("topic recreated", harness.events)
    await harness.commit(owner, Effects(), next_offset=3)
    assert (await harness.acquired()).next_offsets[harness.events] == 3
    assert len(logged) == 1


async def test_recreated_state_topic_is_filled_again(
    harness: OrderHarness, logged: list[EventDict]
) -> None:
    """Without its rows what was decided is lost, so that both lanes are decided again."""
    await decided_to(harness, 4)
    harness.recreate(harness.rows_topic)
    owner = await harness.acquired()
    assert (owner.next_offsets, len(owner.state)) == ({harness.events: 0, harness.express: 0}, 0)
    assert {one["event"] for one in logged} == {"topic recreated"}


async def test_lane_that_ends_before_its_position_is_not_decided(harness: OrderHarness) -> None:
    """A broker that lags, or lost records: to begin anywhere would skip what comes next."""
    await decided_to(harness, 11)
    with pytest.raises(PositionAheadError, match="ends at offset 10, and is decided up to 11"):
        await harness.owner().acquire()
    harness.publish(1)
    assert (await harness.acquired()).next_offsets[harness.events] == 11


@pytest.mark.parametrize("marks", [0, 40])
async def test_latest_positions_are_found_from_the_end(harness: OrderHarness, marks: int) -> None:
    """However many acquisitions came to nothing since, and whatever was deleted before."""
    owner = await harness.acquired()
    for offset in range(1, 6):
        await harness.commit(owner, Effects(), next_offset=offset)
    producer = clients.producer(harness.settings, **{"transactional.id": "another"})
    producer.init_transactions(20)
    topic = harness.settings.topics.positions.name
    for _ in range(marks):
        producer.begin_transaction()
        producer.produce(topic, key=b"mark", partition=0)
        producer.flush(20)
        producer.abort_transaction(20)
    harness.delete_below(topic, 4)
    end = clients.committed_ends(harness.settings, topic)[0]
    reader = BoundedReader(harness.settings, "reader", topic)
    try:
        assert latest_positions(reader, harness.codec, {0: end})[0].events_offset == 5
        assert latest_positions(reader, harness.codec, {0: 0}) == {}
    finally:
        reader.close()


async def test_decided_offsets_are_those_of_every_partition(
    harness: OrderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tools see what workers stored, as soon as it is committed; a tool that polls opens one client
    in all.
    """
    opened, make = [], clients.consumer

    def counted(settings: KafkaSettings, group: str, **overrides: object) -> Consumer:
        opened.append(group)
        return make(settings, group, **overrides)

    monkeypatch.setattr(clients, "consumer", counted)
    decided = DecidedOffsets(harness.settings, harness.codec)
    try:
        assert decided.read() == {}
        await decided_to(harness, 4)
        assert decided.read() == {(harness.events, 0): 4, (harness.express, 0): 0}
        await decided_to(harness, 6)
        assert decided.read()[harness.events, 0] == 6
        assert opened.count("izin-ends") == 0
    finally:
        decided.close()


async def test_former_leader_is_waited_for(
    harness: OrderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that lags behind returns an end of the past; the partition waits for the other."""
    await decided_to(harness, 10)
    owner = harness.owner()
    real = owner._clients.bounds
    past = {harness.events: (0, 7), harness.express: (0, 0)}
    monkeypatch.setattr(owner._clients, "bounds", lambda _: past)
    with pytest.raises(PositionAheadError):
        await owner.acquire()
    monkeypatch.setattr(owner._clients, "bounds", real)
    await owner.acquire()
    lane = TopicPartition(harness.events, 0)
    assert owner.next_offsets[harness.events] == real([lane])[harness.events][1] == 10


TOO_LARGE = 1_200_000
"""Bytes that no broker of ours takes, and that cannot be compressed."""


@asynccontextmanager
async def producing(
    harness: OrderHarness,
) -> AsyncIterator[transactional_producer.TransactionalProducer]:
    """Yield a producer of the rows' topic."""
    connection = harness.owner()._clients.connection
    producer = await transactional_producer.TransactionalProducer.start(
        connection, f"{harness.settings.topic_prefix}test", [harness.rows_topic, harness.opt_outs]
    )
    try:
        yield producer
    finally:
        await producer.close()


def a_row(harness: OrderHarness, key: bytes, value: bytes) -> OutputRecord:
    return OutputRecord(harness.rows_topic, 0, key, value, NO_HEADERS)


async def test_rows_of_many_batches_are_committed_in_order(harness: OrderHarness) -> None:
    """A transaction of megabytes is sent while it is made; its rows stand as they were written."""
    numbers = range(4000)
    async with producing(harness) as producer:
        for start in numbers[::250]:
            some = numbers[start : start + 250]
            await producer.write(
                [a_row(harness, str(number).encode(), os.urandom(500)) for number in some]
            )
        stored = await producer.commit()
    rows = list(committed_records(harness.settings, harness.rows_topic))
    assert [int(one.key()) for one in rows] == list(numbers)
    assert stored == {harness.rows_topic: rows[-1].offset()}


async def test_transaction_of_which_a_batch_was_refused_is_not_committed(
    harness: OrderHarness,
) -> None:
    """Aiokafka itself would commit the rest: its position would pass a row that is nowhere."""
    async with producing(harness) as producer:
        refused = a_row(harness, b"refused", os.urandom(TOO_LARGE))
        await producer.write([a_row(harness, b"taken", b"value"), refused])
        with pytest.raises(KafkaException, match="MessageSizeTooLarge"):
            await producer.commit()
    async with producing(harness) as producer:
        await producer.write([a_row(harness, b"after", b"value")])
        await producer.commit()
    rows = committed_records(harness.settings, harness.rows_topic)
    assert [one.key() for one in rows] == [b"after"]


async def test_aborted_rows_are_seen_by_nobody(harness: OrderHarness) -> None:
    """Their offsets are known all the same, and the next transaction is another."""
    async with producing(harness) as producer:
        await producer.write([a_row(harness, b"aborted", b"value")])
        marks = await producer.abort()
        await producer.write([a_row(harness, b"committed", b"value")])
        stored = await producer.commit()
    assert stored[harness.rows_topic] == marks[harness.rows_topic] + 2
    rows = committed_records(harness.settings, harness.rows_topic)
    assert [one.key() for one in rows] == [b"committed"]


async def test_fenced_producer_raises_and_logs_nothing_of_its_own(
    harness: OrderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """The partition is another's, as after every rebalance; asyncio reports no error unasked."""
    async with producing(harness) as producer, producing(harness):
        await producer.write([a_row(harness, b"fenced", b"value")])
        with pytest.raises(KafkaException, match="ProducerFenced"):
            await producer.commit()
        with pytest.raises(KafkaException):
            await producer.write([a_row(harness, b"again", b"value")])
    del producer
    gc.collect()
    assert [one for one in caplog.records if one.name == "asyncio"] == []
    assert harness.rows() == 0


async def test_closed_producer_leaves_no_task(harness: OrderHarness) -> None:
    """Also with a transaction that was begun, and with what was not sent."""
    before = asyncio.all_tasks()
    async with producing(harness) as producer:
        await producer.write([a_row(harness, b"never", b"value")])
        await producer._send(producer._batches.take())
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() <= before
    assert harness.rows() == 0


async def test_broker_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts a connection, as one that is frozen does, and says nothing; nothing remains."""
    before = asyncio.all_tasks()

    async def say_nothing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(transactional_producer, "_WITHIN", 0.2)
    async with listening(say_nothing) as port:
        with pytest.raises(KafkaException):
            await transactional_producer.TransactionalProducer.start(
                {"bootstrap_servers": f"127.0.0.1:{port}"}, "test", []
            )
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() <= before
