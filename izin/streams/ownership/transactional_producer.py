"""A producer whose records are transactions, one after the other; dropped at its first error.

aiokafka's, on the event loop: a transaction needs no thread, and its records are handed over as
batches that are encoded already, where librdkafka takes them one by one with a call for each.

aiokafka commits a transaction of which a batch was refused. So the outcome of every batch is looked
at before the commit is asked for; whoever uses this looks at nothing else, for what fails raises,
and what had failed halfway is aborted by the next producer of the same transactional id.

aiokafka asks again for the end of a transaction where it gets no answer. The broker cannot tell the
two requests from those of two transactions of the same epoch: the first, which it may read after
the answer to the second, would end the next transaction in the middle (KIP-890). So an end without
an answer is the end of its producer.

A batch of records as the bytes that a broker stores, made beside the event loop.

aiokafka's own builder takes records one by one, and compresses them on the event loop when it sends
them. LZ4 as librdkafka and Java write it: blocks that do not refer to each other (KIP-57).
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import lz4.frame
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError as ClientError, ProducerClosed
from aiokafka.producer import message_accumulator, sender
from aiokafka.record.util import calc_crc32c
from confluent_kafka import KafkaError, KafkaException

from izin.schemas.fast.record_format import BatchBuilder
from izin.streams.ownership.effects import OutputBatches, OutputRecord

RELIES_ON = (
    "aiokafka.producer.message_accumulator:BatchBuilder._build",
    "aiokafka.producer.message_accumulator:BatchBuilder._set_producer_state",
    "aiokafka.producer.sender:BACKOFF_OVERRIDE",
    "aiokafka.producer.sender:EndTxnHandler.create_request",
    "aiokafka.producer.sender:EndTxnHandler.do",
    "aiokafka.producer.sender:EndTxnHandler.group",
    "aiokafka.producer.sender:EndTxnHandler.handle_response",
    "aiokafka.producer.sender:Sender.sender_task",
    "aiokafka.producer.message_accumulator:MessageAccumulator.fail_all",
    "aiokafka.producer.message_accumulator:MessageBatch.wait_drain",
    "aiokafka.producer.transaction_manager:TransactionManager.fatal_error",
    "aiokafka.producer.transaction_manager:TransactionManager.wait_for_transaction_end",
)
"""Private to aiokafka, and used here; a test checks each."""

_WITHIN = 6.0
"""In seconds. The partition is acquired again then, which fences the open transaction and finds out
how it ended: sooner than its coordinator, if that is frozen or cut off, answers what it was asked.
"""
_SETTINGS = {"transaction_timeout_ms": 10_000, "request_timeout_ms": 8_000, "retry_backoff_ms": 50}
_CANCEL_INTERVAL = 0.1
# A coordinator takes a few milliseconds to end a transaction, until which the next one cannot
# begin; aiokafka would ask again after twenty.
sender.BACKOFF_OVERRIDE = 0.002
_START: Final = struct.Struct(">qiibI")
"""Offset (the broker's), length, epoch of the leader (the broker's), version, checksum."""
_BODY: Final = struct.Struct(">hiqqqhii")
"""Attributes, offset of the last record, first and last timestamp, id and epoch of the producer,
sequence number, count."""
_VERSION: Final = 2
_ATTRIBUTES: Final = 3 | 1 << 4
"""LZ4, and part of a transaction."""
_SMALL: Final = 8192
"""Bytes that are compressed at once: a thread would take longer."""


class EncodedBatch(message_accumulator.BatchBuilder):
    """A batch of ``count`` records, encoded and compressed, which takes no more."""

    def __init__(self, count: int, records: bytes) -> None:
        self._relative_offset = count
        self._closed = True
        self._records = records
        self._at = time.time_ns() // 1_000_000

    def _set_producer_state(self, producer_id: int, producer_epoch: int, sequence: int) -> None:
        """Put the header before the records, as soon as it is known."""
        count, state = self._relative_offset, (producer_id, producer_epoch, sequence)
        header = (_ATTRIBUTES, count - 1, self._at, self._at, *state, count)
        body = _BODY.pack(*header) + self._records
        length = len(body) + _START.size - 12  # which counts neither the offset nor itself
        self._buffer = _START.pack(0, length, -1, _VERSION, calc_crc32c(body)) + body


async def encoded(batch: BatchBuilder) -> EncodedBatch:
    """Return ``batch`` as the transaction of a producer has it."""
    if batch.size <= _SMALL:
        return _encode(batch)
    return await asyncio.to_thread(_encode, batch)


def _encode(batch: BatchBuilder) -> EncodedBatch:
    packed = lz4.frame.compress(batch.payload(), block_linked=False, store_size=False)
    return EncodedBatch(len(batch), packed)


async def _end_once(handler: Any, node: int) -> bool:  # noqa: ANN401  # aiokafka publishes no types
    """Ask ``node`` to end the transaction; return False where it answers that it does not yet, and
    is to be asked again. Without an answer the producer never does anything more.
    """
    owner, request = handler._sender, handler.create_request()  # noqa: SLF001  # it is a method of aiokafka's handler
    try:
        answer = await owner.client.send(node, request, group=handler.group)
    except ClientError as error:
        owner._txn_manager.fatal_error(error)  # noqa: SLF001  # the same
        return True
    wait = handler.handle_response(answer)
    await asyncio.sleep(wait or 0)
    return wait is None


sender.EndTxnHandler.do = _end_once


class TransactionalProducer:
    """Writes transactions under one transactional id."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
        self._client = client
        self.appended_at = 0
        """When the broker appended the latest records, in milliseconds since 1970."""
        self._batches = OutputBatches()
        self._sent: list[tuple[BatchBuilder, asyncio.Future[Any]]] = []
        self._is_open = False

    @classmethod
    async def start(
        cls, connection: Mapping[str, Any], transactional_id: str, topics: Iterable[str]
    ) -> "TransactionalProducer":
        """Return a producer that has fenced the former one with this id; ``topics`` are those that
        it will write to. Raises KafkaException.
        """
        client = AIOKafkaProducer(transactional_id=transactional_id, **connection, **_SETTINGS)
        made = cls(client)
        try:
            async with _client_calls():
                await client.start()
                await client.client.set_topics(topics)
        except BaseException:
            await made.close()
            raise
        return made

    async def write(self, records: Sequence[OutputRecord]) -> None:
        """Add ``records`` to the open transaction, or to a new one; others have a turn meanwhile.

        Raises KafkaException.
        """
        async with _client_calls():
            if not self._is_open:
                await self._client.begin_transaction()
                self._is_open = True
            await self._send(self._batches.add(records))
            await asyncio.sleep(0)

    async def commit(self) -> Mapping[str, int]:
        """Commit what was written; return the offset of the last record of each topic.

        Raises KafkaException where it was not committed, or may not have been.
        """
        async with _client_calls():
            offsets = await self._flush()
            await self._client.commit_transaction()
        return offsets

    async def abort(self) -> Mapping[str, int]:
        """Abort what was written, and return and raise the same."""
        async with _client_calls():
            offsets = await self._flush()
            await self._client.abort_transaction()
        return offsets

    async def _flush(self) -> Mapping[str, int]:
        """Send what waits, and return the offsets once all is stored."""
        await self._send(self._batches.take())
        sent, self._sent, self._is_open = self._sent, [], False
        stored = await asyncio.gather(*(future for _, future in sent))
        self.appended_at = max((one.timestamp for one in stored), default=self.appended_at)
        return {
            batch.topic: metadata.offset + len(batch) - 1
            for (batch, _), metadata in zip(sent, stored, strict=True)
        }

    async def _send(self, batches: Sequence[BatchBuilder]) -> None:
        # All are encoded before the first is sent, so that one request takes them together.
        for batch, made in [(one, await encoded(one)) for one in batches]:
            future = await self._client.send_batch(made, batch.topic, partition=batch.partition)
            # Where another fails first, nobody asks for the error of this one.
            future.add_done_callback(lambda one: one.cancelled() or one.exception())
            self._sent.append((batch, future))

    async def close(self) -> None:
        """Close its connections, and end its tasks, which else would try for ever: what was not
        sent is not sent any more.
        """
        client, unsent = self._client, self._client._message_accumulator  # noqa: SLF001  # aiokafka would send first what waits
        task = client._sender.sender_task  # noqa: SLF001  # the same
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_CANCEL_INTERVAL)
        unsent.fail_all(ProducerClosed())
        # Nobody asks for these errors, and asyncio would log each of them.
        ends = [
            client._txn_manager.wait_for_transaction_end(),  # noqa: SLF001  # the same
            *(one._drain_waiter for some in unsent._batches.values() for one in some),  # noqa: SLF001  # the same
        ]
        await asyncio.gather(
            *(end for end in ends if end is not None and end.done()), return_exceptions=True
        )
        await client.stop()


@asynccontextmanager
async def _client_calls() -> AsyncIterator[None]:
    """Limit the time of calls of aiokafka, and raise what it raises as the KafkaException that all
    clients of ours raise.
    """
    try:
        async with asyncio.timeout(_WITHIN):
            yield
    except (ClientError, OSError, AssertionError) as error:  # it asserts the state it is in
        reason = f"{type(error).__name__}: {error}"
        raise KafkaException(KafkaError(KafkaError._FAIL, reason)) from error  # noqa: SLF001  # librdkafka's name for it
