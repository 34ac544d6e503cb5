"""Write Avro's binary encoding with writers composed once from the schema, in a fifth of the time.

fastavro checks for each branch of each union whether the value fits it: nine tenths of the time in
which it encodes a Consent. Our unions are all "null or one type", so the value decides by itself.
The bytes are those of fastavro, which a test compares for any value. A value that does not fit
raises whatever error it runs into, and the codec has fastavro name what is wrong.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mypy_extensions import i64

from izin.schemas.contracts import Schema

Write = Callable[[Any], bytes]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

_INT: Final = 1 << 31
_LONG: Final = 1 << 63
_EIGHT_BYTES: Final = 1 << 55
_BYTES: Final = [bytes((one,)) for one in range(256)]


def long_bytes(number: int) -> bytes:
    """Return ``number`` zigzag and seven bits a byte, as Avro writes ``int`` and ``long``."""
    if 0 <= number < 64:  # noqa: PLR2004  # one byte
        return _BYTES[2 * number]
    if 0 < number < _EIGHT_BYTES:
        return _some_bytes(number)
    left, first = (number << 1) ^ (number >> 63), b""
    while left > 127:  # noqa: PLR2004  # seven bits
        first += _BYTES[left & 127 | 128]
        left >>= 7
    return first + _BYTES[left]


def _some_bytes(number: i64) -> bytes:
    """Do the same in machine words, which take eight bytes, of a number that is not negative."""
    left: i64 = number << 1
    word: i64 = 0
    shift: i64 = 0
    while left > 127:  # noqa: PLR2004  # seven bits
        word |= (left & 127 | 128) << shift
        shift += 8
        left >>= 7
    found: int = word | left << shift
    return found.to_bytes(int(shift // 8 + 1), "little")


_SHORT: Final = 64
_LENGTHS: Final = [_BYTES[2 * length] for length in range(_SHORT)]
"""Of a short text: its length, as most have it."""
_OPTIONAL_LENGTHS: Final = [b"\x02" + one for one in _LENGTHS]


def _text(value: str) -> bytes:
    raw = value.encode()
    length = len(raw)
    return _LENGTHS[length] + raw if length < _SHORT else long_bytes(length) + raw


def _optional_text(value: str | None) -> bytes:
    if value is None:
        return b"\x00"
    raw = value.encode()
    length = len(raw)
    if length < _SHORT:
        return _OPTIONAL_LENGTHS[length] + raw
    return b"\x02" + long_bytes(length) + raw


def _raw(value: bytes) -> bytes:
    return long_bytes(len(value)) + value


def _boolean(value: bool) -> bytes:
    if value is True:
        return b"\x01"
    if value is False:
        return b"\x00"
    raise TypeError("no boolean")


def _int(value: int) -> bytes:
    if not -_INT <= value < _INT:
        raise ValueError("out of bounds")
    return long_bytes(value)


def _long(value: int) -> bytes:
    if not -_LONG <= value < _LONG:
        raise ValueError("out of bounds")
    return long_bytes(value)


def milliseconds(at: datetime | None) -> int | None:
    """Return an instant as Avro has it, in milliseconds since 1970; None stays None."""
    return None if at is None else (at - EPOCH) // MILLISECOND


def _instant(value: datetime) -> bytes:
    return long_bytes((value - EPOCH) // MILLISECOND)


def _or_null(write: Write) -> Write:
    def optional(value: object) -> bytes:
        return b"\x00" if value is None else b"\x02" + write(value)

    return optional


def _array(write: Write) -> Write:
    def array(value: list[Any]) -> bytes:
        if not value:
            return b"\x00"
        return b"".join([long_bytes(len(value)), *map(write, value), b"\x00"])

    return array


def _map(write: Write) -> Write:
    def mapping(value: Mapping[str, Any]) -> bytes:
        if not value:
            return b"\x00"
        pairs = [_text(name) + write(one) for name, one in value.items()]
        return b"".join([long_bytes(len(pairs)), *pairs, b"\x00"])

    return mapping


def _record(fields: list[Schema]) -> Write:
    writers = [(field["name"], writer_of(field["type"])) for field in fields]

    def record(value: Mapping[str, Any]) -> bytes:
        return b"".join([write(value[name]) for name, write in writers])

    return record


_PRIMITIVES: Mapping[str, Write] = {
    "string": _text,
    "bytes": _raw,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
}


def writer_of(schema: Any) -> Write:  # noqa: ANN401  # any JSON
    """Return the function that encodes a value of the expanded ``schema``.

    Raises ValueError for a type that no contract of ours uses.
    """
    match schema:
        case str() if schema in _PRIMITIVES:
            write = _PRIMITIVES[schema]
        case ["null", "string"]:
            write = _optional_text
        case ["null", some]:
            write = _or_null(writer_of(some))
        case {"type": "long", "logicalType": "timestamp-millis"}:
            write = _instant
        case {"type": "array", "items": items}:
            write = _array(writer_of(items))
        case {"type": "map", "values": values}:
            write = _map(writer_of(values))
        case {"type": "record", "fields": fields}:
            write = _record(fields)
        case _:
            raise ValueError(f"no contract of ours uses {schema!r}")
    return write
