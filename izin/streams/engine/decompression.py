"""Unpack the records of a batch as far as Java's client reads them, and at most so much of them.

A broker checks a batch by reading it as Java's client does, and stores what that leaves unread: a
second LZ4 frame and the checksum of the content, whatever follows the last member of gzip. Other
clients fail over these. Nothing here does: of what cannot be unpacked the beginning is returned,
and the records show how far it goes (``fetched_records``).
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import cramjam
import lz4.block

MOST: Final = 32 * 1024 * 1024
"""Bytes: what is unpacked of a batch, which a broker has in one megabyte unless it is told
otherwise; so much is in the memory of a worker for each of its partitions."""

_LZ4_HEADER: Final = struct.Struct("<IBB")
_LZ4_MAGIC: Final = 0x184D2204
_LZ4_BLOCKS: Final = {4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22}
"""By their number: the bytes of a block."""
_SIZE: Final = 0x7FFFFFFF
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = 31
"""zlib's name for a window of 32 KiB and a header of gzip."""
_XERIAL: Final = b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
_ZSTD_LEAST: Final = 128 * 1024
_ERRORS: Final = (
    *(cramjam.DecompressionError, lz4.block.LZ4BlockError, zlib.error, struct.error),
    *(LookupError, OSError, ValueError, OverflowError, MemoryError),
)
"""What the unpackers raise over bytes that are wrong."""


def unpacked(codec: int, data: bytes) -> bytes:
    """Return ``data``, packed by the ``codec`` of this number, unpacked: its beginning where it
    cannot be unpacked to its end, or is larger than ``MOST``. Raises nothing.
    """
    found = bytearray()
    unpack = _UNPACKERS.get(codec)
    try:
        if unpack is None:
            return data if codec == 0 else b""
        unpack(data, found)
    except _ERRORS:
        pass
    return bytes(found)


def _gzip(data: bytes, found: bytearray) -> None:
    while data.startswith(_GZIP_MAGIC) and len(found) < MOST:
        member = zlib.decompressobj(_GZIP)
        found += member.decompress(data, MOST - len(found))
        data = member.unused_data


def _snappy(data: bytes, found: bytearray) -> None:
    if not data.startswith(_XERIAL):
        if cramjam.snappy.decompress_raw_len(data) <= MOST:
            found += bytes(cramjam.snappy.decompress_raw(data))
        return
    at = 0
    while len(found) < MOST:
        if data.startswith(_XERIAL, at):
            at += len(_XERIAL)
        (size,) = struct.unpack_from(">I", data, at)
        at += 4 + size
        found += bytes(cramjam.snappy.decompress_raw(data[at - size : at]))


def _lz4(data: bytes, found: bytearray) -> None:
    magic, flags, block = _LZ4_HEADER.unpack_from(data)
    if magic != _LZ4_MAGIC:
        return
    # Behind them the size of the content where there is one, and the checksum of the header.
    at = _LZ4_HEADER.size + (flags & 8) + 1
    most, checksum = _LZ4_BLOCKS[block >> 4 & 7], flags >> 2 & 4
    while len(found) < MOST:
        (size,) = struct.unpack_from("<I", data, at)
        if size == 0:
            return
        is_packed, size = size <= _SIZE, size & _SIZE
        part = data[at + 4 : at + 4 + size]
        at += 4 + size + checksum
        found += lz4.block.decompress(part, uncompressed_size=most) if is_packed else part


def _zstd(data: bytes, found: bytearray) -> None:
    size = max(_ZSTD_LEAST, 8 * len(data))
    while True:
        buffer = bytearray(min(size, MOST))
        try:
            count = cramjam.zstd.decompress_into(data, buffer)
        except cramjam.DecompressionError:  # among others, where the buffer is too small
            if size >= MOST:
                found += buffer
                return
            size *= 8
        else:
            found += memoryview(buffer)[:count]
            return


_UNPACKERS: Mapping[int, Callable[[bytes, bytearray], None]] = {
    1: _gzip,
    2: _snappy,
    3: _lz4,
    4: _zstd,
}
"""By the number of the codec."""
