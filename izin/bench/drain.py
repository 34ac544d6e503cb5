"""How fast a worker drains what lies on its lanes, told by the offsets that it commits.

The clock starts when a tenth is committed, so that start-up and joining the group are nobody's
time, and stops when everything is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition

from izin.bench.track import WARM, LapError, Run
from izin.bench.used import cpu_seconds, peak_megabytes
from izin.bench.workers import group_of, order_worker
from izin.runtime import kafka

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from pathlib import Path

    from izin.local import Child
    from izin.runtime.settings import KafkaSettings

_EVERY = 0.05
_HALF = 0.5
_TIMEOUT = 15.0


def drained(
    settings: KafkaSettings, folder: Path, *, events: int, app: str, limit: timedelta
) -> Run:
    """Have a worker of a group of its own, ``app``, decide all ``events`` of the bulk lane, and
    time it; raises LapError.
    """
    worker = order_worker(settings, folder, app=app)
    drain = Drain(settings, settings.topics.events.name, group_of(settings, app))
    try:
        worker.start()
        return timed(worker, drain, events=events, limit=limit)
    finally:
        worker.kill()  # all is committed, and to end well takes a second or two
        drain.close()


class Drain:
    """What a group has committed of ``topic``; close it in the end."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str) -> None:
        self._ends: Mapping[int, int] = kafka.committed_ends(settings, topic)
        self._places = [TopicPartition(topic, number) for number in self._ends]
        self._reader = kafka.consumer(settings, group)
        self._total = sum(self._ends.values())

    @property
    def share(self) -> float:
        """How much is committed now, as far as the group's coordinator can be asked; raises
        KafkaException.
        """
        try:
            found = self._reader.committed(self._places, _TIMEOUT)
        except KafkaException as error:
            if not kafka.is_passing(error):
                raise
            found = []  # a group nobody has heard of yet has no coordinator for a moment
        # The end may lie behind a marker that no committed offset needs to pass.
        done = sum(min(max(0, one.offset), self._ends[one.partition]) for one in found)
        return done / self._total if self._total else 1.0

    def close(self) -> None:
        """Let go of the client."""
        self._reader.close()


def timed(worker: Child, drain: Drain, *, events: int, limit: timedelta) -> Run:
    """Time ``worker``, which was started, over ``events``; raises LapError if it ends or takes
    longer than ``limit``.
    """
    until = time.monotonic() + limit.total_seconds()
    began: tuple[float, float, float] | None = None
    before = time.monotonic(), cpu_seconds(worker.pid or 0), 0.0
    while True:
        if not worker.is_alive:
            raise LapError(f"it ended with {worker.exit_code}: {worker.log_tail(3)}")
        share = drain.share
        now, used = time.monotonic(), cpu_seconds(worker.pid or 0)
        if began is None and share >= WARM:
            # Who came so far between two looks is timed from the first of them.
            began = before if share > _HALF else (now, used, share)
        if share >= 1 and began is not None:
            break
        if now > until:
            raise LapError(f"{share:.0%} of its input after {limit}: {worker.log_tail(3)}")
        before = now, used, share
        time.sleep(_EVERY)
    started, used_before, share_before = began
    counted = events * (1 - share_before)
    return Run(
        events_per_second=counted / (now - started),
        cpu_us=(used - used_before) / counted * 1e6,
        peak_mb=peak_megabytes(worker.pid or 0),
    )
