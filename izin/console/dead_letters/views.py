"""Dead letters as rows of words for people, and as JSON for programs."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from izin.console.terminal.output import turkish
from izin.replay.letters.letter import Content, Letter
from izin.replay.letters.outcomes import Outcome
from izin.runtime.masking import masked
from izin.schemas.records import event_to_avro
from izin.sinks.ledger.dead_letters import LetterStatus, Redrive
from izin.streams.guard import appended_at

COLUMNS = ("letter", "when (Turkey)", "position", "reason", "violations", "what became of it")
_HIDDEN = "***"
_IDS = frozenset({"event_id", "cause", "ce_id"})
"""Fields that are not masked: an id may look like a phone number."""


def row(letter: Letter, status: LetterStatus) -> tuple[object, ...]:
    """Return the row of a letter in the list."""
    wrong = (f"{one.field}: {one.reason} ({one.code})" for one in letter.violations)
    became = "\n".join(became_of(status))
    return letter.name, letter.at, letter.position, letter.reason, "\n".join(wrong), became


def became_of(status: LetterStatus) -> Iterator[str]:
    """Yield what became of a letter, a sentence for each that was done about it."""
    for again in status.redriven:
        yield f"redriven to {again.to}: {_result(again)} (by {again.by}, {turkish(again.at)})"
    if status.corrected_by is not None:
        yield f"corrected by event {status.corrected_by}"
    if (one := status.acknowledgement) is not None:
        yield f"{one.reason} (by {one.by}, {turkish(one.at)})"


def as_json(letter: Letter, status: LetterStatus) -> dict[str, Any]:
    """Return a letter with its original bytes, which are personal data, in base64."""
    return {
        "letter": letter.name,
        "acknowledged": status.acknowledgement and asdict(status.acknowledgement),
        "redriven": [asdict(one) for one in status.redriven],
        "corrected_by": status.corrected_by,
        "reason": letter.reason,
        "violations": [asdict(one) for one in letter.violations],
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": letter.at,
        "key": _base64(letter.key),
        "value": _base64(letter.value),
        "value_size": letter.value_size,
        "value_sha256": letter.place.digest,
        "headers": [{"name": name, "value": _base64(content)} for name, content in letter.headers],
    }


def detail(
    letter: Letter, content: Content | None, status: LetterStatus, *, unmasked: bool
) -> dict[str, Any]:
    """Return everything that can be read of a letter; its recipient is masked, unless
    ``unmasked``, and evidence left out.
    """
    shown: dict[str, Any] = {
        "letter": letter.name,
        "what became of it": list(became_of(status)) or ["nobody has dealt with it"],
        "reason": letter.reason,
        "violations": [asdict(one) for one in letter.violations],
        "record": letter.position,
        "appended": letter.at,
        "first appended": appended_at(letter),
        "bytes": letter.value_size,
        "sha256": letter.place.digest,
        "key": None if letter.key is None else letter.key.decode(errors="replace"),
        "headers": {
            name: "" if content is None else content.decode(errors="replace")
            for name, content in letter.headers
        },
        "event": None if content is None else _event(content, unmasked=unmasked),
    }
    if unmasked:
        return shown
    hidden = {name: shown[name] and _masked(shown[name]) for name in ("headers", "event")}
    return shown | hidden | {"key": masked("key", shown["key"])}


def detail_rows(shown: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the rows of a ``detail`` in words."""
    for name, value in shown.items():
        match name:
            case "violations":
                for one in value:
                    yield one["field"], f"{one['reason']} ({one['code']})\n{one['reason_tr']}"
            case "what became of it":
                yield name, "\n".join(value)
            case "event" if value is None:
                yield name, "nothing of the record can be read"
            case "event" | "headers":
                yield from ((f"{name}: {field}", _words(of)) for field, of in value.items())
            case _:
                yield name, _words(value)


def _words(value: object) -> str:
    if isinstance(value, datetime):
        return f"{turkish(value)} (Turkey)"
    return "" if value is None else str(value)


def _event(content: Content, *, unmasked: bool) -> dict[str, Any]:
    event = {
        name: value
        for name, value in event_to_avro(content.event).items()
        if value not in (None, {}, "")
    }
    if "evidence" in event and not unmasked:
        event["evidence"] = dict.fromkeys(event["evidence"], _HIDDEN)
    damaged = {"damaged": list(content.damaged)} if content.damaged else {}
    return event | {"key": str(content.key) if content.key else None} | damaged


def _masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if name in _IDS or isinstance(value, datetime) else masked(name, value)
        for name, value in fields.items()
    }


def _result(one: Redrive) -> str:
    if one.result is None:
        return "what became of it is not known yet"
    return f"{one.result}, {Outcome(one.result).words}"


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
