"""Batches that Kafka's client fetched and cannot unpack: each is logged once, and shown to
operators for as long as it is met (``http_server.problems``).
"""

import time
from collections.abc import Mapping

from izin.runtime.plain_log import PlainLogger

_SHOWN_FOR = 30.0

_met: dict[tuple[str, int], tuple[int, float]] = {}
"""By topic and partition: its offset, and when it was met last, by ``time.monotonic``."""

_log = PlainLogger(__name__)


def note_unreadable(topic: str, partition: int, offset: int) -> None:
    """Note such a batch at ``offset``."""
    before, _ = _met.get((topic, partition), (None, 0.0))
    _met[topic, partition] = offset, time.monotonic()
    if before != offset:
        _log.error("batch unreadable", error=": ".join(_shown(topic, partition, offset)))


def unreadable_batches(topic: str | None = None) -> Mapping[str, str]:
    """Return the batches, of ``topic`` or of all, that were met lately: where, and the remedy."""
    since = time.monotonic() - _SHOWN_FOR
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
