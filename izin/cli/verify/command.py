"""``izin verify``: check that any order of the same events gives the same state.

A run is one or two series of event sets. Each set has a random generator of its own, which depends
on the seed and the number of the set alone.
"""

import time
from collections.abc import Mapping, Sequence
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

    def run(self, shown: OnProgress) -> bytes | Counterexample:
        """Return the digest of the states that the sets give, or the first counterexample."""
        seen = sha256()
        for number in range(self.sets):
            rng = Random(f"{self.seed}/{self.most}/{number}")  # noqa: S311  # a trial, not a secret
            events = contradicting_events(rng.randint(self.fewest, self.most), rng=rng)
            permutations = min(_PER_SET, self.permutations - number * _PER_SET)
            found = try_law(events, permutations=permutations, rng=rng, law=LAW)
            if isinstance(found, Counterexample):
                return found
            seen.update(found)
            shown(number + 1, self.sets)
        return seen.digest()


Result = tuple[Series, float, bytes | Counterexample]
"""A series, the seconds that it took, and what it gave."""


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
    results: list[Result] = []
    clash: Counterexample | None = None
    with exit_on_signals(), showing_steps() as begin:
        for fewest, most, count in sizes:
            series = Series(fewest=fewest, most=most, permutations=count, seed=seed)
            began = time.monotonic()
            found = series.run(begin(f"sets of {series.size}, sets"))
            results.append((series, round(time.monotonic() - began, 1), found))
            if isinstance(found, Counterexample):
                clash = found
                break
    _print(results, clash, output)
    exit_if(clash)


def _print(results: Sequence[Result], clash: Counterexample | None, output: OutputFormat) -> None:
    digests = [found for _, _, found in results if isinstance(found, bytes)]
    rows = [
        (
            one.size,
            one.sets,
            one.permutations,
            seconds,
            found.hex() if isinstance(found, bytes) else "",
        )
        for one, seconds, found in results
    ]
    shown = None if clash is None else _clash_as_json(clash)
    digest = None if shown else sha256(b"".join(digests)).hexdigest()
    known = {"digest": digest, "counterexample": shown, "series": named(_COLUMNS, rows)}
    print_rows(output, _COLUMNS, [(*row, begins[:_SHORT]) for *row, begins in rows], as_json=known)
    if output is OutputFormat.TABLE and shown is not None:
        _print_clash(shown)
    elif output is OutputFormat.TABLE:
        out.print(f"one digest: {digest}", soft_wrap=True, highlight=False)


_COLUMNS = ("set", "sets", "permutations", "seconds", "digest")
_SHORT = 16
_EVENT = ("effective_at", "origin_rank", "event_id", "consent_date", "source", "origin")
"""What is shown of an event, beside its key and status."""


def _print_clash(clash: Mapping[str, Any]) -> None:
    """Print a counterexample as tables; of both states the fields in which they differ."""
    warn(f"the law does not hold: {clash['why']}")
    events = clash["events"]
    print_rows(OutputFormat.TABLE, tuple(events[0]), [tuple(event.values()) for event in events])
    ways = [
        (way, " + ".join(f"({' '.join(map(str, part))})" for part in clash[way]))
        for way in ("one", "other")
    ]
    print_rows(OutputFormat.TABLE, ("way", "applied: (…) is a state, + merges"), ways)
    one, other = (
        {(state["key"], name): value for state in clash[side] for name, value in state.items()}
        for side in ("one_state", "other_state")
    )
    rows = [
        (*key, one.get(key), other.get(key))
        for key in sorted({*one, *other})
        if one.get(key) != other.get(key)
    ]
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
    values = {field.name: getattr(consent, field.name) for field in fields(consent)}
    return values | {"key": _masked(consent.key)}


def _numbered(parts: Parts) -> list[list[int]]:
    return [[number + 1 for number in part] for part in parts]
