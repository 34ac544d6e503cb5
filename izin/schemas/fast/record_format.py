"""Kafka's record format, version 2 (KIP-98): records of a batch as bytes, and their headers.

The general path is aiokafka's ``DefaultRecordBatch`` and ``DefaultRecordBatchBuilder``, or
librdkafka. They make an object of each header, six times a record; here the headers that records
share are bytes which are written as they are, and those that nobody asks for are not read.
"""

from collections.abc import Sequence
from typing import Final

from mypy_extensions import i64

from izin.schemas.fast.writer import long_bytes
from izin.schemas.records import Headers

RecordHeaders = Sequence[tuple[str, bytes | None]]
"""The headers of a record that was read, in order."""

_LONGEST: Final = 63
"""The bits of a number but for those of its last byte."""
_LAST: Final = 128
"""Of a varint, the first byte below this is the last."""
_FIXED: Final = b"\x00\x00"
"""A record's attributes, and its timestamp as that of its batch."""


def varint(data: bytes, at: i64) -> tuple[i64, i64]:
    """Return the number at ``at`` (zigzag, seven bits a byte), and where it ends; raises
    IndexError, also where it is longer than a number can be.
    """
    byte: i64 = data[at]
    at += 1
    word = byte & 127
    shift: i64 = 7
    while byte >= _LAST:
        byte = data[at]
        at += 1
        if shift > _LONGEST:
            raise IndexError
        word |= (byte & 127) << shift
        shift += 7
    return (word >> 1) ^ -(word & 1), at


def headers_of(data: bytes) -> RecordHeaders:
    """Return the headers that ``data``, the end of a record, has.

    What is no UTF-8 in a name is replaced: one bad byte harms no other record of its partition.
    Raises IndexError where their number or a size cannot be.
    """
    found: list[tuple[str, bytes | None]] = []
    count, at = varint(data, 0)
    while count > 0:
        count -= 1
        size, at = varint(data, at)
        if size < 0:
            raise IndexError  # it would be read for ever
        name = data[at : at + size].decode("utf-8", "replace")
        at += size
        size, at = varint(data, at)
        value = None
        if size >= 0:
            value = data[at : at + size]
            at += size
        found.append((name, value))
    return found


def header_bytes(name: str, value: str | bytes | None) -> bytes:
    """Return one header as a record has it."""
    raw = name.encode()
    content = value.encode() if isinstance(value, str) else value
    if content is None:
        return b"%b%b%b" % (long_bytes(len(raw)), raw, long_bytes(-1))
    return b"%b%b%b%b" % (long_bytes(len(raw)), raw, long_bytes(len(content)), content)


def headers_bytes(headers: Headers) -> bytes:
    """Return ``headers`` as the end of a record."""
    return long_bytes(len(headers)) + b"".join([header_bytes(*header) for header in headers])


NO_HEADERS: Final = headers_bytes([])


class BatchBuilder:
    """Records of one partition of a topic, in the order in which they are added."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.size = 0
        """The bytes of all records."""
        self._records: list[bytes] = []

    def add(self, key: bytes | None, value: bytes | None, headers: bytes) -> None:
        """Add a record; ``headers`` as ``headers_bytes`` returns them."""
        body = b"%b%b%b%b%b" % (
            _FIXED,
            long_bytes(len(self._records)),
            long_bytes(-1) if key is None else long_bytes(len(key)) + key,
            long_bytes(-1) if value is None else long_bytes(len(value)) + value,
            headers,
        )
        record = long_bytes(len(body)) + body
        self._records.append(record)
        self.size += len(record)

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._records)

    def payload(self) -> bytes:
        """Return what follows the header of the batch, not compressed."""
        return b"".join(self._records)
