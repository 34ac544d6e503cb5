"""``izin verify``: the law's promise about orders, tried until a counter-example or the end.

A run is one series of event sets or two. A series is cut into blocks, each with a set and chance
of its own, drawn from the seed and the block's number alone: so neither the result nor the
counter-example hangs on how many processes share the work.
"""

from __future__ import annotations

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
from izin.consent.contradictions import contradicting
from izin.consent.errors import SourceError
from izin.consent.model import Claim
from izin.consent.permutations import THE_LAW, Clash, Law, try_law
from izin.console.terminal.interrupts import interruptible
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    err,
    out,
    print_json,
    print_rows,
    say,
    told,
)
from izin.console.verify.counterexample import clash_as_json, print_clash
from izin.console.verify.event_file import read_events

SEED = 2026
PERMUTATIONS = 100_000
SMALL = 8
LARGE = 10_000
_A_LARGE_ONE = 1_000
"""So many permutations of small sets bring along one of a large set."""
_A_SET = 25
"""So many permutations of a set, then comes a new one."""
_A_TASK = 1_000
"""Blocks are handed out so many events at a time, or one by one where a set has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Permutations of sets of about one size; of one set alone where ``given`` is one."""

    fewest: int
    events: int
    """The size of a set, or of the largest where ``fewest`` is less."""
    permutations: int
    seed: int
    law: Law
    given: Sequence[Claim] | None = None

    @property
    def blocks(self) -> int:
        """How many blocks the series has."""
        return -(-self.permutations // _A_SET)

    @property
    def sets(self) -> int:
        """How many sets of events it tries."""
        return self.blocks if self.given is None else 1

    def in_block(self, number: int) -> int:
        """Return how many permutations the block ``number`` has."""
        return min(_A_SET, self.permutations - number * _A_SET)

    def try_block(self, number: int) -> bytes | Clash:
        """Return the digest of the block's set, or its counter-example."""
        rng = Random(f"{self.seed}/{self.events}/{number}")  # noqa: S311  # a trial, not a secret
        claims = self.given
        if claims is None:
            claims = contradicting(rng.randint(self.fewest, self.events), rng=rng)
        return try_law(claims, permutations=self.in_block(number), rng=rng, law=self.law)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a series came to."""

    series: Series
    seconds: float
    result: bytes | Clash


def verify(
    *,
    permutations: Annotated[
        int, typer.Option(min=1, help="How many permutations are tried.")
    ] = PERMUTATIONS,
    events: Annotated[
        int | None,
        typer.Option(min=1, help="Try sets of so many events, and no others."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            exists=True,
            dir_okay=False,
            readable=True,
            help="Try the events of this file, and no others: JSON lines, one ConsentEvent each.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed tries the same.")] = SEED,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; the result is the same. Default: one a core."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Try whether any order, repetition, batching or split of the same events gives one state.

    Unless told otherwise, sets of up to 8 contradicting events are permuted, a new set every 25
    permutations; and for every thousand of these, 10,000 events once: 1,000,000 permutations bring
    along 1,000 of 10,000 events. Prints one digest over the states of all sets, or the smallest
    counter-example found.

    Exit code 1 with a counter-example, 3 where the file cannot be used.
    """
    if events is not None and file is not None:
        raise typer.BadParameter("--events makes events and --from reads them; give one of the two")
    with interruptible(), told():
        tried: list[Tried] = []
        for series in _series(file, events, permutations, seed):
            tried.append(_run(series, workers or multiprocessing.cpu_count()))
            if isinstance(tried[-1].result, Clash):
                break
    _print(tried, output)
    if isinstance(tried[-1].result, Clash):
        raise typer.Exit(ExitCode.WRONG)


def _series(
    file: Path | None, events: int | None, permutations: int, seed: int
) -> Iterator[Series]:
    def of(
        fewest: int, most: int, count: int = permutations, given: Sequence[Claim] | None = None
    ) -> Series:
        return Series(
            fewest=fewest, events=most, permutations=count, seed=seed, law=THE_LAW, given=given
        )

    if file is not None:
        claims = _claims_of(file)
        yield of(len(claims), len(claims), given=claims)
    elif events is not None:
        yield of(events, events)
    else:
        yield of(2, SMALL)
        yield of(LARGE, LARGE, -(-permutations // _A_LARGE_ONE))


def _claims_of(file: Path) -> list[Claim]:
    """Return what the events in ``file`` claim, appended when the last of them was received."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            events = list(read_events(lines))
    except UnicodeDecodeError as error:
        raise SourceError(f"{file.name} is not UTF-8; save it as UTF-8") from error
    heard = [event.received_at for event in events if event.received_at is not None]
    heard += [event.iys.creation_date for event in events if event.iys is not None]
    if not heard:
        raise SourceError(f"{file.name}: no event says when it was received; write received_at")
    judged = [admit(event, appended_at=max(heard)) for event in events]
    claims = [one for one in judged if isinstance(one, Claim)]
    if len(claims) < len(events):
        say(f"{len(events) - len(claims)} of {len(events)} events are refused: they claim nothing")
    return claims


def _run(series: Series, workers: int) -> Tried:
    began = time.monotonic()
    seen = sha256()
    clash: Clash | None = None
    # The processes first: they are made without the bars' thread.
    with (
        _results(series, workers) as results,
        Bars(console=err, transient=True, disable=not err.is_terminal) as bars,
    ):
        task = bars.add_task(f"sets of {_size(series)}", total=series.permutations)
        for number, found in enumerate(results):
            if isinstance(found, Clash):
                clash = found
                break
            if number < series.sets:
                seen.update(found)
            bars.advance(task, series.in_block(number))
    return Tried(
        series=series,
        seconds=time.monotonic() - began,
        result=seen.digest() if clash is None else clash,
    )


@contextmanager
def _results(series: Series, workers: int) -> Iterator[Iterator[bytes | Clash]]:
    """Give what each block comes to, in order, worked out by so many processes."""
    numbers = range(series.blocks)
    workers = min(workers, series.blocks)
    if workers == 1:
        yield map(series.try_block, numbers)
        return
    with multiprocessing.get_context().Pool(workers, _begin, (series,)) as pool:
        found = pool.imap(_digest_of, numbers, max(1, _A_TASK // max(1, series.events)))
        # A counter-example is found again here: it does not travel between processes.
        yield (one or series.try_block(number) for number, one in enumerate(found))


_at_work: list[Series] = []
"""In a process that shares the work: the series it works at."""


def _begin(series: Series) -> None:
    _at_work.append(series)
    # Ctrl-C reaches the whole group; it is for the command to end its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _digest_of(number: int) -> bytes | None:
    result = _at_work[-1].try_block(number)
    return None if isinstance(result, Clash) else result


def _size(series: Series) -> str:
    fewest, most = series.fewest, series.events
    return f"{most} events" if fewest == most else f"{fewest} to {most} events"


def _print(tried: Sequence[Tried], output: OutputFormat) -> None:
    result = tried[-1].result
    clash = result if isinstance(result, Clash) else None
    digests = [one.result for one in tried if not isinstance(one.result, Clash)]
    digest = None if clash else sha256(b"".join(digests)).hexdigest()
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "digest": digest,
                    "counter_example": clash and clash_as_json(clash),
                    "series": [dict(zip(_COLUMNS, _row(one), strict=True)) for one in tried],
                }
            )
        case OutputFormat.TABLE:
            rows = [(*row, digest[:_SHORT]) for *row, digest in map(_row, tried)]
            print_rows(output, _COLUMNS, rows, titles=_TITLES)
            if clash is None:
                out.print(f"one digest: {digest}", soft_wrap=True, highlight=False)
            else:
                print_clash(clash)


_COLUMNS = ("a_set_has", "sets", "permutations", "seconds", "digest")
_TITLES = ("a set has", *_COLUMNS[1:-1], "digest begins")
_SHORT = 16


def _row(one: Tried) -> tuple[str, int, int, float, str]:
    series, result = one.series, one.result
    shown = "" if isinstance(result, Clash) else result.hex()
    return _size(series), series.sets, series.permutations, round(one.seconds, 1), shown
