"""A batch of records as the bytes that a broker stores, made beside the event loop.

aiokafka's own builder takes records one by one, and compresses them on the event loop when it sends
them. LZ4 as librdkafka and Java write it: blocks that do not refer to each other (KIP-57).
"""

import asyncio
import struct
import time
from typing import Final

import lz4.frame
from aiokafka.producer import message_accumulator
from aiokafka.record.util import calc_crc32c

from izin.schemas.fast.record_format import BatchBuilder

RELIES_ON = (
    "aiokafka.producer.message_accumulator:BatchBuilder._build",
    "aiokafka.producer.message_accumulator:BatchBuilder._set_producer_state",
)
"""Overridden or relied on here; a test checks each."""

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
