"""``izin verify``: check that any order of the same events gives the same state.

A run is one or two series of event sets. A series is divided into blocks, each with a set and a
random generator of its own, which depend on the seed and the number of the block alone: so neither
result nor counterexample depends on how many processes share the work.
"""

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from rich.progress import Progress as Bars

from izin.consent.admission import admit
from izin.consent.errors import SourceError
from izin.consent.model import AdmittedEvent
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    err,
    exit_on_error,
    out,
    print_json,
    print_rows,
    say,
)
from izin.console.verify.contradictions import contradicting_events
from izin.console.verify.counterexample import clash_as_json, print_clash
from izin.console.verify.event_file import read_events
from izin.console.verify.permutations import LAW, Counterexample, OrderingLaw, try_law

SEED = 2026
PERMUTATIONS = 100_000
SMALL = 8
LARGE = 10_000
PER_LARGE = 1_000
"""Permutations of small sets for each one of a large set."""
_PER_SET = 25
"""Permutations of a set before the next one."""
_PER_TASK = 1_000
"""Events of the blocks that a process takes at a time, or one block where a set has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Permutations of sets of about one size, or of the one set ``given``."""

    fewest: int
    events: int
    """Size of a set, or of the largest where ``fewest`` is less."""
    permutations: int
    seed: int
    law: OrderingLaw
    given: Sequence[AdmittedEvent] | None = None

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return -(-self.permutations // _PER_SET)

    @property
    def sets(self) -> int:
        """The number of different sets of events."""
        return self.blocks if self.given is None else 1

    def in_block(self, number: int) -> int:
        """Return the number of permutations of block ``number``."""
        return min(_PER_SET, self.permutations - number * _PER_SET)

    def try_block(self, number: int) -> bytes | Counterexample:
        """Return the digest of the block's set, or its counterexample."""
        rng = Random(f"{self.seed}/{self.events}/{number}")  # noqa: S311  # a trial, not a secret
        admitted = self.given
        if admitted is None:
            admitted = contradicting_events(rng.randint(self.fewest, self.events), rng=rng)
        return try_law(admitted, permutations=self.in_block(number), rng=rng, law=self.law)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesResult:
    """The result of a series: a digest or a counterexample."""

    series: Series
    seconds: float
    result: bytes | Counterexample


def verify(
    *,
    permutations: Annotated[
        int, typer.Option(min=1, help="Number of permutations to try.")
    ] = PERMUTATIONS,
    events: Annotated[
        int | None,
        typer.Option(min=1, help="Try only sets of this many events."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            exists=True,
            dir_okay=False,
            readable=True,
            help="Try only the events of this file: JSON lines, one ConsentEvent each.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the events and permutations.")] = SEED,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes. Default: one a core."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Check that any order, repetition or batching of the same events gives the same state.

    By default sets of up to 8 contradicting events are permuted, a new set every 25 permutations,
    and for every thousand of these one set of 10,000 events. Prints one digest of the states of all
    sets, or the smallest counterexample found. Exit code 1 with a counterexample, 3 if the file
    cannot be used.
    """
    if events is not None and file is not None:
        raise typer.BadParameter("--events makes events and --from reads them; give one of them")
    with exit_on_signals(), exit_on_error():
        results: list[SeriesResult] = []
        for series in _series(file, events, permutations, seed):
            results.append(_run(series, workers or multiprocessing.cpu_count()))
            if isinstance(results[-1].result, Counterexample):
                break
    _print(results, output)
    if isinstance(results[-1].result, Counterexample):
        raise typer.Exit(ExitCode.WRONG)


def _series(
    file: Path | None, events: int | None, permutations: int, seed: int
) -> Iterator[Series]:
    def of(
        fewest: int,
        most: int,
        count: int = permutations,
        given: Sequence[AdmittedEvent] | None = None,
    ) -> Series:
        return Series(
            fewest=fewest, events=most, permutations=count, seed=seed, law=LAW, given=given
        )

    if file is not None:
        admitted = _admitted_events(file)
        yield of(len(admitted), len(admitted), given=admitted)
    elif events is not None:
        yield of(events, events)
    else:
        yield of(2, SMALL)
        yield of(LARGE, LARGE, -(-permutations // PER_LARGE))


def _admitted_events(file: Path) -> list[AdmittedEvent]:
    """Return the admitted events of ``file``, as if appended when the last was received."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            events = list(read_events(lines))
    except UnicodeDecodeError as error:
        raise SourceError(f"{file.name} is not UTF-8; save it as UTF-8") from error
    received = [event.received_at for event in events if event.received_at is not None]
    received += [event.iys.creation_date for event in events if event.iys is not None]
    if not received:
        raise SourceError(f"{file.name}: no event says when it was received; add received_at")
    checked = [admit(event, appended_at=max(received)) for event in events]
    admitted = [one for one in checked if isinstance(one, AdmittedEvent)]
    if len(admitted) < len(events):
        refused = len(events) - len(admitted)
        say(f"{refused} of {len(events)} events are refused: they have no effect")
    return admitted


def _run(series: Series, workers: int) -> SeriesResult:
    began = time.monotonic()
    seen = sha256()
    clash: Counterexample | None = None
    # The processes first: a fork after the bars' thread has started would be unsafe.
    with (
        _results(series, workers) as results,
        Bars(console=err, transient=True, disable=not err.is_terminal) as bars,
    ):
        task = bars.add_task(f"sets of {_size(series)}", total=series.permutations)
        for number, found in enumerate(results):
            if isinstance(found, Counterexample):
                clash = found
                break
            if number < series.sets:
                seen.update(found)
            bars.advance(task, series.in_block(number))
    return SeriesResult(
        series=series,
        seconds=time.monotonic() - began,
        result=seen.digest() if clash is None else clash,
    )


@contextmanager
def _results(series: Series, workers: int) -> Iterator[Iterator[bytes | Counterexample]]:
    """Yield the results of the blocks in order, computed by ``workers`` processes."""
    numbers = range(series.blocks)
    workers = min(workers, series.blocks)
    if workers == 1:
        yield map(series.try_block, numbers)
        return
    with multiprocessing.get_context().Pool(workers, _start_worker, (series,)) as pool:
        found = pool.imap(_digest_of, numbers, max(1, _PER_TASK // max(1, series.events)))
        # A counterexample is found again here: it cannot be passed between processes.
        yield (one or series.try_block(number) for number, one in enumerate(found))


_series_of_worker: list[Series] = []
"""In a worker process: its series."""


def _start_worker(series: Series) -> None:
    _series_of_worker.append(series)
    # Ctrl-C reaches the whole process group; the command ends its processes itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _digest_of(number: int) -> bytes | None:
    result = _series_of_worker[-1].try_block(number)
    return None if isinstance(result, Counterexample) else result


def _size(series: Series) -> str:
    fewest, most = series.fewest, series.events
    return f"{most} events" if fewest == most else f"{fewest} to {most} events"


def _print(results: Sequence[SeriesResult], output: OutputFormat) -> None:
    last = results[-1].result
    clash = last if isinstance(last, Counterexample) else None
    digests = [one.result for one in results if not isinstance(one.result, Counterexample)]
    digest = None if clash else sha256(b"".join(digests)).hexdigest()
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "digest": digest,
                    "counterexample": clash and clash_as_json(clash),
                    "series": [dict(zip(_COLUMNS, _row(one), strict=True)) for one in results],
                }
            )
        case OutputFormat.TABLE:
            rows = [(*row, digest[:_SHORT]) for *row, digest in map(_row, results)]
            print_rows(output, _TABLE, rows)
            if clash is None:
                out.print(f"one digest: {digest}", soft_wrap=True, highlight=False)
            else:
                print_clash(clash)


_COLUMNS = ("set", "sets", "permutations", "seconds", "digest")
_TABLE = (*_COLUMNS[:-1], "digest begins")
_SHORT = 16


def _row(one: SeriesResult) -> tuple[str, int, int, float, str]:
    series, result = one.series, one.result
    shown = "" if isinstance(result, Counterexample) else result.hex()
    return _size(series), series.sets, series.permutations, round(one.seconds, 1), shown
