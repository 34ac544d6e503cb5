"""A search for an order, repetition or grouping of events in which the law gives another state.

The law claims (:mod:`izin.consent.ordering`) that any permutation, duplication, batching, split or
replay of the same events gives the same state, byte for byte. Here events are applied in random
orders, some of them twice:

- one by one to one state, and then all of them again, which must change nothing;
- dealt to several states, as to partitions, which are merged in any order;
- cut into batches, as a stream may be, which are folded separately and merged in any order.

Meanwhile the latest RET must never go back, and a RET must be replaced by a later ONAY only. At the
end the greatest event of each key must win. If any of it fails, the :class:`Counterexample` is
shrunk until nothing more can be left out.

Randomness and the law are arguments, so that tests can check that a broken law is found.

The sets of events that are generated contradict one another. Everything happens within seconds:
ONAY and RET share a second, several ids and ranks share second and status, an event is repeated,
and one event id has two contents. Events come from our systems, from citizens at İYS and from other
providers; RETs are undated, dated ahead, or not registrable; merchants need no date.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any, TypeVar

from izin.consent import (
    SKEW,
    AdmittedEvent,
    Channel,
    Consent,
    ConsentEvent,
    ConsentKey,
    Decision,
    IysOrigin,
    OurError,
    RecipientType,
    RefusedEvent,
    Source,
    Status,
    admit,
    decide,
    merge,
)

T = TypeVar("T")

Parts = tuple[tuple[int, ...], ...]
"""The order in which events are applied, by their numbers: each part to a state of its own, merged
from left to right. One part: one state."""

_MAX_STATES = 8

_Events = tuple[tuple[str, AdmittedEvent], ...]
_State = dict[str, Consent]
_START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_FEW_SECONDS = 4
_EVENTS_PER_KEY = 6
"""On average."""
_VARIED = 0.5
"""The fraction of a set that repeats or contradicts an earlier event of it."""

_SOURCES = (Source.HS_WEB, Source.HS_MOBIL, Source.HS_CAGRI_MERKEZI)
_FAULTS: tuple[dict[str, Any], ...] = (
    {"source": None},
    {"source": "HS_NOWHERE"},
    {"consent_date": _START - timedelta(days=365 * 20)},
    {"consent_date": _START + timedelta(days=1)},
    {"retailer_code": 7},
    {"retailer_access": ()},
)
"""What makes a RET unregistrable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderingLaw:
    """A law to be tested: its decision on an event, and its merge of two states."""

    decide: Callable[[Consent | None, AdmittedEvent], Decision]
    merge: Callable[[Consent, Consent], Consent]


LAW = OrderingLaw(decide=decide, merge=merge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterexample:
    """The same events in two orders, and the state that each order gives."""

    why: str
    events: tuple[AdmittedEvent, ...]
    one: Parts
    other: Parts
    one_state: Mapping[str, Consent]
    other_state: Mapping[str, Consent]


def try_law(
    events: Sequence[AdmittedEvent], *, permutations: int, rng: Random, law: OrderingLaw = LAW
) -> bytes | Counterexample:
    """Return the digest of the state that all permutations give, or a minimal counterexample."""
    # The reference is the sorted order, in which even a careless law is right.
    keyed = _keyed(sorted(events, key=lambda event: (event.order, event.content)))
    one = _in_order(keyed)
    expected, fault = _play(keyed, one, law)
    if fault is not None:
        return _shrink(keyed, one, law)
    for _ in range(permutations):
        other = _counterorder(keyed, expected, rng, law)
        if other is not None:
            return _shrink(keyed, other, law)
    return _shrink(keyed, one, law) if _has_lesser(keyed, expected) else digest(expected)


def digest(state: Mapping[str, Consent]) -> bytes:
    """Return the SHA-256 of the canonical bytes of every key's state, in the order of keys."""
    seen = sha256()
    for key in sorted(state):
        seen.update(canonical(state[key]))
        seen.update(b"\n")
    return seen.digest()


def canonical(consent: Consent) -> bytes:
    """Return all fields of ``consent`` as bytes: equal states have equal bytes."""
    fields_ = {field.name: getattr(consent, field.name) for field in fields(consent)}
    text = json.dumps(
        fields_, default=_text, ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )
    return text.encode()


def _text(value: datetime | ConsentKey) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def _keyed(events: Sequence[AdmittedEvent]) -> _Events:
    keys: dict[str, str] = {}
    # One text object a key: it is looked up many times.
    return tuple(
        (keys.setdefault(key, key), one)
        for key, one in zip((str(event.key) for event in events), events, strict=True)
    )


def _counterorder(events: _Events, expected: _State, rng: Random, law: OrderingLaw) -> Parts | None:
    """Return a random order that gives another state than ``expected``; None: none was found."""
    numbers = range(len(events))
    numbered = [*numbers, *rng.choices(numbers, k=1 + len(numbers) // 8)] if numbers else []
    rng.shuffle(numbered)
    order = tuple(numbered)
    count = rng.randint(2, _MAX_STATES)
    size = 1 + len(order) // rng.randint(1, _MAX_STATES)
    dealt = [order[first::count] for first in range(count)]
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    for groups in (dealt, batches):
        rng.shuffle(groups)
    # All of them again, the greatest first: in sorted order, a law in which the last one wins would
    # be right.
    for parts in ((order,), ((*order, *numbers[::-1]),), tuple(dealt), tuple(batches)):
        state, fault = _play(events, parts, law)
        if fault is not None or state != expected:
            return parts
    return None


def _play(events: _Events, parts: Parts, law: OrderingLaw) -> tuple[_State, str | None]:
    """Return the state that ``parts`` give, and the property that was violated, if any."""
    whole: _State = {}
    for part in parts:
        state: _State = {}
        fault = _fold(events, part, state, law)
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


def _fold(events: _Events, part: Sequence[int], state: _State, law: OrderingLaw) -> str | None:
    """Apply ``part`` to ``state``; return the property that was violated, if any."""
    decide = law.decide
    for number in part:
        key, event = events[number]
        before = state.get(key)
        after = decide(before, event).consent
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
        return "a RET was replaced by an ONAY that is no later"
    return None


def _has_lesser(events: _Events, state: _State) -> bool:
    """Whether the winner of a key is not its greatest event; ``events`` are sorted."""
    greatest = dict(events)
    return any(
        (consent.order, consent.content) != (greatest[key].order, greatest[key].content)
        for key, consent in state.items()
    )


def _counterexample(events: _Events, other: Parts, law: OrderingLaw) -> Counterexample | None:
    """Return how ``other`` differs from the sorted order of the same events, if it does."""
    one = _in_order(events)
    one_state, fault = _play(events, one, law)
    other_state, other_fault = _play(events, other, law)
    why = other_fault or fault
    if why is None and one_state != other_state:
        why = "the two orders give different states"
    if why is None and _has_lesser(events, one_state):
        why = "the greatest event does not win"
    if why is None:
        return None
    return Counterexample(
        why=why,
        events=tuple(event for _, event in events),
        one=one,
        other=other,
        one_state=one_state,
        other_state=other_state,
    )


def _in_order(events: _Events) -> Parts:
    return (tuple(range(len(events))),)


def _shrink(events: _Events, other: Parts, law: OrderingLaw) -> Counterexample:
    """Return the counterexample with as few applications of events as possible: of what is left no
    single one can be removed.
    """
    places = [(at, place) for at, part in enumerate(other) for place in range(len(part))]
    fewest = _fewest(
        places, lambda some: _counterexample(*_restricted(events, other, some), law) is not None
    )
    found = _counterexample(*_restricted(events, other, fewest), law)
    if found is None:
        raise OurError("the law is not deterministic: a counterexample could not be reproduced")
    return found


def _restricted(
    events: _Events, parts: Parts, places: Sequence[tuple[int, int]]
) -> tuple[_Events, Parts]:
    """Return ``parts`` restricted to ``places``, and the events that they apply, renumbered."""
    kept = set(places)
    fewer = [
        [number for place, number in enumerate(part) if (at, place) in kept]
        for at, part in enumerate(parts)
    ]
    left = sorted({number for part in fewer for number in part})
    numbers = {number: at for at, number in enumerate(left)}
    return (
        tuple(events[number] for number in left),
        tuple(tuple(numbers[one] for one in part) for part in fewer if part),
    )


def _fewest(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Return as few of ``items``, in order, as still fail: halves are removed first, then ones."""
    size = len(items)
    while size:
        first, before = 0, len(items)
        while first < len(items):
            fewer = [*items[:first], *items[first + size :]]
            if fewer and fails(fewer):
                items = fewer
            else:
                first += size
        is_done = size == 1 and len(items) == before
        size = 0 if is_done else max(1, size // 2)
    return items


def contradicting_events(size: int, *, rng: Random) -> list[AdmittedEvent]:
    """Return ``size`` events that contradict one another on a few keys, without refused ones."""
    keys = rng.randint(1, 1 + size // _EVENTS_PER_KEY)
    generated: list[tuple[ConsentEvent, datetime]] = []
    for _ in range(size):
        if generated and rng.random() < _VARIED:
            event, appended_at = rng.choice(generated)
            event = replace(event, **_variation(event, rng))
        else:
            # The lower the number of a key, the more events it has.
            event = _event(int(keys * rng.random() ** 2), rng)
            appended_at = _START + timedelta(seconds=2 * _FEW_SECONDS + rng.randrange(2))
        generated.append((event, appended_at))
    results: list[AdmittedEvent | RefusedEvent] = [
        admit(event, appended_at=at) for event, at in generated
    ]
    return [result for result in results if isinstance(result, AdmittedEvent)]


def _event(number: int, rng: Random) -> ConsentEvent:
    """Return an event on the key with this ``number``."""
    channel = tuple(Channel)[number % 3]
    is_merchant = number % 4 == 1
    status = rng.choice(tuple(Status))
    at = _instant(rng)
    fields: dict[str, Any] = {
        "event_id": f"event-{rng.randrange(3)}",
        "customer_id": "acme",
        "brand_code": 100001 + number % 2,
        "type": channel,
        "recipient_type": RecipientType.TACIR if is_merchant else RecipientType.BIREYSEL,
        "recipient": _recipient(number, channel, rng),
        "status": status,
        "origin": rng.choice(("crm", "web")),
        "source": rng.choice(_SOURCES),
        "consent_date": at,
        "received_at": rng.choice((None, _START + timedelta(seconds=_FEW_SECONDS))),
    }
    if rng.random() < 1 / 2:
        return ConsentEvent(**fields | _by_iys(at, rng))
    if (status is Status.RET or is_merchant) and rng.random() < 1 / 4:
        fields["consent_date"] = None
    elif status is Status.RET and rng.random() < 1 / 3:
        fields |= rng.choice(_FAULTS)
    elif rng.random() < 1 / 4:
        fields["received_at"] = at - rng.random() * SKEW
    return ConsentEvent(**fields)


def _instant(rng: Random) -> datetime:
    return _START + timedelta(
        seconds=rng.randrange(_FEW_SECONDS), milliseconds=rng.choice((0, 1, 999))
    )


def _recipient(number: int, channel: Channel, rng: Random) -> str:
    """Return one of the notations of the same recipient."""
    if channel is Channel.EPOSTA:
        return rng.choice((f"kisi{number}@example.com", f" Kisi{number}@Example.com"))
    return rng.choice((f"+90500{number:07}", f"0500 {number:07}", f"0090500{number:07}"))


def _by_iys(at: datetime, rng: Random) -> dict[str, Any]:
    """Return the fields of an entry of İYS: by a citizen, or by a provider."""
    stream = rng.choice(("IYS", "HS"))
    path = rng.choice(("push", "pull"))
    return {
        "origin": "iys" if stream == "IYS" else "iys-hs",
        "source": rng.choice(("IYS_WEB", "IYS_MOBIL")) if stream == "IYS" else Source.HS_WEB,
        "consent_date": rng.choice((at, None, at - timedelta(days=400))),
        "iys": IysOrigin(stream=stream, path=path, creation_date=at),
    }


def _variation(event: ConsentEvent, rng: Random) -> dict[str, Any]:
    """Return the fields in which a repetition of ``event`` differs; empty: in none."""
    other = Status.ONAY if event.status == Status.RET else Status.RET
    variations: tuple[dict[str, Any], ...] = (
        {},
        {"status": other},
        {"event_id": f"event-{rng.randrange(3)}"},
        {"source": rng.choice((*_SOURCES, "HS_NOWHERE"))},
        {"origin": "repeated"},
        {"customer_id": "other"},
        {"consent_date": _instant(rng)},
        {"consent_date": None},
        _by_iys(_instant(rng) if event.iys is None else event.iys.creation_date, rng),
    )
    return rng.choice(variations)
