"""Records as an enemy, a bug or a broken disk would write them, reproducible from a seed.

Broken framings, cut and flipped bytes, texts of every Unicode category, lone surrogates, instants
from the year 1 to 9999 and beyond, numbers at the ends of their types, words that the law does not
know, fields that contradict one another, and giants.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

from izin.schemas.codec import Codec

GIANT = 400_000
"""The size of the largest texts; a broker takes records of one megabyte."""
_MARK = "~~~"
_SURROGATES = ("\ud800", "\udbff", "\udc00", "\udfff")
_WORDS = (
    "",
    "ONAY",
    "RET",
    "BELKI",
    "MESAJ",
    "EPOSTA",
    "TACIR",
    "null",
    "-1",
    "ı",
    "İ",
    "' OR 1=1",
)
_NUMBERS = (0, -1, 1, 2**31 - 1, -(2**31), 2**31, 2**53, 2**63 - 1, -(2**63))
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_DAYS = 3_652_058
"""From the year 1 to 9999."""

Make = Callable[[int], Mapping[str, Any]]
"""Makes the content of a valid record of a number."""


class HostileRecords:
    """Hostile values of the ``record`` of a contract, spoilt from valid ones."""

    def __init__(self, codec: Codec, record: str, make: Make, *, seed: int) -> None:
        self._codec = codec
        self._record = record
        self._make = make
        self._random = Random(seed)
        self._kinds: tuple[Callable[[int], bytes], ...] = (
            self._noise,
            self._reframed,
            self._truncated,
            self._extended,
            self._flipped,
            self._spoilt,
            self._spoilt,
            self._emptied,
            self._surrogate,
        )

    def values(self, count: int) -> Iterator[bytes]:
        """Yield so many values, a few of them giants."""
        for number in range(count):
            if number % 500 == 0:
                yield self._giant(number)
            else:
                yield self._random.choice(self._kinds)(number)

    def _valid(self, number: int) -> bytes:
        return self._codec.encode(self._record, self._make(number))

    def _noise(self, _: int) -> bytes:
        return self._random.randbytes(self._random.randrange(300))

    def _reframed(self, number: int) -> bytes:
        random, value = self._random, self._valid(number)
        frame = random.choice(
            [
                b"",
                b"\0" + random.randbytes(4),
                b"\0\0\0\0\1",
                b"\xc3\1" + random.randbytes(8),
                b"\xc3\2" + value[2:10],
                value[:10] * 2,
            ]
        )
        return frame + value[10:]

    def _truncated(self, number: int) -> bytes:
        value = self._valid(number)
        return value[: self._random.randrange(len(value))]

    def _extended(self, number: int) -> bytes:
        return self._valid(number) + self._random.randbytes(self._random.randrange(1, 50))

    def _flipped(self, number: int) -> bytes:
        value = bytearray(self._valid(number))
        for _ in range(self._random.randrange(1, 9)):
            value[self._random.randrange(10, len(value))] = self._random.randrange(256)
        return bytes(value)

    def _spoilt(self, number: int) -> bytes:
        """Replace some fields by others of their type, until the contract takes the record."""
        while True:
            content = _copied(self._make(number))
            places = list(_leaves(content))
            for holder, name in self._random.sample(places, self._random.randrange(1, 6)):
                holder[name] = self._other(holder[name])
            try:
                return self._codec.encode(self._record, content)
            except (ValueError, TypeError, OverflowError):
                continue

    def _emptied(self, number: int) -> bytes:
        content = _copied(self._make(number))
        for holder, name in _leaves(content):
            if isinstance(holder[name], str):
                holder[name] = ""
        return self._codec.encode(self._record, content)

    def _surrogate(self, number: int) -> bytes:
        content = _copied(self._make(number))
        texts = [one for one in _leaves(content) if isinstance(one[0][one[1]], str)]
        holder, name = self._random.choice(texts)
        holder[name] += _MARK
        lone = self._random.choice(_SURROGATES).encode("utf-8", "surrogatepass")
        return self._codec.encode(self._record, content).replace(_MARK.encode(), lone)

    def _giant(self, number: int) -> bytes:
        content = _copied(self._make(number))
        texts = [one for one in _leaves(content) if isinstance(one[0][one[1]], str)]
        holder, name = self._random.choice(texts)
        holder[name] = self._random.randbytes(GIANT // 2).hex()
        return self._codec.encode(self._record, content)

    def _other(self, value: object) -> object:
        """Return another value of the type of ``value``."""
        random = self._random
        match value:
            case bool():
                return not value
            case int():
                return random.choice(_NUMBERS)
            case datetime():
                whole = _FIRST + timedelta(
                    days=random.randrange(3_652_059), hours=random.randrange(24)
                )
                return random.choice([whole, whole, random.choice(_NUMBERS)])
            case str():
                return random.choice([random.choice(_WORDS), self._text()])
            case _:
                return random.choice([None, "", 0, _FIRST])

    def _text(self) -> str:
        categories = sorted(_characters())
        return "".join(
            self._random.choice(_characters()[self._random.choice(categories)])
            for _ in range(self._random.randrange(1, 40))
        )


@cache
def _characters() -> Mapping[str, str]:
    """Return some characters of each Unicode category that UTF-8 can encode."""
    found: dict[str, str] = {}
    for number in [*range(0x3000), *range(0xE000, 0xE100), *range(0xFFF0, 0x1_0000), 0x1_F600]:
        character = chr(number)
        category = unicodedata.category(character)
        if category != "Cs" and len(found.get(category, "")) < 60:
            found[category] = found.get(category, "") + character
    return found


def _copied(value: Any) -> Any:  # noqa: ANN401  # whatever Avro has
    """Return ``value`` with records and lists of its own."""
    if isinstance(value, Mapping):
        return {name: _copied(one) for name, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def _leaves(content: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the place of every field that is no record: what has it, and its name."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif not isinstance(value, list):
            yield content, name
