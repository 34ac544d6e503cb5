"""A mark that only current leaders can know, so that responses of former leaders are detected.

A broker that was paused (a frozen machine, a long garbage collection) still acts as leader of its
partitions when it resumes, until it learns otherwise. It responds at once to requests sent
meanwhile, with outdated ends. A worker that trusted them would decide over an outdated state, or
decide again what others have decided.

Such a broker cannot accept a write, because it is not replicated. So the acquiring worker writes a
record to each partition that it is about to read, in a transaction that it aborts, and then reads
up to it. No subscriber ever sees the record; it has an offset, and everything that was committed
before lies below.
"""

from collections.abc import Iterable, Mapping

from izin.schemas.fast.record_format import NO_HEADERS
from izin.streams.ownership.effects import OutputRecord
from izin.streams.ownership.transactional_producer import TransactionalProducer

_KEY = b"izin-mark"
"""A compacted topic accepts no record without a key."""
_OFFSETS_OF_A_MARK = 2
"""The record's, and that of the transaction's own marker."""


async def set_marks(
    producer: TransactionalProducer, topics: Iterable[str], number: int
) -> Mapping[str, int]:
    """Mark the end of partition ``number`` of each of ``topics``; return the offset behind each
    mark by topic. Raises KafkaException.
    """
    await producer.write([OutputRecord(topic, number, _KEY, None, NO_HEADERS) for topic in topics])
    marks = await producer.abort()
    return {topic: offset + _OFFSETS_OF_A_MARK for topic, offset in marks.items()}
