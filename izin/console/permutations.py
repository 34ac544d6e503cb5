"""Whether the law hangs on the order, the repetition or the grouping of claims: it is tried.

The law says of itself (:mod:`izin.consent.ordering`) that any permutation, duplication, batching,
split or replay of the same claims gives the same state, byte for byte. Here claims are told over
and over in orders that chance draws, some of them twice:

- one by one into one state, and then all of them once more on top of it, which changes nothing;
- dealt to several states, as partitions would be split, which are merged in any order;
- in batches that are folded apart, as a stream would be cut, and merged in any order.

On the way the latest RET never goes back, and a RET gives way to a later ONAY alone: so a RET that
is the greatest is never left. In the end the greatest claim of each key stands. Where any of it
fails, the :class:`Clash` that shows it is shrunk until nothing more can be left out.

Chance and the law to be tried are arguments: a law that is broken on purpose must be found out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from izin.consent.errors import OurError
from izin.consent.model import AdmittedEvent, Consent, ConsentKey, Decision, Status
from izin.consent.ordering import decide, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

T = TypeVar("T")

Parts = tuple[tuple[int, ...], ...]
"""In which order claims are told, by their numbers: each part into a state of its own, merged from
left to right. One part: one state."""

_MOST_STATES = 8

_Told = tuple[tuple[str, AdmittedEvent], ...]
_State = dict[str, Consent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A law that can be tried: what it makes of a claim, and of two states built apart."""

    decide: Callable[[Consent | None, AdmittedEvent], Decision]
    merge: Callable[[Consent, Consent], Consent]


class UnsteadyLawError(OurError):
    """A law that makes of the same claims, told in the same way, another state each time."""

    def __init__(self) -> None:
        super().__init__("the law is no function: a clash was found, and not found again")


THE_LAW = Law(decide=decide, merge=merge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """A counter-example: the same claims, told in two ways, and what each way came to."""

    why: str
    claims: tuple[AdmittedEvent, ...]
    one: Parts
    other: Parts
    one_state: Mapping[str, Consent]
    other_state: Mapping[str, Consent]


def try_law(
    claims: Sequence[AdmittedEvent], *, permutations: int, rng: Random, law: Law = THE_LAW
) -> bytes | Clash:
    """Return the digest of the one state that all permutations give, or the smallest clash."""
    # What all orders are held against is the lawful one: there even a careless law is right.
    told = _told(sorted(claims, key=lambda claim: (claim.order, claim.content)))
    one = _in_order(told)
    expected, fault = _play(told, one, law)
    if fault is not None:
        return _shrunk(told, one, law)
    for _ in range(permutations):
        other = _differing(told, expected, rng, law)
        if other is not None:
            return _shrunk(told, other, law)
    return _shrunk(told, one, law) if _is_lesser(told, expected) else digest(expected)


def digest(state: Mapping[str, Consent]) -> bytes:
    """Return the SHA-256 of the canonical bytes of every key's state, in the order of keys."""
    seen = sha256()
    for key in sorted(state):
        seen.update(canonical(state[key]))
        seen.update(b"\n")
    return seen.digest()


def canonical(consent: Consent) -> bytes:
    """Return ``consent``, every field of it, as bytes: equal states have equal bytes."""
    said = {one.name: _plain(getattr(consent, one.name)) for one in fields(consent)}
    return json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _plain(held: object) -> object:
    match held:
        case datetime():
            return held.astimezone(UTC).isoformat()
        case ConsentKey():
            return str(held)
        case _:
            return held


def _told(claims: Sequence[AdmittedEvent]) -> _Told:
    keys: dict[str, str] = {}
    texts = (str(claim.key) for claim in claims)
    # The same text for the same key: states are looked up by it, over and over.
    return tuple((keys.setdefault(key, key), one) for key, one in zip(texts, claims, strict=True))


def _differing(told: _Told, expected: _State, rng: Random, law: Law) -> Parts | None:
    """Return a way of telling that chance drew and that comes to another state, if there is one."""
    numbers = range(len(told))
    drawn = [*numbers, *rng.choices(numbers, k=1 + len(numbers) // 8)] if numbers else []
    rng.shuffle(drawn)
    order = tuple(drawn)
    state: _State = {}
    if _fold(told, order, state, law) is not None or state != expected:
        return (order,)
    before = state.copy()
    # The greatest first: a law that lets the last one win would end with it in lawful order.
    again = numbers[::-1]
    if _fold(told, again, state, law) is not None or state != before:
        return ((*order, *again),)
    count = rng.randint(2, _MOST_STATES)
    size = 1 + len(order) // rng.randint(1, _MOST_STATES)
    for groups in (
        [order[first::count] for first in range(count)],
        [order[first : first + size] for first in range(0, len(order), size)],
    ):
        rng.shuffle(groups)
        parts = tuple(groups)
        state, fault = _play(told, parts, law)
        if fault is not None or state != expected:
            return parts
    return None


def _play(told: _Told, parts: Parts, law: Law) -> tuple[_State, str | None]:
    """Return the state to which ``parts`` come, and what went wrong on the way, if anything."""
    whole: _State = {}
    for part in parts:
        state: _State = {}
        fault = _fold(told, part, state, law)
        if fault is not None:
            return whole | state, fault
        if not whole:
            whole = state
            continue
        for key, consent in state.items():
            before = whole.get(key)
            whole[key] = consent if before is None else law.merge(before, consent)
            if before is not None:
                fault = _fault(before, whole[key]) or _fault(consent, whole[key])
            if fault is not None:
                return whole, fault
    return whole, None


def _fold(told: _Told, part: Sequence[int], state: _State, law: Law) -> str | None:
    """Tell ``part`` to ``state``; return what went wrong on the way, if anything."""
    decide = law.decide
    for number in part:
        key, claim = told[number]
        before = state.get(key)
        after = decide(before, claim).consent
        if after is not before:
            state[key] = after
            fault = None if before is None else _fault(before, after)
            if fault is not None:
                return fault
    return None


def _fault(before: Consent, after: Consent) -> str | None:
    known, known_now = before.latest_ret_at, after.latest_ret_at
    if known is not None and (known_now is None or known_now < known):
        return "the latest RET went back"
    if (
        before.status is Status.RET
        and after.status is not Status.RET
        and after.effective_at <= before.effective_at
    ):
        return "a RET gave way to an ONAY that is no later"
    return None


def _is_lesser(told: _Told, state: _State) -> bool:
    """Whether anything but the greatest claim of its key stands; ``told`` is in lawful order."""
    greatest = dict(told)
    return any(
        (consent.order, consent.content) != (greatest[key].order, greatest[key].content)
        for key, consent in state.items()
    )


def _clash(told: _Told, other: Parts, law: Law) -> Clash | None:
    """Return how ``other`` clashes with the lawful order of the same claims, if it does."""
    one = _in_order(told)
    one_state, fault = _play(told, one, law)
    other_state, other_fault = _play(told, other, law)
    why = other_fault or fault
    if why is None and one_state != other_state:
        why = "the two ways give different states"
    if why is None and _is_lesser(told, one_state):
        why = "the greatest claim does not stand"
    if why is None:
        return None
    return Clash(
        why=why,
        claims=tuple(claim for _, claim in told),
        one=one,
        other=other,
        one_state=one_state,
        other_state=other_state,
    )


def _in_order(told: _Told) -> Parts:
    return (tuple(range(len(told))),)


def _shrunk(told: _Told, other: Parts, law: Law) -> Clash:
    """Return the clash of ``told`` with as few claims as it needs, then as few tellings.

    Of what is returned nothing alone can be left out.
    """

    def clashes(numbers: Sequence[int]) -> bool:
        return _clash(*_only(told, other, numbers), law) is not None

    told, other = _only(told, other, _fewest(range(len(told)), clashes))

    def clashes_at(places: Sequence[tuple[int, int]]) -> bool:
        fewer = _at(other, places)
        # Each claim is told at least once, or the two ways would tell different claims.
        all_told = len({number for part in fewer for number in part}) == len(told)
        return all_told and _clash(told, fewer, law) is not None

    places = [(at, place) for at, part in enumerate(other) for place in range(len(part))]
    other = _at(other, _fewest(places, clashes_at))
    clash = _clash(told, other, law)
    if clash is None:
        raise UnsteadyLawError
    return clash


def _only(told: _Told, parts: Parts, numbers: Sequence[int]) -> tuple[_Told, Parts]:
    """Return the claims of ``numbers`` alone, and ``parts`` as they tell of these."""
    place = {number: at for at, number in enumerate(numbers)}
    kept = (tuple(place[number] for number in part if number in place) for part in parts)
    return tuple(told[number] for number in numbers), tuple(part for part in kept if part)


def _at(parts: Parts, places: Sequence[tuple[int, int]]) -> Parts:
    """Return of ``parts`` what stands at ``places``."""
    kept = set(places)
    fewer = (
        tuple(number for place, number in enumerate(part) if (at, place) in kept)
        for at, part in enumerate(parts)
    )
    return tuple(part for part in fewer if part)


def _fewest(items: Sequence[T], clash: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Return as few of ``items``, in their order, as still ``clash``: halves first, then ones."""
    size = len(items)
    while size:
        first, before = 0, len(items)
        while first < len(items):
            fewer = [*items[:first], *items[first + size :]]
            if fewer and clash(fewer):
                items = fewer
            else:
                first += size
        is_done = size == 1 and len(items) == before
        size = 0 if is_done else max(1, size // 2)
    return items
