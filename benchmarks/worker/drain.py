"""Measure how fast a worker drains its lanes, from the positions that it stores.

The clock starts when a tenth is decided, so that start-up and joining the group do not count, and
stops when everything is.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from benchmarks.order.timer import TrialResult, time_trial
from benchmarks.worker.order_worker import order_worker
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.streams.ownership import DecidedOffsets


def drain(settings: KafkaSettings, folder: Path, *, events: int, limit: timedelta) -> TrialResult:
    """Run a worker until it has decided all ``events`` of the bulk lane.

    Raises TrialError.
    """
    worker = order_worker(settings, folder)
    watched = DrainProgress(settings)
    try:
        worker.start()
        return time_trial([worker], watched.poll, events=events, limit=limit, what="input")
    finally:
        worker.kill()  # all is committed, and a graceful end takes a second or two
        watched.close()


class DrainProgress:
    """The progress on a lane, the bulk lane unless given; to be closed."""

    def __init__(self, settings: KafkaSettings, lane: str | None = None) -> None:
        self._lane = lane or settings.topics.events.name
        self._ends: Mapping[int, int] = clients.committed_ends(settings, self._lane)
        self._decided = DecidedOffsets(settings, Codec())
        self._total = sum(self._ends.values())

    @property
    def share(self) -> float:
        """The share that is decided; raises BrokerError."""
        offsets = self._decided.read()
        # The end may be behind a transaction marker, which no position has to pass.
        done = sum(
            min(offsets.get((self._lane, number), 0), end) for number, end in self._ends.items()
        )
        return done / self._total if self._total else 1.0

    def poll(self) -> tuple[bool, float]:
        """Return whether all is decided, and the share that is."""
        share = self.share
        return share >= 1, share

    def close(self) -> None:
        """Close the client."""
        self._decided.close()
