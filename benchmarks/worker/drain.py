"""Measure how fast a worker drains its lanes, from the offsets that it commits.

The clock starts when a tenth is committed, so that start-up and joining the group do not count, and
stops when everything is.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition

from benchmarks.order.timer import TrialResult, time_trial
from benchmarks.worker.order_worker import group_of, order_worker
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings

_TIMEOUT = 15.0


def drain(
    settings: KafkaSettings, folder: Path, *, events: int, app: str, limit: timedelta
) -> TrialResult:
    """Run a worker of the group ``app`` until it has decided all ``events`` of the bulk lane.

    Raises TrialError.
    """
    worker = order_worker(settings, folder, app=app)
    watched = DrainProgress(settings, settings.topics.events.name, group_of(settings, app))
    try:
        worker.start()
        return time_trial([worker], watched.poll, events=events, limit=limit, what="input")
    finally:
        worker.kill()  # all is committed, and a graceful end takes a second or two
        watched.close()


class DrainProgress:
    """The progress of a group on ``topic``; to be closed."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str) -> None:
        self._ends: Mapping[int, int] = kafka.committed_ends(settings, topic)
        self._places = [TopicPartition(topic, number) for number in self._ends]
        self._reader = kafka.consumer(settings, group)
        self._total = sum(self._ends.values())

    @property
    def share(self) -> float:
        """The share that is committed, if the coordinator responds; raises KafkaException."""
        try:
            found = self._reader.committed(self._places, _TIMEOUT)
        except KafkaException as error:
            if not kafka.is_transient(error):
                raise
            found = []  # a new group has no coordinator for a moment
        # The end may be behind a transaction marker, which no committed offset has to pass.
        done = sum(min(max(0, one.offset), self._ends[one.partition]) for one in found)
        return done / self._total if self._total else 1.0

    def poll(self) -> tuple[bool, float]:
        """Return whether all is committed, and the share that is."""
        share = self.share
        return share >= 1, share

    def close(self) -> None:
        """Close the client."""
        self._reader.close()
