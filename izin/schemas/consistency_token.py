"""Consistency tokens: up to where something was written, as one opaque text.

Whoever posts events gets one, and hands it to whoever reads what became of them: an answer ``at
least`` as new as the token reflects those events. It names the highest offset of each partition, so
that a thousand records take no more room than there are partitions. A text of a token is no secret,
and of no use on another cluster.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from izin.schemas.opaque_text import OpaqueTextError, PackedReader, PackedWriter

_KIND: Final = 0x54
"""Version 1."""
MOST_POSITIONS: Final = 4096


class LogPosition(NamedTuple):
    """Where one record is."""

    topic: str
    """Its full name, with the prefix of the installation."""
    partition: int
    offset: int


class MalformedTokenError(OpaqueTextError):
    """A text that is no consistency token."""


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
        out.numbers(number for pair in sorted(offsets.items()) for number in pair)
    return out.opaque()


def positions_of(token: str) -> tuple[LogPosition, ...]:
    """Return the positions that ``token`` names, one for each partition of each topic.

    Raises:
        MalformedTokenError: it is no token, or one of a newer release.
    """
    try:
        found = tuple(_read(PackedReader(_KIND, token)))
    except OpaqueTextError as error:
        raise MalformedTokenError(str(error)) from None
    if len(found) > MOST_POSITIONS:
        raise MalformedTokenError("names too many positions")
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
