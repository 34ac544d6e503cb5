"""Check the work of a contender: read its output, count it, and compare its last rows.

Read once a contender, after the clock has stopped. All that keep the latest row of each key must
write as many rows as the dataset expects and end with the same ones, byte for byte.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from izin.kafka import clients
from izin.runtime.settings import KafkaSettings

_BATCH = 10_000
_TIMEOUT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDigest:
    """The content of an output topic."""

    rows: int
    digest: str
    """Of the last value of every key, whatever the order in which they were written."""


def digest_rows(rows: Iterable[tuple[bytes, bytes]]) -> OutputDigest:
    """Return the digest of ``rows``, key and value, oldest first."""
    count = 0
    latest: dict[bytes, bytes] = {}
    for key, value in rows:
        count += 1
        latest[key] = value
    digest = blake2b(digest_size=16)
    for key in sorted(latest):
        digest.update(key + b"\0" + latest[key] + b"\0")
    return OutputDigest(rows=count, digest=digest.hexdigest())


def read_rows(
    settings: KafkaSettings, topic: str, ends: Mapping[int, int]
) -> Iterable[tuple[bytes, bytes]]:
    """Yield the committed rows of ``topic`` up to ``ends``, by partition."""
    reader = clients.consumer(settings, "bench-output", **{"enable.partition.eof": True})
    try:
        reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in ends])
        waiting = {number for number, end in ends.items() if end}
        while waiting:
            for message in reader.consume(_BATCH, _TIMEOUT):
                if message.error() is not None:
                    waiting.discard(message.partition() or 0)
                else:
                    yield message.key() or b"", message.value() or b""
    finally:
        reader.close()


def find_mismatch(
    found: OutputDigest, *, expected: int, others: Mapping[str, OutputDigest]
) -> str | None:
    """Return what is wrong with ``found``: not ``expected`` rows, or other last rows than one of
    ``others``.
    """
    if found.rows != expected:
        return f"it wrote {found.rows:,} rows, not {expected:,}"
    for name, other in others.items():
        if other.digest != found.digest:
            return f"its rows are not those of {name}"
    return None
