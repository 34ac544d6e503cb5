"""Numbers of a fixed size, little end first: read from bytes as machine words.

Compiled, that makes no object, where ``int.from_bytes`` is looked up and makes several.
"""

from mypy_extensions import i64


def unsigned(data: bytes, at: i64, end: i64) -> i64:
    """Return the number from ``at`` to ``end``, of at most seven bytes; raises IndexError."""
    number: i64 = 0
    while end > at:
        end -= 1
        byte: i64 = data[end]
        number = number << 8 | byte
    return number


def signed(data: bytes, at: i64, end: i64) -> i64:
    """Return the number from ``at`` to ``end``, of at most eight bytes; raises IndexError."""
    last = end - 1
    sign: i64 = data[last]
    return (sign - ((sign & 128) << 1)) << 8 * (last - at) | unsigned(data, at, last)
