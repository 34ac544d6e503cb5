"""Batches that Kafka's client fetched and cannot unpack.

The client fetches such a batch again twice a second, and never passes it: what is behind it in its
partition is not read, and the other partitions are. Whoever only reads for others must not pass it
either. So it is logged once, and shown to operators for as long as it is met (``http_server``).
"""

from collections.abc import Mapping
from time import monotonic

from confluent_kafka import KafkaError, Message

from izin.runtime.plain_log import PlainLogger

_CODES = frozenset(
    {
        KafkaError._BAD_COMPRESSION,  # noqa: SLF001  # librdkafka's name for it
        KafkaError._BAD_MSG,  # noqa: SLF001  # the same
        KafkaError.INVALID_MSG,
    }
)
_SHOWN_FOR = 30.0

_log = PlainLogger(__name__)
_met: dict[tuple[str, int], tuple[int, float]] = {}
"""By topic and partition: its offset, and when it was met last, by ``time.monotonic``."""


def is_unreadable(message: Message) -> bool:
    """Whether ``message``, as it was polled, stands for such a batch, which is then noted."""
    fault = message.error()
    if fault is None or fault.code() not in _CODES:
        return False
    place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
    before, _ = _met.get(place, (None, 0.0))
    _met[place] = offset, monotonic()
    if before != offset:
        _log.error("batch unreadable", error=": ".join(_shown(*place, offset)))
    return True


def unreadable_batches(topic: str | None = None) -> Mapping[str, str]:
    """Return the batches, of ``topic`` or of all, that were met lately: where, and the remedy."""
    since = monotonic() - _SHOWN_FOR
    return dict(
        _shown(name, number, offset)
        for (name, number), (offset, at) in sorted(_met.items())
        if at >= since and topic in {None, name}
    )


def _shown(topic: str, partition: int, offset: int) -> tuple[str, str]:
    what = f"the batch at offset {offset} cannot be unpacked, so nothing behind it is read"
    return (
        f"{topic}[{partition}]",
        f"{what}; see in docs/runbook.md: A batch that cannot be unpacked",
    )
