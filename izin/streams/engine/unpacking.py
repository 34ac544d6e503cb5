"""Unpack what was fetched of a partition, a batch of Kafka's at a time.

aiokafka reads a record from its bytes in half a microsecond, and then takes two to wrap it. So its
result of a fetch is replaced by one that unpacks by itself: which batches count (those of a
transaction that was aborted do not), how many records are taken, and where the position is then.
"""

from collections.abc import Iterator
from itertools import chain, dropwhile, islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException

from izin.streams.fetched_record import FetchedRecord, fetched_records

RELIES_ON = (
    "aiokafka.consumer.fetcher:FetchResult.getall",
    "aiokafka.consumer.fetcher:FetchResult.check_assignment",
    "aiokafka.consumer.fetcher:FetchResult._update_position",
    "aiokafka.consumer.fetcher:PartitionRecords._consume_aborted_up_to",
    "aiokafka.consumer.fetcher:PartitionRecords._contains_abort_marker",
)
"""Overridden or called here; a test checks each."""


class UnpackedFetch(fetcher.FetchResult):
    """What one fetch brought of one partition, unpacked without aiokafka's own records."""

    _topic_partition: tuple[str, int]
    _partition_records: Any
    """None: all was taken."""

    def __init__(self, tp: Any, **fields: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
        super().__init__(tp, **fields)
        self._rest = chain.from_iterable(_committed(self._partition_records))

    def getall(self, max_records: int | None = None) -> list[FetchedRecord]:
        """Return the next records, at most ``max_records``, and move the position behind them."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        unread, (topic, partition) = self._partition_records, self._topic_partition
        records = fetched_records(topic, partition, islice(self._rest, max_records))
        if records:
            unread.next_fetch_offset = max(unread.next_fetch_offset, records[-1].offset + 1)
        self._update_position()
        if max_records is None or len(records) < max_records:
            self._partition_records = None
        return records


def _committed(unread: Any) -> Iterator[Any]:  # noqa: ANN401  # aiokafka publishes no types
    """Yield the batches that ``unread``, a PartitionRecords, still has for a reader of committed
    records; its position is behind each of them before the next is read.

    Raises CorruptRecordException.
    """
    while unread._records.has_next():  # noqa: SLF001  # aiokafka has no public way
        batch, start = unread._records.next_batch(), unread.next_fetch_offset  # noqa: SLF001  # the same
        if not batch.validate_crc():
            raise CorruptRecordException(f"the checksum of a batch of {unread._tp} is wrong")  # noqa: SLF001  # the same
        if not _is_left_out(unread, batch):
            # A fetch brings whole batches, so the first may begin before the position.
            yield dropwhile(lambda one: one.offset < start, batch)  # noqa: B023  # used at once
        # Not behind its last record, for compaction may have removed those after it.
        unread.next_fetch_offset = batch.next_offset


def _is_left_out(unread: Any, batch: Any) -> bool:  # noqa: ANN401  # aiokafka publishes no types
    """Return whether ``batch`` is the marker of a transaction, or of one that was aborted."""
    unread._consume_aborted_up_to(batch.base_offset)  # noqa: SLF001  # aiokafka has no public way
    aborted = unread._aborted_producers  # noqa: SLF001  # the same
    if batch.is_control_batch:
        if unread._contains_abort_marker(batch):  # noqa: SLF001  # the same
            aborted.discard(batch.producer_id)
        return True
    return batch.is_transactional and batch.producer_id in aborted
