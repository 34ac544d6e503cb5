"""Consistency tokens: up to where something was written, as one opaque text.

Whoever posts events gets one, and hands it to whoever reads what became of them: an answer ``at
least`` as new as the token reflects those events. It names the highest offset of each partition, so
that a thousand records take no more room than there are partitions.

Its text, as that of a cursor, is packed, versioned and checked, in the characters that a URL may
have: what clients keep and hand back must not invite them to read or change it, and must show where
it was cut. It is no secret and proves nothing, and is of no use on another cluster.
"""

import base64
import binascii
import struct
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from izin.consent import SourceError

_CHECK: Final = struct.Struct(">I")
_LONGEST: Final = 64 * 1024
"""Characters: far more than any text of ours, and little to decode."""
_MORE: Final = 0x80
_LONGEST_NUMBER: Final = 10
_GREATEST: Final = (1 << 63) - 1
"""Of Kafka's offsets."""
_KIND: Final = 0x54
"""Version 1."""
MOST_POSITIONS: Final = 4096


class OpaqueTextError(SourceError):
    """A text that is none of ours: cut, changed, or of another kind or version."""


class PackedWriter:
    """Packs numbers and texts behind a ``kind``, one byte that names kind and version."""

    def __init__(self, kind: int) -> None:
        self._out = bytearray([kind])

    def number(self, value: int) -> None:
        """Append a number, 0 or greater."""
        while value >= _MORE:
            self._out.append(value & 0x7F | _MORE)
            value >>= 7
        self._out.append(value)

    def text(self, value: str) -> None:
        """Append a text."""
        encoded = value.encode()
        self.number(len(encoded))
        self._out += encoded

    def numbers(self, values: Iterable[int]) -> None:
        """Append numbers, each 0 or greater, and before them how many they are."""
        listed = list(values)
        self.number(len(listed))
        for one in listed:
            self.number(one)

    def opaque(self) -> str:
        """Return everything as one text."""
        packed = bytes(self._out)
        return base64.urlsafe_b64encode(packed + _checksum(packed)).rstrip(b"=").decode()


class PackedReader:
    """Reads what a ``PackedWriter`` of the same kind packed.

    Raises:
        OpaqueTextError: the text is not one of this kind; so do all methods.
    """

    def __init__(self, kind: int, opaque: str) -> None:
        packed = _unpacked(opaque)
        if packed[0] != kind:
            raise OpaqueTextError("of another kind or version")
        self._packed, self._place = packed, 1

    def number(self) -> int:
        """Return the next number."""
        value = 0
        for place in range(_LONGEST_NUMBER):
            byte = self._next()
            value |= (byte & 0x7F) << 7 * place
            if byte < _MORE and value <= _GREATEST:
                return value
        raise OpaqueTextError("a number without an end")

    def text(self) -> str:
        """Return the next text."""
        size = self.number()
        found = self._packed[self._place : self._place + size]
        self._place += size
        if len(found) < size:
            raise OpaqueTextError("cut")
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise OpaqueTextError("no text") from None

    def numbers(self) -> list[int]:
        """Return the next list of numbers."""
        return [self.number() for _ in range(self.number())]

    def end(self) -> None:
        """Check that all was read."""
        if self._place != len(self._packed):
            raise OpaqueTextError("longer than it says")

    def _next(self) -> int:
        if self._place >= len(self._packed):
            raise OpaqueTextError("cut")
        self._place += 1
        return self._packed[self._place - 1]


def _unpacked(opaque: str) -> bytes:
    if len(opaque) > _LONGEST:
        raise OpaqueTextError("too long")
    try:
        whole = base64.b64decode(
            opaque.encode("ascii") + b"=" * (-len(opaque) % 4), altchars=b"-_", validate=True
        )
    except (UnicodeEncodeError, binascii.Error):
        raise OpaqueTextError("not of its characters") from None
    packed, check = whole[: -_CHECK.size], whole[-_CHECK.size :]
    if not packed or check != _checksum(packed):
        raise OpaqueTextError("cut or changed")
    return packed


def _checksum(packed: bytes) -> bytes:
    return _CHECK.pack(binascii.crc32(packed))


class LogPosition(NamedTuple):
    """Where one record is."""

    topic: str
    """Its full name, with the prefix of the installation."""
    partition: int
    offset: int


def token_of(positions: Iterable[LogPosition]) -> str:
    """Return the token of records at these ``positions``."""
    highest: dict[str, dict[int, int]] = defaultdict(dict)
    for topic, partition, offset in positions:
        known = highest[topic]
        known[partition] = max(offset, known.get(partition, 0))
    out = PackedWriter(_KIND)
    out.number(len(highest))
    for topic, offsets in sorted(highest.items()):
        out.text(topic)
        out.numbers([number for pair in sorted(offsets.items()) for number in pair])
    return out.opaque()


def positions_of(token: str) -> tuple[LogPosition, ...]:
    """Return the positions that ``token`` names, one for each partition of each topic.

    Raises:
        OpaqueTextError: it is no token, or one of a newer release.
    """
    found = tuple(_read(PackedReader(_KIND, token)))
    if len(found) > MOST_POSITIONS:
        raise OpaqueTextError("names too many positions")
    return found


def _read(packed: PackedReader) -> Iterable[LogPosition]:
    for _ in range(packed.number()):
        topic = packed.text()
        numbers = packed.numbers()
        if len(numbers) % 2:
            raise OpaqueTextError("a partition without an offset")
        for partition, offset in zip(numbers[::2], numbers[1::2], strict=True):
            yield LogPosition(topic, partition, offset)
    packed.end()
