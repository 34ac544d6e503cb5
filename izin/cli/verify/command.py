"""``izin verify``: check that any order of the same events gives the same state.

A run is one or two series of event sets. Each set has a random generator of its own, which depends
on the seed and the number of the set alone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from random import Random
from typing import Annotated, Any

import typer

from izin.cli.terminal import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_signals,
    named,
    out,
    print_rows,
    showing_steps,
    warn,
)
from izin.cli.verify.permutations import (
    LAW,
    Counterexample,
    Parts,
    contradicting_events,
    try_law,
)
from izin.consent import AdmittedEvent, Consent, ConsentKey
from izin.runtime.masking import mask
from izin.runtime.plan import OnProgress

SEED = 2026
PERMUTATIONS = 100_000
SMALL = 8
LARGE = 10_000
PER_LARGE = 1_000
"""Permutations of small sets for each one of a large set."""
_PER_SET = 25
"""Permutations of a set before the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Permutations of sets of about one size."""

    fewest: int
    most: int
    """Of the events of a set."""
    permutations: int
    seed: int

    @property
    def size(self) -> str:
        """The size of a set in words."""
        few = "" if self.fewest == self.most else f"{self.fewest} to "
        return f"{few}{self.most} events"

    @property
    def sets(self) -> int:
        """The number of sets of events."""
        return -(-self.permutations // _PER_SET)

    def try_set(self, number: int) -> bytes | Counterexample:
        """Return the digest of the state that a set gives, or its counterexample."""
        rng = Random(f"{self.seed}/{self.most}/{number}")  # noqa: S311  # a trial, not a secret
        events = contradicting_events(rng.randint(self.fewest, self.most), rng=rng)
        permutations = min(_PER_SET, self.permutations - number * _PER_SET)
        return try_law(events, permutations=permutations, rng=rng, law=LAW)


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
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Check that any order, repetition or batching of the same events gives the same state.

    Sets of up to 8 contradicting events are permuted, a new set every 25 permutations, and for
    every thousand of these one set of 10,000 events. Prints one digest of the states of all sets,
    or the smallest counterexample found. Exit code 1 with a counterexample.
    """
    sizes = ((2, SMALL, permutations), (LARGE, LARGE, -(-permutations // PER_LARGE)))
    results: list[SeriesResult] = []
    with exit_on_signals(), showing_steps() as begin:
        for fewest, most, count in sizes:
            series = Series(fewest=fewest, most=most, permutations=count, seed=seed)
            results.append(_run(series, begin(f"sets of {series.size}, sets")))
            if isinstance(results[-1].result, Counterexample):
                break
    _print(results, output)
    exit_if(isinstance(results[-1].result, Counterexample))


def _run(series: Series, shown: OnProgress) -> SeriesResult:
    began, seen = time.monotonic(), sha256()
    for number in range(series.sets):
        found = series.try_set(number)
        if isinstance(found, Counterexample):
            return SeriesResult(series=series, seconds=time.monotonic() - began, result=found)
        seen.update(found)
        shown(number + 1, series.sets)
    return SeriesResult(series=series, seconds=time.monotonic() - began, result=seen.digest())


def _print(results: Sequence[SeriesResult], output: OutputFormat) -> None:
    digests = [one.result for one in results if isinstance(one.result, bytes)]
    rows = [
        (
            one.series.size,
            one.series.sets,
            one.series.permutations,
            round(one.seconds, 1),
            one.result.hex() if isinstance(one.result, bytes) else "",
        )
        for one in results
    ]
    last = results[-1].result
    clash = _clash_as_json(last) if isinstance(last, Counterexample) else None
    digest = None if clash else sha256(b"".join(digests)).hexdigest()
    known = {"digest": digest, "counterexample": clash, "series": named(_COLUMNS, rows)}
    print_rows(output, _COLUMNS, [(*row, begins[:_SHORT]) for *row, begins in rows], as_json=known)
    if output is OutputFormat.TABLE and isinstance(last, Counterexample):
        _print_clash(last)
    elif output is OutputFormat.TABLE:
        out.print(f"one digest: {digest}", soft_wrap=True, highlight=False)


_COLUMNS = ("set", "sets", "permutations", "seconds", "digest")
_SHORT = 16
_EVENT = ("effective_at", "origin_rank", "event_id", "consent_date", "source", "origin")
"""What is shown of an event, beside its key and status."""


def _print_clash(clash: Counterexample) -> None:
    """Print ``clash`` as tables; of both states the fields in which they differ."""
    warn(f"the law does not hold: {clash.why}")
    events = [_event(number, one) for number, one in enumerate(clash.events, 1)]
    print_rows(OutputFormat.TABLE, tuple(events[0]), [tuple(one.values()) for one in events])
    ways = [("one", _written(clash.one)), ("other", _written(clash.other))]
    print_rows(OutputFormat.TABLE, ("way", "applied: (…) is a state, + merges"), ways)
    states = [
        {key: _fields(consent) for key, consent in state.items()}
        for state in (clash.one_state, clash.other_state)
    ]
    one, other = (
        {(one["key"], name): value for one in state.values() for name, value in one.items()}
        for state in states
    )
    differ = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    rows = [(*key, one.get(key), other.get(key)) for key in differ]
    print_rows(OutputFormat.TABLE, ("key", "field", "one", "other"), rows)


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
    return {
        "number": number,
        "key": _masked(admitted.key),
        "status": str(admitted.status),
        "registrable": admitted.registrable,
        **{name: getattr(admitted, name, getattr(admitted.event, name, None)) for name in _EVENT},
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
