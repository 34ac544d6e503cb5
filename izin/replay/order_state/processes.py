"""Processes that work on partitions, one at a time each, and end with the command.

They are started anew and not forked: a client of Kafka does not survive a fork. A process that was
orphaned by ``kill -9`` of the command ends before the next records that it reads.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from typing import Any

from izin.replay.order_state.planning import Installation
from izin.replay.plan import Plan
from izin.replay.processes import check_processes, ignore_interrupts
from izin.runtime.kafka import codec
from izin.runtime.process import tune_gc_for_batches
from izin.runtime.settings import KafkaSettings, StreamSettings

_EVERY = 0.5
"""Seconds between two reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """What a process works on, and where it counts."""

    installation: Installation
    plan: Plan
    path: Path
    counts: "SynchronizedArray[int]"
    """By process: how many records it has read."""
    place: int
    parent: int

    def advance(self, count: int) -> None:
        if os.getppid() != self.parent:
            sys.exit(1)
        self.counts[self.place] += count


Work = Callable[[Installation, Plan, Path, int, Callable[[int], None]], None]
"""A function of a module: what it does with a partition of a plan in a file, and the progress."""


def run_in_processes(  # noqa: PLR0913, PLR0917  # what, of what, in how many
    work: Work,
    installation: Installation,
    path: Path,
    numbers: Sequence[int],
    workers: int,
    report: Callable[[int], None],
) -> None:
    """Do ``work`` on the partitions ``numbers`` of the plan in ``path``, in ``workers`` processes.

    ``report`` gets how many records were read so far. Raises what one of them raises,
    ProcessEndedError, and KeyboardInterrupt; the processes are ended then.
    """
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", workers)
    places = context.Queue()
    for place in range(workers):
        places.put(place)
    # Plain values: topics and plans cannot be sent to another process.
    arguments = (
        installation.kafka.model_dump(),
        installation.streams.model_dump(),
        path,
        counts,
        places,
        os.getpid(),
    )
    others = set(multiprocessing.active_children())
    with context.Pool(workers, _start, arguments) as pool:
        own = set(multiprocessing.active_children()) - others
        pending = [pool.apply_async(_do, (work, number)) for number in numbers]
        for one in pending:
            while not one.ready():
                one.wait(_EVERY)
                report(sum(counts[:]))
                # The pool would replace one that died, and wait for its work for ever.
                check_processes(own)
            one.get()
        report(sum(counts[:]))


_started: list[_Process] = []
"""In a process: what it works on."""


def _start(  # noqa: PLR0913, PLR0917  # as they are sent
    kafka: dict[str, Any],
    streams: dict[str, Any],
    path: Path,
    counts: "SynchronizedArray[int]",
    places: Any,  # noqa: ANN401  # a queue of numbers
    parent: int,
) -> None:
    ignore_interrupts()
    settings = KafkaSettings(**kafka)
    installation = Installation(
        kafka=settings, streams=StreamSettings(**streams), codec=codec(settings)
    )
    _started.append(
        _Process(
            installation=installation,
            plan=Plan.read(path),
            path=path,
            counts=counts,
            place=places.get(),
            parent=parent,
        )
    )
    tune_gc_for_batches()


def _do(work: Work, number: int) -> None:
    process = _started[-1]
    work(process.installation, process.plan, process.path, number, process.advance)
