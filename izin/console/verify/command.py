"""``izin verify``: check that any order of the same events gives the same state.

A run is one or two series of event sets. A series is divided into blocks, each with a set and a
random generator of its own, which depend on the seed and the number of the block alone: so neither
result nor counterexample depends on how many processes share the work.
"""

import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from hashlib import sha256
from random import Random
from typing import Annotated, Any

import typer
from rich.progress import Progress as Bars
from rich.text import Text

from izin.consent.model import AdmittedEvent, Consent, ConsentKey
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    err,
    exit_if,
    exit_on_error,
    out,
    print_json,
    print_rows,
)
from izin.console.verify.contradictions import contradicting_events
from izin.console.verify.permutations import LAW, Counterexample, OrderingLaw, Parts, try_law
from izin.runtime.masking import mask
from izin.runtime.process import follow_parent

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
    """Permutations of sets of about one size."""

    fewest: int
    most: int
    """Of the events of a set."""
    permutations: int
    seed: int
    law: OrderingLaw

    @property
    def blocks(self) -> int:
        """The number of blocks, and of sets of events."""
        return -(-self.permutations // _PER_SET)

    def in_block(self, number: int) -> int:
        """Return the number of permutations of block ``number``."""
        return min(_PER_SET, self.permutations - number * _PER_SET)

    def try_block(self, number: int) -> bytes | Counterexample:
        """Return the digest of the block's set, or its counterexample."""
        rng = Random(f"{self.seed}/{self.most}/{number}")  # noqa: S311  # a trial, not a secret
        events = contradicting_events(rng.randint(self.fewest, self.most), rng=rng)
        return try_law(events, permutations=self.in_block(number), rng=rng, law=self.law)


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
    seed: Annotated[int, typer.Option(help="Seed of the events and permutations.")] = SEED,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes. Default: one a core."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Check that any order, repetition or batching of the same events gives the same state.

    Sets of up to 8 contradicting events are permuted, a new set every 25 permutations, and for
    every thousand of these one set of 10,000 events. Prints one digest of the states of all sets,
    or the smallest counterexample found. Exit code 1 with a counterexample.
    """
    sizes = ((2, SMALL, permutations), (LARGE, LARGE, -(-permutations // PER_LARGE)))
    with exit_on_signals(), exit_on_error():
        results: list[SeriesResult] = []
        for fewest, most, count in sizes:
            series = Series(fewest=fewest, most=most, permutations=count, seed=seed, law=LAW)
            results.append(_run(series, workers or multiprocessing.cpu_count()))
            if isinstance(results[-1].result, Counterexample):
                break
    _print(results, output)
    exit_if(isinstance(results[-1].result, Counterexample))


def _run(series: Series, workers: int) -> SeriesResult:
    began = time.monotonic()
    seen = sha256()
    clash: Counterexample | None = None
    with (
        _results(series, workers) as results,
        Bars(console=err, transient=True, disable=not err.is_terminal) as bars,
    ):
        task = bars.add_task(f"sets of {_size(series)}", total=series.permutations)
        for number, found in enumerate(results):
            if isinstance(found, Counterexample):
                clash = found
                break
            seen.update(found)
            bars.advance(task, series.in_block(number))
    return SeriesResult(
        series=series,
        seconds=time.monotonic() - began,
        result=seen.digest() if clash is None else clash,
    )


@contextmanager
def _results(series: Series, workers: int) -> Iterator[Iterator[bytes | Counterexample]]:
    """Yield the results of the blocks in order, computed by ``workers`` processes.

    They are started anew: one that is forked has this one's signal handlers and, for ever, the
    locks that other threads held.
    """
    numbers = range(series.blocks)
    workers = min(workers, series.blocks)
    if workers == 1:
        yield map(series.try_block, numbers)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, follow_parent)
    try:
        at_once = max(1, _PER_TASK // max(1, series.most))
        found = pool.map(partial(_digest_of, series), numbers, chunksize=at_once)
        # A counterexample is found again here: it cannot be passed between processes.
        yield (one or series.try_block(number) for number, one in enumerate(found))
    finally:
        pool.shutdown(cancel_futures=True)


def _digest_of(series: Series, number: int) -> bytes | None:
    result = series.try_block(number)
    return None if isinstance(result, Counterexample) else result


def _size(series: Series) -> str:
    fewest, most = series.fewest, series.most
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
                    "counterexample": clash and _clash_as_json(clash),
                    "series": [dict(zip(_COLUMNS, _row(one), strict=True)) for one in results],
                }
            )
        case OutputFormat.TABLE:
            rows = [(*row, digest[:_SHORT]) for *row, digest in map(_row, results)]
            print_rows(output, _TABLE, rows)
            if clash is None:
                out.print(f"one digest: {digest}", soft_wrap=True, highlight=False)
            else:
                _print_clash(clash)


_COLUMNS = ("set", "sets", "permutations", "seconds", "digest")
_TABLE = (*_COLUMNS[:-1], "digest begins")
_SHORT = 16


def _row(one: SeriesResult) -> tuple[str, int, int, float, str]:
    series, result = one.series, one.result
    shown = "" if isinstance(result, Counterexample) else result.hex()
    return _size(series), series.blocks, series.permutations, round(one.seconds, 1), shown


_EVENT = (
    *("number", "key", "status", "effective_at", "origin_rank", "event_id"),
    *("registrable", "consent_date", "source", "origin", "customer_id"),
)
"""What is shown of an event."""


def _print_clash(clash: Counterexample) -> None:
    """Print ``clash`` as tables."""
    out.print(Text(f"the law does not hold: {clash.why}", "red"))
    rows = [_event(number, one).values() for number, one in enumerate(clash.events, 1)]
    print_rows(OutputFormat.TABLE, _EVENT, map(tuple, rows))
    ways = [("one", _written(clash.one)), ("other", _written(clash.other))]
    print_rows(OutputFormat.TABLE, ("way", "applied: (…) is a state, + merges"), ways)
    print_rows(OutputFormat.TABLE, ("key", "field", "one", "other"), _states(clash))


def _clash_as_json(clash: Counterexample) -> dict[str, Any]:
    """Return ``clash`` for programs; events are numbered from 1."""
    return {
        "why": clash.why,
        "events": [_event(number, one) for number, one in enumerate(clash.events, 1)],
        "one": _numbered(clash.one),
        "other": _numbered(clash.other),
        "one_state": [_fields(one) for one in clash.one_state.values()],
        "other_state": [_fields(one) for one in clash.other_state.values()],
    }


def _event(number: int, admitted: AdmittedEvent) -> dict[str, object]:
    event = admitted.event
    return {
        "number": number,
        "key": _masked(admitted.key),
        "status": str(admitted.status),
        "effective_at": admitted.effective_at,
        "origin_rank": int(event.origin_rank),
        "event_id": event.event_id,
        "registrable": admitted.registrable,
        "consent_date": event.consent_date,
        "source": event.source,
        "origin": event.origin,
        "customer_id": event.customer_id,
    }


def _masked(key: ConsentKey) -> str:
    return f"{key.brand_code}/{key.channel}/{key.recipient_type}/{mask(key.recipient)}"


def _fields(consent: Consent) -> dict[str, object]:
    values = {one.name: getattr(consent, one.name) for one in fields(consent)}
    return values | {"key": _masked(consent.key)}


def _numbered(parts: Parts) -> list[list[int]]:
    return [[number + 1 for number in part] for part in parts]


def _written(parts: Parts) -> str:
    return " + ".join(f"({' '.join(map(str, part))})" for part in _numbered(parts))


def _states(clash: Counterexample) -> list[tuple[object, ...]]:
    """Return each field of both states, those in which they differ first."""
    rows: list[tuple[object, ...]] = []
    for key in sorted(clash.one_state.keys() | clash.other_state.keys()):
        one, other = _of_key(clash.one_state, key), _of_key(clash.other_state, key)
        names = sorted(one | other, key=lambda name: one.get(name) == other.get(name))
        rows += [
            (shown["key"], name, one.get(name), other.get(name))
            for shown in [one or other]
            for name in names
            if name != "key"
        ]
    return rows


def _of_key(state: Mapping[str, Consent], key: str) -> dict[str, object]:
    return _fields(state[key]) if key in state else {}
