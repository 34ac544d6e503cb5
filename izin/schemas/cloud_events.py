"""CloudEvents 1.0, binary mode, Kafka binding: a record's id, type, source and time as headers, for
readers that do not decode it.
"""

from datetime import datetime
from typing import Final

Headers = list[tuple[str, str | bytes | None]]
"""As a Kafka client takes them."""

ID: Final = "ce_id"
TYPE: Final = "ce_type"
SOURCE: Final = "ce_source"
TIME: Final = "ce_time"
VERSION: Final = ("ce_specversion", "1.0")


def attributes(*, record: str, event_id: str, source: str, at: datetime) -> dict[str, str]:
    """Return the context attributes of a ``record`` about ``event_id``, by the name of the header.

    ``source`` is a relative URI.
    """
    return {
        VERSION[0]: VERSION[1],
        ID: event_id,
        TYPE: f"izin.{record}",
        SOURCE: source,
        TIME: at.isoformat(),
    }


def headers(*, record: str, event_id: str, source: str, at: datetime) -> Headers:
    """Return the same attributes as Kafka headers."""
    values = attributes(record=record, event_id=event_id, source=source, at=at)
    return [(name, value.encode()) for name, value in values.items()]
