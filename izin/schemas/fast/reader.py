"""Read Avro's binary encoding straight into values, in a third of the time of fastavro and a dict.

The source of a reader is generated from its schema, a line or two a field, the way ``dataclasses``
makes its methods. It reads what our own writers write; anything else, wrong or merely unusual
(blocks with a size, a long of more than nine bytes), raises, and the codec falls back to fastavro.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from mypy_extensions import i64

from izin.schemas.contracts import Schema
from izin.schemas.fast.writer import EPOCH, MILLISECOND

Read = Callable[[bytes, int], tuple[Any, int]]
"""Given bytes and an offset: the value at the offset, and the offset behind it."""
Constructor = Callable[..., Any]

SHORT: Final = [
    1 + (size >> 1) if size < 128 and not size & 1 else 0  # noqa: PLR2004  # one byte
    for size in range(256)
]
"""By the first byte of a text: how many bytes it takes, size included; 0: more bytes decide."""

EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""Beyond these an instant is none: in any time zone, those between them lie in a year that has one
to four digits.
"""
FIRST_INSTANT: Final = (EARLIEST - EPOCH) // MILLISECOND
LAST_INSTANT: Final = (LATEST - EPOCH) // MILLISECOND
"""The same in milliseconds since 1970."""

_LONGEST_SHIFT: Final = 63
_WORD: Final = 56
"""The bits of eight bytes: they fit a machine word."""
_LARGE: Final = 65_536
"""Bytes of a text: a larger one is read where it is, for a copy takes several times as long."""


def reader_of(
    schema: Schema, constructors: Mapping[str, Constructor], sequence: Constructor = list
) -> Read:
    """Return the function that reads the record ``schema``.

    ``constructors`` gives by record what its fields are passed to (``dict`` where it has none),
    ``sequence`` what the items of an array are. Raises ValueError for a type that no contract of
    ours uses.
    """
    names: dict[str, Any] = {"make": constructors.get(schema["name"], dict)}
    lines = ["def read(data, at):"]
    for field in schema["fields"]:
        name, kind = field["name"], field["type"]
        indent = "    "
        if isinstance(kind, list):
            null, kind = kind
            if null != "null":
                raise ValueError(f"no contract of ours uses {field['type']!r}")
            lines += [
                f"    if data[at] == 0: f_{name} = None; at += 1",
                "    elif data[at] != 2: raise ValueError('no such branch')",
                "    else:",
                "        at += 1",
            ]
            indent = "        "
        if kind == "string":
            lines += [indent + line for line in _short_text(name)]
        else:
            lines.append(f"{indent}f_{name}, at = read_{name}(data, at)")
            names[f"read_{name}"] = reader_of_type(kind, constructors, sequence)
    arguments = ", ".join(f"{field['name']}=f_{field['name']}" for field in schema["fields"])
    lines.append(f"    return make({arguments}), at")
    made: dict[str, Read] = {}
    exec("\n".join(lines), names | {"text": text_of}, made)  # noqa: S102  # made of our schema's names
    return made["read"]


def _short_text(name: str) -> list[str]:
    """Return the lines that read a text; nearly all are shorter than 64 bytes."""
    return [
        "size = data[at]",
        "if size < 128 and not size & 1:",
        f"    end = at + 1 + (size >> 1); f_{name} = data[at + 1 : end].decode(); at = end",
        f"else: f_{name}, at = text(data, at)",
    ]


def long_of(data: bytes, at: i64) -> tuple[int, int]:
    """Read an ``int`` or ``long``; raises ValueError for one of more than nine bytes."""
    word: i64 = 0
    shift: i64 = 0
    start = at
    while shift < _WORD:
        byte: i64 = data[at]
        word |= (byte & 127) << shift
        at += 1
        if byte < 128:  # noqa: PLR2004  # the last of it
            return (word >> 1) ^ -(word & 1), at
        shift += 7
    return _long_number(data, start)


def _long_number(data: bytes, at: int) -> tuple[int, int]:
    """Read one that may be longer than a machine word."""
    byte = data[at]
    number, shift = byte & 127, 7
    while byte & 128:
        if shift > _LONGEST_SHIFT:
            raise ValueError("too long")
        at += 1
        byte = data[at]
        number |= (byte & 127) << shift
        shift += 7
    return (number >> 1) ^ -(number & 1), at + 1


def _size(data: bytes, at: int) -> tuple[int, int]:
    size, at = long_of(data, at)
    if size < 0:
        raise ValueError("a negative size")
    return size, at


def text_of(data: bytes, at: int) -> tuple[str, int]:
    """Read a ``string``; raises ValueError for a negative size."""
    size, at = _size(data, at)
    if size > _LARGE:
        return str(memoryview(data)[at : at + size], "utf-8"), at + size
    return data[at : at + size].decode(), at + size


def long_text(data: bytes, at: int) -> tuple[int, int]:
    """Return where a text of 64 bytes and more begins behind its size, and where it ends."""
    if data[at] & 1 == 0 and data[at + 1] < 128:  # noqa: PLR2004  # a size of two bytes
        size = (data[at] & 127 | data[at + 1] << 7) >> 1
        return at + 2, at + 2 + size
    size, at = long_of(data, at)
    if not 0 <= size <= len(data):
        raise ValueError("a negative size, or one beyond the bytes")
    return at, at + size


def _raw(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _size(data, at)
    return data[at : at + size], at + size


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    byte = data[at]
    if byte > 1:
        raise ValueError("no boolean")
    return byte == 1, at + 1


def instant_of(milliseconds: int) -> datetime | None:
    """Return the instant so many ``milliseconds`` since 1970; None where it is none."""
    is_one = FIRST_INSTANT <= milliseconds <= LAST_INSTANT
    return EPOCH + milliseconds * MILLISECOND if is_one else None


def append_instant(milliseconds: int) -> datetime:
    """Return when a record was appended; 1970 where its timestamp is no instant."""
    return instant_of(milliseconds) or EPOCH


def _instant(data: bytes, at: int) -> tuple[Any, int]:
    milliseconds, at = long_of(data, at)
    found = instant_of(milliseconds)
    if found is None:
        raise ValueError("no instant")
    return found, at


def _array(read: Read, sequence: Constructor) -> Read:
    def array(data: bytes, at: int) -> tuple[Any, int]:
        found = []
        count, at = _size(data, at)
        while count:
            for _ in range(count):
                one, at = read(data, at)
                found.append(one)
            count, at = _size(data, at)
        return sequence(found), at

    return array


def _map(read: Read) -> Read:
    def mapping(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        found = {}
        count, at = _size(data, at)
        while count:
            for _ in range(count):
                name, at = text_of(data, at)
                found[name], at = read(data, at)
            count, at = _size(data, at)
        return found, at

    return mapping


_PRIMITIVES: Mapping[str, Read] = {
    "string": text_of,
    "bytes": _raw,
    "boolean": _boolean,
    "int": long_of,
    "long": long_of,
}


def reader_of_type(
    kind: Any,  # noqa: ANN401  # any JSON
    constructors: Mapping[str, Constructor] = MappingProxyType({}),
    sequence: Constructor = list,
) -> Read:
    """Return the function that reads a value of the type ``kind``; as :func:`reader_of`."""
    match kind:
        case str() if kind in _PRIMITIVES:
            read = _PRIMITIVES[kind]
        case {"type": "long", "logicalType": "timestamp-millis"}:
            read = _instant
        case {"type": "array", "items": items}:
            read = _array(reader_of_type(items, constructors, sequence), sequence)
        case {"type": "map", "values": values}:
            read = _map(reader_of_type(values, constructors, sequence))
        case {"type": "record"}:
            read = reader_of(kind, constructors, sequence)
        case _:
            raise ValueError(f"no contract of ours uses {kind!r}")
    return read


def reader_of_some(kind: Any) -> Read:  # noqa: ANN401  # any JSON
    """Return the reader of what a field of the type ``kind`` has where it is not null."""
    return reader_of_type(kind[1] if isinstance(kind, list) else kind)
