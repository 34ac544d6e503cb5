"""Records as an enemy, a bug or a broken disk would write them, reproducible from a seed.

Broken framings, cut and flipped bytes, texts of every Unicode category, lone surrogates, instants
from the year 1 to 9999 and beyond, numbers at the ends of their types, words that the law does not
know, fields that contradict one another, and giants.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from random import Random
from typing import Any

from izin.schemas.codec import Codec
from tests.support.hostile.inputs import HostileInputs

GIANT = 400_000
"""The size of the largest texts; a broker takes records of one megabyte."""
_MARK = "~~~"
_SURROGATES = ("\ud800", "\udbff", "\udc00", "\udfff")
_WORDS = ("", "ONAY", "RET", "BELKI", "MESAJ", "EPOSTA", "TACIR", "null", "-1", "ı", "' OR 1=1")
_NUMBERS = (0, -1, 1, 2**31 - 1, -(2**31), 2**31, 2**53, 2**63 - 1, -(2**63))

Make = Callable[[int], Mapping[str, Any]]
"""Makes the content of a valid record of a number."""
Leaf = tuple[dict[str, Any], str]
"""What has a field, and its name."""


class HostileRecords:
    """Hostile values of the ``record`` of a contract, spoilt from valid ones."""

    def __init__(self, codec: Codec, record: str, make: Make, *, seed: int) -> None:
        self._codec = codec
        self._record = record
        self._make = make
        self._random = Random(seed)
        self._inputs = HostileInputs(seed)

    def values(self, count: int) -> Iterator[bytes]:
        """Yield so many values, a few of them giants."""
        for number in range(count):
            if number % 500 == 0:
                yield self._with_text(number, lambda _: self._random.randbytes(GIANT // 2).hex())
            elif self._random.random() < 0.5:
                yield self._of_other_bytes(self._valid(number))
            else:
                yield self._of_other_content(number)

    def _valid(self, number: int) -> bytes:
        return self._codec.encode(self._record, self._make(number))

    def _of_other_bytes(self, value: bytes) -> bytes:
        """Return noise, or a value that was framed anew, cut, extended or flipped."""
        random = self._random
        flipped = bytearray(value)
        for _ in range(random.randrange(1, 9)):
            flipped[random.randrange(10, len(value))] = random.randrange(256)
        frames = [b"", b"\0" + random.randbytes(4), b"\0\0\0\0\1", b"\xc3\1" + random.randbytes(8)]
        frame = random.choice([*frames, b"\xc3\2" + value[2:10], value[:10] * 2])
        return random.choice(
            [
                random.randbytes(random.randrange(300)),
                frame + value[10:],
                value[: random.randrange(len(value))],
                value + random.randbytes(random.randrange(1, 50)),
                bytes(flipped),
            ]
        )

    def _of_other_content(self, number: int) -> bytes:
        """Return a record whose fields are others of their type, whose texts are empty, or one of
        them no text.
        """
        kind = self._random.randrange(4)
        if kind == 0:
            lone = self._random.choice(_SURROGATES).encode("utf-8", "surrogatepass")
            return self._with_text(number, lambda text: text + _MARK).replace(_MARK.encode(), lone)
        content = _copied(self._make(number))
        if kind == 1:
            for holder, name in _texts(content):
                holder[name] = ""
            return self._codec.encode(self._record, content)
        for holder, name in self._random.sample([*_leaves(content)], self._random.randrange(1, 6)):
            holder[name] = self._other(holder[name])
        try:
            return self._codec.encode(self._record, content)
        except (ValueError, TypeError, OverflowError):
            return self._of_other_content(number)  # the contract does not take it

    def _with_text(self, number: int, change: Callable[[str], str]) -> bytes:
        """Return a valid record of which one text is changed."""
        content = _copied(self._make(number))
        holder, name = self._random.choice(_texts(content))
        holder[name] = change(holder[name])
        return self._codec.encode(self._record, content)

    def _other(self, value: object) -> object:
        """Return another value of the type of ``value``."""
        match value:
            case bool():
                return not value
            case int():
                return self._random.choice(_NUMBERS)
            case datetime():
                return self._random.choice([self._inputs.instant(), self._random.choice(_NUMBERS)])
            case str():
                return self._random.choice([self._random.choice(_WORDS), self._inputs.text()])
            case _:
                return self._random.choice([None, "", 0, self._inputs.instant()])


def _copied(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _copied(value) if isinstance(value, Mapping) else value
        for name, value in content.items()
    }


def _texts(content: dict[str, Any]) -> list[Leaf]:
    return [one for one in _leaves(content) if isinstance(one[0][one[1]], str)]


def _leaves(content: dict[str, Any]) -> Iterator[Leaf]:
    """Yield the place of every field that is no record."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif not isinstance(value, list):
            yield content, name
