"""CloudEvents 1.0, binary mode, Kafka binding: what happened can be told without decoding it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

Headers = list[tuple[str, str | bytes | None]]
"""As a Kafka client takes them."""

_TYPE = "ce_type"


def marks(*, record: str, event_id: str, source: str, at: datetime) -> dict[str, str]:
    """Return the marks of a ``record`` about ``event_id``, of ``source`` (a relative URI), at
    ``at``, by the name of their header.
    """
    return {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        _TYPE: f"izin.{record}",
        "ce_source": source,
        "ce_time": at.isoformat(),
    }


def headers(*, record: str, event_id: str, source: str, at: datetime) -> Headers:
    """Return the same marks as headers."""
    told = marks(record=record, event_id=event_id, source=source, at=at)
    return [(name, text.encode()) for name, text in told.items()]


def retyped(about: Headers, record: str) -> Headers:
    """Return ``about``, as :func:`headers` made it, for another ``record`` of the same event."""
    return [
        (name, f"izin.{record}".encode() if name == _TYPE else content) for name, content in about
    ]
