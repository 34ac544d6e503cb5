"""Unpack the records of a batch as far as Java's client reads them, and at most so much of them.

A broker checks a batch by reading it as Java's client does, and stores what that leaves unread: a
second LZ4 frame, the checksum of the content, whatever follows the last member of gzip. Libraries
fail over these once they have unpacked all that is before. So they unpack into memory that is
there already, and its beginning counts; the records show how far it goes (``fetched_records``).
That of LZ4 would not write the last block, and is given one at a time.
"""

import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import cramjam

MOST: Final = 32 * 1024 * 1024
"""Bytes: what is unpacked of a batch, which a broker has in one megabyte unless it is told
otherwise. A worker may have so much of each of its partitions in memory."""
_ROOM: Final = bytearray(MOST)
"""For all batches, one after the other: the system gives memory as it is first written, and takes
longer for that than it takes to unpack. What a smaller batch leaves unwritten is another's."""
_IN_USE: Final = threading.Lock()
_LEAST: Final = 64 * 1024
_GROWTH: Final = 8
_BLANK: Final = 4096
"""Bytes: so many zeros at the end of a room are no part of an event, so nothing went so far."""
_LZ4: Final = struct.Struct("<IBB")
_LZ4_BLOCKS: Final = {4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22}
"""By their number: the bytes of a block."""
_XERIAL: Final = b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"


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
