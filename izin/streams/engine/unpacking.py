"""Unpack what was fetched of a partition, a batch of Kafka's at a time.

aiokafka reads a record from its bytes in a microsecond, half of it for headers, and then takes two
to wrap it. So its result of a fetch is replaced by one that unpacks by itself: which batches count
(those of a transaction that was aborted do not), how many records are taken, and where the position
is then. What cannot be read of a batch becomes one value in place of its records.
"""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch

from izin.streams.engine.decompression import unpacked
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
