"""Transactions of an order worker on a real broker: whole, in order, or not at all."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import KafkaException

from izin.schemas.fast.record_format import NO_HEADERS
from izin.streams.ownership import OutputRecord, transactional_producer
from izin.streams.ownership.transactional_producer import TransactionalProducer
from tests.support.order.harness import OrderHarness
from tests.support.order.verdict import committed_records

pytestmark = pytest.mark.broker

TOO_LARGE = 1_200_000
"""Bytes that no broker of ours takes, and that cannot be compressed."""


@asynccontextmanager
async def producing(harness: OrderHarness) -> AsyncIterator[TransactionalProducer]:
    """Yield a producer of the rows' topic."""
    connection = harness.owner()._clients.connection
    producer = await TransactionalProducer.start(
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
    closed = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await closed.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    monkeypatch.setattr(transactional_producer, "_WITHIN", 0.2)
    with pytest.raises(KafkaException):
        await TransactionalProducer.start({"bootstrap_servers": f"{host}:{port}"}, "test", [])
    closed.set()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() <= before
