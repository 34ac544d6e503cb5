"""Events from a file of JSON lines: one ConsentEvent a line, by the names of its contract.

Instants are ISO 8601 with an offset. What the contract has a default for may be left out. A line
becomes the bytes that Kafka would carry and is read back from them, so it is held to the contract,
no more and no less; whether it is lawful is for admission to say.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from izin.consent.errors import SourceError
from izin.schemas.codec import Codec
from izin.schemas.contracts import current
from izin.schemas.records import event_from_avro

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from izin.consent.model import ConsentEvent

_RECORD = "ConsentEvent"
_INSTANTS = frozenset({"consent_date", "received_at", "creation_date", "observed_at"})


def read_events(lines: Iterable[str]) -> Iterator[ConsentEvent]:
    """Yield the event of each line that is not empty; raises SourceError, naming the line."""
    codec = Codec()
    known = {field["name"] for field in current()[_RECORD].schema["fields"]}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            if not isinstance(said, dict):
                raise TypeError("a line is one JSON object")  # noqa: TRY301  # told below, in place
            if unknown := said.keys() - known:
                raise TypeError(f"the contract has no {', '.join(sorted(unknown))}")  # noqa: TRY301  # the same
            yield event_from_avro(codec.decode(_RECORD, codec.encode(_RECORD, _timed(said))))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise SourceError(f"line {number} is no ConsentEvent: {error}") from error


def _timed(said: dict[str, Any]) -> dict[str, Any]:
    """Return ``said`` with its instants read."""
    timed: dict[str, Any] = {}
    for name, held in said.items():
        timed[name] = held
        if name in _INSTANTS and held is not None:
            timed[name] = _instant(name, held)
        elif name == "iys" and isinstance(held, dict):
            timed[name] = _timed(held)
    return timed


def _instant(name: str, text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{name} has no offset, such as +03:00")
    return at
