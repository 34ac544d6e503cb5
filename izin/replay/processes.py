"""Work in numbered pieces, divided among processes that end with the command.

They are started anew and not forked: a client of Kafka does not survive a fork.
"""

import multiprocessing
import pickle
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from izin.consent import OurError
from izin.runtime.process import follow_parent, tune_gc_for_batches

EVERY = 0.5
"""Seconds between two looks at what the processes do."""

Advance = Callable[[int], None]
"""Gets a number of what was done."""
Work = Callable[..., Any]
"""A function of a module: gets the arguments that all pieces share, which can be sent to another
process, the number of a piece, and what its progress is reported to; so can its result.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningWork:
    """Work that processes do."""

    pieces: Sequence[AsyncResult[Any]]
    processes: Collection[BaseProcess]
    counted: "Synchronized[int]"

    @property
    def progress(self) -> int:
        """How much was done so far, as the pieces count it."""
        return self.counted.value

    def is_done(self) -> bool:
        """Whether every piece is done. Raises what one of them has raised.

        Raises:
            OurError: a process ended before it was done.
        """
        for piece in self.pieces:
            if piece.ready():
                piece.get()
        # The pool would replace one that died, and wait for its work for ever.
        for process in self.processes:
            if process.exitcode:
                raise OurError(
                    f"a process of the replay ended with exit code {process.exitcode}: see its "
                    "output above; without any, the system has ended it, perhaps for want of "
                    "memory. Give the command again, with fewer --processes: it goes on where it "
                    "was"
                )
        return all(piece.ready() for piece in self.pieces)

    def finish(self, report: Advance) -> list[Any]:
        """Wait until all is done, and return what each piece gave, in their order; ``report`` gets
        how much is done so far. Raises as :meth:`is_done` does.
        """
        while not self.is_done():
            time.sleep(EVERY)  # they are other processes: nothing here wakes us
            report(self.progress)
        return [piece.get() for piece in self.pieces]


@contextmanager
def working(
    work: Work, arguments: Sequence[object], numbers: Iterable[int], workers: int
) -> Iterator[RunningWork]:
    """Have ``work`` done on the pieces ``numbers``, in their order, by so many ``workers``; those
    that work still are ended with the context.
    """
    context = multiprocessing.get_context("spawn")
    counted = context.Value("q", 0)
    others = set(multiprocessing.active_children())
    with context.Pool(workers, _start, (counted,)) as pool:
        yield RunningWork(
            processes=set(multiprocessing.active_children()) - others,
            pieces=[pool.apply_async(_do, (work, arguments, number)) for number in numbers],
            counted=counted,
        )


_advance: list[Advance] = []
"""In a process that works: what progress is reported to."""


def _start(counted: "Synchronized[int]") -> None:
    def advance(count: int) -> None:
        with counted.get_lock():
            counted.value += count

    follow_parent()
    _advance.append(advance)
    tune_gc_for_batches()


def _do(work: Work, arguments: Sequence[Any], number: int) -> Any:  # noqa: ANN401  # of any work
    try:
        return work(*arguments, number, _advance[-1])
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
        except Exception:  # noqa: BLE001  # whatever its class asks for
            # It cannot be sent: the command would wait for it for ever.
            raise OurError(f"{type(error).__name__}: {error}") from None
        raise
