"""A record of an input topic, as the fold reads it: a value of our own that can be compiled.

What the client makes of a record is a dictionary with a key for each field. Compiled code finds the
fields of its own classes without looking them up, and an event has a dozen of them read.
"""

from typing import Final

from mypy_extensions import i64, mypyc_attr

from izin.schemas.fast.record_format import RecordHeaders, headers_of, varint

APPENDED_AT: Final = "izin-appended-at"
"""The last header of a record that was appended before (repartitioned, or redriven), with its first
append in milliseconds since 1970: a later one must not change the instant from which an event
counts."""
_APPENDED_AT: Final = APPENDED_AT.encode()


@mypyc_attr(acyclic=True)  # the garbage collector need not look at it
class FetchedRecord:
    """A record of an input topic."""

    def __init__(  # noqa: PLR0913, PLR0917  # by position, for one is made of each record
        self,
        topic: str,
        partition: int,
        offset: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders | bytes,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.timestamp = timestamp
        """When the broker appended it, in milliseconds since 1970."""
        self.key = key
        """As its publisher chose it."""
        self.value = value
        """A framed ConsentEvent, or whatever else it is."""
        self._headers = headers
        # Most have no such header anywhere in their bytes, and then no header of theirs is read.
        self.was_appended_before = (
            not isinstance(headers, bytes) or _APPENDED_AT in headers
        ) and self._ends_in_append()
        """Whether it was repartitioned or redriven, as its last header then says."""

    @property
    def headers(self) -> RecordHeaders:
        """Its headers, in order; none where they cannot be read, for its value may be all right."""
        if isinstance(self._headers, bytes):
            try:
                self._headers = headers_of(self._headers)
            except IndexError:  # their number or a size lies
                self._headers = ()
        return self._headers

    def _ends_in_append(self) -> bool:
        headers = self.headers
        return bool(headers) and headers[-1][0] == APPENDED_AT


@mypyc_attr(acyclic=True)  # the same
class UnreadableBatch(FetchedRecord):
    """What cannot be read of a batch, in place of its records; its offset is that of the last."""

    def __init__(  # noqa: PLR0913, PLR0917  # by position, as a record
        self, topic: str, partition: int, first: int, last: int, timestamp: int, batch: bytes
    ) -> None:
        super().__init__(topic, partition, last, timestamp, None, None, ())
        self.first = first
        """The offset from which on nothing could be read."""
        self.batch = batch
        """The bytes of the whole batch."""


def fetched_records(  # noqa: PLR0913, PLR0917  # what a batch says of all its records
    topic: str,
    partition: int,
    data: bytes,
    base: i64,
    last: i64,
    count: i64,
    first_timestamp: i64,
    append_time: i64,
    start: i64,
) -> tuple[list[FetchedRecord], i64]:
    """Return the records of ``data``, a batch without its header and not compressed, of a partition
    of ``topic``, from the offset ``start`` on; and the offset below which all could be read: behind
    ``last``, unless the bytes are wrong or not all there.

    ``base`` is the offset of the batch, which says that it has ``count`` records up to ``last``;
    ``append_time`` is when the broker appended it where the topic has that for a timestamp, else
    negative (milliseconds since 1970).
    """
    found: list[FetchedRecord] = []
    read = base
    at: i64 = 0
    size: i64 = len(data)
    try:
        while count > 0:
            length, at = varint(data, at)
            end = at + length
            delta, at = varint(data, at + 1)  # behind its attributes
            timestamp = append_time if append_time >= 0 else first_timestamp + delta
            delta, at = varint(data, at)
            offset = base + delta
            length, at = varint(data, at)
            key = value = None
            if length >= 0:
                key = data[at : at + length]
                at += length
            length, at = varint(data, at)
            if length >= 0:
                value = data[at : at + length]
                at += length
            # An offset that lies would move the position past records of others.
            if not (read <= offset <= last and at < end <= size):
                break
            if offset >= start:
                found.append(
                    FetchedRecord(topic, partition, offset, timestamp, key, value, data[at:end])
                )
            read, at = offset + 1, end
            count -= 1
    except IndexError:
        pass
    return found, last + 1 if count == 0 else min(read, last)
