"""Unpack what was fetched of a partition, a batch of Kafka's at a time.

aiokafka reads a record from its bytes in a microsecond, half of it for headers, and then takes two
to wrap it. So its result of a fetch is replaced by one that unpacks by itself: which batches count
(those of a transaction that was aborted do not), how many records are taken, and where the position
is then. What cannot be read of a batch becomes one value in place of its records.

Batches are decompressed as far as Java's client reads them, and at most so much of them. A broker
checks a batch by reading it as Java's client does, and stores what that leaves unread: a second LZ4
frame, the checksum of the content, whatever follows the last member of gzip. Libraries fail over
these once they have unpacked all that is before. So they unpack into memory that is there already,
and its beginning counts; the records show how far it goes (``fetched_records``). That of LZ4 would
not write the last block, and is given one at a time.
"""

import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from mmap import mmap
from typing import Any, Final

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch

from izin.streams.fetched_record import FetchedRecord, UnreadableBatch, fetched_records

RELIES_ON = (
    "aiokafka.consumer.fetcher:FetchResult.getall",
    "aiokafka.consumer.fetcher:FetchResult.check_assignment",
    "aiokafka.consumer.fetcher:FetchResult._update_position",
    "aiokafka.consumer.fetcher:PartitionRecords._consume_aborted_up_to",
    "aiokafka.consumer.fetcher:PartitionRecords._contains_abort_marker",
    "aiokafka.consumer.fetcher:MemoryRecords.has_next",
    "aiokafka.consumer.fetcher:MemoryRecords.size_in_bytes",
)
"""Overridden or called here; a test checks each."""

_LENGTH = slice(8, 12)
"""Of a batch: where its header says how long it is, without these twelve bytes."""
_COUNT = slice(57, 61)
"""The same: how many records it has."""
_HEADER_SIZE = 61
_TAKEN_WITHIN = 0.005
"""Seconds that a fetched partition may wait to be taken before the others are fetched without it: a
fetch that leaves it out would wait, and with it what comes of it next. aiokafka puts that off for a
tenth of a second, opt-outs too."""
_VERSION = 2
MOST: Final = 32 * 1024 * 1024
"""Bytes: what is unpacked of a batch, which a broker has in one megabyte unless it is told
otherwise. A worker may have so much of each of its partitions in memory."""
_ROOM: Final[Any] = mmap(-1, MOST)
"""For all batches, one after the other: the system gives memory as it is first written, and takes
longer for that than it takes to unpack. What a smaller batch leaves unwritten is another's. A map
of nothing, as zeros would have to be written into a byte array, while a worker starts."""
_IN_USE: Final = threading.Lock()
_LEAST: Final = 64 * 1024
_GROWTH: Final = 8
_BLANK: Final = 4096
"""Bytes: so many zeros at the end of a room are no part of an event, so nothing went so far."""
_LZ4: Final = struct.Struct("<IBB")
_LZ4_BLOCKS: Final = {4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22}
"""By their number: the bytes of a block."""
_XERIAL: Final = b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"


class FetchedBatches:
    """The bytes of a fetch, a batch at a time, in place of aiokafka's MemoryRecords."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def size_in_bytes(self) -> int:
        """Return the bytes of all batches."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether another batch is there; of the last one a fetch may bring a part."""
        return self._at + _HEADER_SIZE <= len(self._data) and self._end() <= len(self._data)

    def next_batch(self) -> bytes:
        """Return the bytes of the next batch."""
        start, self._at = self._at, self._end()
        return self._data[start : self._at]

    def _end(self) -> int:
        length = self._data[self._at + _LENGTH.start : self._at + _LENGTH.stop]
        return self._at + _LENGTH.stop + int.from_bytes(length, "big")


class UnpackedFetch(fetcher.FetchResult):
    """What one fetch brought of one partition, unpacked without aiokafka's own records."""

    _topic_partition: tuple[str, int]
    _partition_records: Any
    """None: all was taken."""

    def __init__(self, tp: Any, **fields: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
        super().__init__(tp, **fields | {"backoff": _TAKEN_WITHIN})
        self._rest = chain.from_iterable(
            _committed(*self._topic_partition, self._partition_records)
        )

    def getall(self, max_records: int | None = None) -> list[FetchedRecord]:
        """Return the next records, at most ``max_records``, and move the position behind them."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        unread = self._partition_records
        records = list(islice(self._rest, max_records))
        if records:
            unread.next_fetch_offset = max(unread.next_fetch_offset, records[-1].offset + 1)
        self._update_position()
        if max_records is None or len(records) < max_records:
            self._partition_records = None
        return records


def _committed(topic: str, partition: int, unread: Any) -> Iterator[list[FetchedRecord]]:  # noqa: ANN401  # aiokafka publishes no types
    """Yield the records, batch by batch, that ``unread``, a PartitionRecords, still has for a
    reader of committed ones; its position is behind a batch before the next is read.

    Raises CorruptRecordException, where nothing was read before the batch that is damaged.
    """
    begin = unread.next_fetch_offset
    while unread._records.has_next():  # noqa: SLF001  # aiokafka has no public way
        data, start = unread._records.next_batch(), unread.next_fetch_offset  # noqa: SLF001  # the same
        batch = DefaultRecordBatch(data)
        if batch.magic != _VERSION or not batch.validate_crc():
            if start > begin:
                return  # the next fetch begins there
            raise CorruptRecordException(
                f"a batch of {topic}-{partition} has a wrong checksum, or an old format"
            )
        if not _is_left_out(unread, batch):
            yield _records(topic, partition, data, batch, start)
        # Not behind its last record, for compaction may have removed those after it.
        unread.next_fetch_offset = batch.next_offset


def _records(
    topic: str,
    partition: int,
    data: bytes,
    batch: Any,  # noqa: ANN401  # aiokafka publishes no types
    start: int,
) -> list[FetchedRecord]:
    """Return the records of ``batch``, whose bytes are ``data``, from the offset ``start`` on: a
    fetch brings whole batches, so the first may begin before the position.
    """
    last, append_time = batch.next_offset - 1, batch.max_timestamp
    records, read = fetched_records(
        topic,
        partition,
        unpacked(batch.compression_type, data[_HEADER_SIZE:]),
        batch.base_offset,
        last,
        int.from_bytes(data[_COUNT], "big"),
        batch.first_timestamp,
        append_time if batch.timestamp_type else -1,
        start,
    )
    if read <= last and start <= last:
        records.append(UnreadableBatch(topic, partition, read, last, append_time, data))
    return records


def _is_left_out(unread: Any, batch: Any) -> bool:  # noqa: ANN401  # aiokafka publishes no types
    """Return whether ``batch`` is the marker of a transaction, or of one that was aborted."""
    unread._consume_aborted_up_to(batch.base_offset)  # noqa: SLF001  # aiokafka has no public way
    aborted = unread._aborted_producers  # noqa: SLF001  # the same
    if batch.is_control_batch:
        if unread._contains_abort_marker(batch):  # noqa: SLF001  # the same
            aborted.discard(batch.producer_id)
        return True
    return batch.is_transactional and batch.producer_id in aborted


def unpacked(codec: int, data: bytes) -> bytes:
    """Return ``data``, packed by the ``codec`` of this number, unpacked: where it cannot be
    unpacked to its end, or is larger than ``MOST``, its beginning, and zeros.
    """
    if codec == 0:
        return data
    try:
        with _IN_USE:
            return bytes(memoryview(_ROOM)[: _UNPACKERS[codec](data, _ROOM)])
    except _FAILURES:
        return _beginning(codec, data)


def _beginning(codec: int, data: bytes) -> bytes:
    """Return what can be unpacked, in as much room as that takes, and zeros."""
    size = _LEAST
    while True:
        room = bytearray(size)
        with suppress(*_FAILURES):
            _UNPACKERS[codec](data, room)
        if size >= MOST or not any(room[-_BLANK:]):
            return bytes(room)
        size *= _GROWTH


def _snappy(data: bytes, room: bytearray) -> int:
    """Unpack blocks as xerial's library has them, or one without its header."""
    if not data.startswith(_XERIAL):
        return int(cramjam.snappy.decompress_raw_into(data, room))
    at, end, left = len(_XERIAL), 0, memoryview(room)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        at += 4 + size
        end += cramjam.snappy.decompress_raw_into(data[at - size : at], left[end:])
    return end


def _lz4(data: bytes, room: bytearray) -> int:
    """Unpack the blocks of the first frame, as Java's client does."""
    _, flags, block = _LZ4.unpack_from(data)
    most, checksum = _LZ4_BLOCKS[block >> 4 & 7], flags >> 2 & 4
    # Behind them the size of the content where there is one, and the checksum of the header.
    at, end, left = _LZ4.size + (flags & 8) + 1, 0, memoryview(room)
    while size := struct.unpack_from("<i", data, at)[0]:
        length = size & 0x7FFFFFFF
        part = data[at + 4 : at + 4 + length]
        if size > 0:
            end += cramjam.lz4.decompress_block_into(part, left[end : end + most])
        else:  # it is not packed
            left[end : end + len(part)] = part
            end += len(part)
        at += 4 + length + checksum
    return end


_UNPACKERS: Mapping[int, Callable[[bytes, bytearray], int]] = {
    1: cramjam.gzip.decompress_into,
    2: _snappy,
    3: _lz4,
    4: cramjam.zstd.decompress_into,
}
"""By the number of the codec."""
_FAILURES: Final = (cramjam.DecompressionError, struct.error, KeyError, ValueError)
