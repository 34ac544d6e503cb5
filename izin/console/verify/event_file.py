"""Read events from JSON lines: one ConsentEvent a line, with the field names of its schema.

Instants are ISO 8601 with an offset. Fields with a default may be left out. A line is encoded as
Kafka would carry it and decoded again, so it is checked against the schema, no more and no less;
admission decides whether it is lawful.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from izin.consent.errors import SourceError
from izin.consent.model import ConsentEvent
from izin.schemas.codec import Codec
from izin.schemas.contracts import current
from izin.schemas.records import event_from_avro

_RECORD = "ConsentEvent"
_INSTANTS = frozenset({"consent_date", "received_at", "creation_date", "observed_at"})


def read_events(lines: Iterable[str]) -> Iterator[ConsentEvent]:
    """Yield the event of each line that is not empty.

    Raises:
        SourceError: A line is no ConsentEvent; it names the line.
    """
    codec = Codec()
    known = {field["name"] for field in current()[_RECORD].schema["fields"]}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            if not isinstance(document, dict):
                raise TypeError("a line is one JSON object")  # noqa: TRY301  # reported below, with its line
            if unknown := document.keys() - known:
                raise TypeError(f"the schema has no {', '.join(sorted(unknown))}")  # noqa: TRY301  # the same
            yield event_from_avro(
                codec.decode(_RECORD, codec.encode(_RECORD, _with_instants(document)))
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise SourceError(f"line {number} is no ConsentEvent: {error}") from error


def _with_instants(document: dict[str, Any]) -> dict[str, Any]:
    """Return ``document`` with its instants parsed."""
    found = dict(document)
    for name, value in document.items():
        if name in _INSTANTS and value is not None:
            found[name] = _instant(name, value)
        elif name == "iys" and isinstance(value, dict):
            found[name] = _with_instants(value)
    return found


def _instant(name: str, text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{name} has no offset, such as +03:00")
    return at
