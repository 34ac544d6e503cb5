"""Whether a runner did the work: its output read back, counted, and its last rows compared.

Read once a runner, after the clock has stopped. All who keep the latest row of each key must write
as many rows as the course foresees and end with the same ones, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from izin.runtime import kafka

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from izin.runtime.settings import KafkaSettings

_AT_ONCE = 10_000
_WAIT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What stands in an output topic."""

    rows: int
    digest: str
    """Of the last value of every key, whatever the order in which they were written."""


def outcome(rows: Iterable[tuple[bytes, bytes]]) -> Outcome:
    """Return what ``rows``, key and value, oldest first, amount to."""
    count = 0
    latest: dict[bytes, bytes] = {}
    for key, value in rows:
        count += 1
        latest[key] = value
    digest = blake2b(digest_size=16)
    for key in sorted(latest):
        digest.update(key + b"\0" + latest[key] + b"\0")
    return Outcome(rows=count, digest=digest.hexdigest())


def read_back(
    settings: KafkaSettings, topic: str, ends: Mapping[int, int]
) -> Iterable[tuple[bytes, bytes]]:
    """Give the committed rows of ``topic`` up to ``ends``."""
    reader = kafka.consumer(settings, "bench-outcome", **{"enable.partition.eof": True})
    try:
        reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in ends])
        waiting = {number for number, end in ends.items() if end}
        while waiting:
            for message in reader.consume(_AT_ONCE, _WAIT):
                if message.error() is not None:
                    waiting.discard(message.partition() or 0)
                else:
                    yield message.key() or b"", message.value() or b""
    finally:
        reader.close()


def fault(found: Outcome, *, foreseen: int, others: Mapping[str, Outcome]) -> str | None:
    """Return what is wrong with ``found``: rows too few or too many, or another end than that of
    one of ``others``.
    """
    if found.rows != foreseen:
        return f"it wrote {found.rows:,} rows, not {foreseen:,}"
    for name, other in others.items():
        if other.digest != found.digest:
            return f"its rows are not those of {name}"
    return None
