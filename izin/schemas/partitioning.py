"""The partition of a key, by Kafka's own murmur2 partitioner.

The Java client's default, ``murmur2_random`` in librdkafka: ``(murmur2(key) & 0x7fffffff) %
partitions``. Every writer of a keyed topic must use it, or the lanes of a key would diverge.
"""

from struct import unpack_from
from typing import Final

from mypy_extensions import i64

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_SLASH: Final = ord("/")


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 of ``data``, unsigned."""
    # Compiled, an i64 is a machine word; each product here fits one.
    length = len(data)
    h: i64 = _SEED ^ length
    words: tuple[int, ...] = unpack_from(f"<{length >> 2}I", data)
    for word in words:
        k: i64 = word
        k = k * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    rest = length & 3
    if rest:
        last: i64 = int.from_bytes(data[length - rest :], "little")
        h = (h ^ last) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition, 0 to ``partitions`` - 1, that ``key`` belongs to."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def last_slash(key: bytes) -> i64:
    """Return where the last slash of ``key`` is, before its recipient; -1 where there is none."""
    at: i64 = len(key) - 1
    while at >= 0 and key[at] != _SLASH:
        at -= 1
    return at
