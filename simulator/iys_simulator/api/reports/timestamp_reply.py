"""A timestamp reply (RFC 3161, `.tsr`) over a SHA-384 hash, unsigned: nobody vouches for it.

Tools that read such replies show its hash, time and serial number. None will consider it valid, and
none should.
"""

from datetime import datetime
from typing import Final

_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_TIMESTAMP_INFO: Final = "1.2.840.113549.1.9.16.1.4"
_SHA_384: Final = "2.16.840.1.101.3.4.2.2"
_POLICY: Final = "1.3.6.1.4.1.99999.1"  # of no authority
_SHORT: Final = 0x80


def timestamp_reply(hash_value: str, made_at: datetime, serial: int) -> bytes:
    """Return a granted reply over `hash_value` (hex of SHA-384) made at `made_at` (UTC), in DER."""
    algorithm = _sequence(_object(_SHA_384), _tag(0x05, b""))
    info = _sequence(
        _integer(1),
        _object(_POLICY),
        _sequence(algorithm, _tag(0x04, bytes.fromhex(hash_value))),
        _integer(serial),
        _tag(0x18, made_at.strftime("%Y%m%d%H%M%SZ").encode()),
    )
    content = _sequence(_object(_TIMESTAMP_INFO), _tag(0xA0, _tag(0x04, info)))
    signed = _sequence(_integer(3), _tag(0x31, algorithm), content, _tag(0x31, b""))
    token = _sequence(_object(_SIGNED_DATA), _tag(0xA0, signed))
    return _sequence(_sequence(_integer(0)), token)


def _tag(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < _SHORT:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, _SHORT | len(size)]) + size + content


def _sequence(*parts: bytes) -> bytes:
    return _tag(0x30, b"".join(parts))


def _integer(value: int) -> bytes:
    return _tag(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _object(name: str) -> bytes:
    first, second, *rest = (int(part) for part in name.split("."))
    return _tag(0x06, bytes([first * 40 + second]) + b"".join(_base_128(part) for part in rest))


def _base_128(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, value & 0x7F | _SHORT)
    return bytes(digits)
