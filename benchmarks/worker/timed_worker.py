"""An order worker that counts the CPU time of its steps; a process of the benchmark ``profile``.

``python -m benchmarks.worker.timed_worker EVENTS FILE``: from a tenth of ``EVENTS`` on, until all
are folded; then the seconds of each step are written to ``FILE`` as JSON. Steps are timed by their
thread's CPU clock, a slice of 250 records at a time, so that timing costs next to nothing.
"""

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from izin.streams import __main__ as order_worker
from izin.streams.engine import worker
from izin.streams.engine.transport import BatchConsumerThread
from izin.streams.fetched_record import FetchedRecord
from izin.streams.order import OrderStage
from izin.streams.ownership import Effects, transactional_producer
from izin.streams.ownership.effects import OutputBatches
from izin.streams.state.state import PartitionState

FETCH, FOLD, BATCH, COMPRESS, ALL = "fetch", "fold", "batch", "compress", "all"
EVENTS = "events"

_WARM = 0.1
_THREAD_CPU_CLOCK = 6
"""The kernel keeps that of a thread under ``~tid << 3 | 6`` (``pthread_getcpuclockid(3)``)."""


class StepClocks:
    """The CPU seconds of each step so far."""

    def __init__(self) -> None:
        self.fetching: int | None = None
        """The thread that fetches and unpacks."""
        self._spent: defaultdict[str, float] = defaultdict(float)

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function``, whose CPU time then counts for ``step``."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # of any function
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._spent[step] += time.thread_time() - began

        return wrapped

    def read(self) -> dict[str, float]:
        """Return the seconds by step, and of the process."""
        return {
            **self._spent,
            FETCH: _thread_seconds(self.fetching) if self.fetching else 0.0,
            ALL: time.process_time(),
        }


def _thread_seconds(tid: int) -> float:
    return time.clock_gettime(~tid << 3 | _THREAD_CPU_CLOCK)


class TimedStage:
    """The order stage, which writes what was spent once ``events`` are folded."""

    def __init__(self, clocks: StepClocks, events: int, file: Path, **stage: Any) -> None:  # noqa: ANN401  # as OrderStage
        self._fold = clocks.timed(FOLD, OrderStage(**stage).fold)
        self._clocks = clocks
        self._events = events
        self._file = file
        self._folded = 0
        self._begun: dict[str, float] = {}

    def fold(
        self,
        partition: int,
        records: Sequence[FetchedRecord],
        state: PartitionState,
        before: Effects,
    ) -> Effects:
        """Return what the stage returns."""
        effects: Effects = self._fold(partition, records, state, before)
        self._folded += len(records)
        if not self._begun and self._folded >= self._events * _WARM:
            self._begun = {EVENTS: self._folded, **self._clocks.read()}
        if self._folded == self._events:
            ended = {EVENTS: self._folded, **self._clocks.read()}
            spent = {step: ended[step] - self._begun.get(step, 0) for step in ended}
            whole = self._file.with_suffix(".part")
            whole.write_text(json.dumps(spent), encoding="utf-8")
            whole.rename(self._file)
        return effects


def main(events: int, file: Path) -> None:
    """Run until the process is ended."""
    clocks = StepClocks()
    fetch = BatchConsumerThread._fetch_records  # noqa: SLF001  # what it overrides of the driver

    async def fetch_records(thread: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the same
        clocks.fetching = threading.get_native_id()
        return await fetch(thread, *args, **kwargs)

    encode = clocks.timed(COMPRESS, transactional_producer._encode)  # noqa: SLF001  # timed in its thread

    def batches() -> Any:  # noqa: ANN401  # with the methods of OutputBatches
        found = OutputBatches()
        add = clocks.timed(BATCH, found.add)
        return SimpleNamespace(add=add, take=found.take)

    def stage(**given: Any) -> TimedStage:  # noqa: ANN401  # as OrderStage
        return TimedStage(clocks, events, file, **given)

    with (
        mock.patch.object(BatchConsumerThread, "_fetch_records", fetch_records),
        mock.patch.object(transactional_producer, "OutputBatches", batches),
        mock.patch.object(transactional_producer, "_encode", encode),
        mock.patch.object(worker, "OrderStage", stage),
    ):
        order_worker.main()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
