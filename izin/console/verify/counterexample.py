"""Print a counterexample of the law: its events, two ways to apply them, and both states."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rich.text import Text

from izin.consent.model import AdmittedEvent, Consent, ConsentKey
from izin.console.terminal.output import OutputFormat, out, print_rows
from izin.console.verify.permutations import Counterexample, Parts
from izin.runtime.masking import mask

_EVENT = (
    *("number", "key", "status", "effective_at", "origin_rank", "event_id"),
    *("registrable", "consent_date", "source", "origin", "customer_id"),
)


def print_clash(clash: Counterexample) -> None:
    """Print ``clash`` as tables."""
    out.print(Text(f"the law does not hold: {clash.why}", "red"))
    rows = [_event(number, one).values() for number, one in enumerate(clash.events, 1)]
    print_rows(OutputFormat.TABLE, _EVENT, map(tuple, rows))
    ways = [("one", _written(clash.one)), ("other", _written(clash.other))]
    print_rows(OutputFormat.TABLE, ("way", "applied: (…) is a state, + merges"), ways)
    print_rows(OutputFormat.TABLE, ("key", "field", "one", "other"), _states(clash))


def clash_as_json(clash: Counterexample) -> dict[str, Any]:
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
