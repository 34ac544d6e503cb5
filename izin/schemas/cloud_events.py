"""CloudEvents 1.0, binary mode, Kafka binding: a record's id, type, source and time as headers, for
readers that do not decode it.

Source and id together name one record: a reader that drops those it has seen loses nothing. So a
record that was made of another (a decision, a row) has an id of its own, :func:`derived_id`; where
it is written again after a crash, it is made of the same one and has the same id.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

Headers = list[tuple[str, str | bytes | None]]
"""As a Kafka client takes them."""

ID: Final = "ce_id"
TYPE: Final = "ce_type"
SOURCE: Final = "ce_source"
TIME: Final = "ce_time"
VERSION: Final = ("ce_specversion", "1.0")
CONTENT_TYPE: Final = ("content-type", "application/avro")
"""The media type of the value, beside the attributes as the binding has it."""
_VERSION: Final = (VERSION[0], VERSION[1].encode())
_CONTENT_TYPE: Final = (CONTENT_TYPE[0], CONTENT_TYPE[1].encode())


def derived_id(event_id: str, topic: str, partition: int, offset: int, part: str = "") -> str:
    """Return the id of a record made of the record at these coordinates, about ``event_id``.

    Coordinates alone would recur in another cluster, and an event occurs at several of them.
    ``part`` tells records apart that are made of one.
    """
    return f"{event_id}/{topic}/{partition}/{offset}{part}"


def attributes(*, record: str, event_id: str, source: str, at: datetime) -> dict[str, str]:
    """Return the context attributes of a ``record`` with the id ``event_id``, and the type of its
    value, by the name of the header.

    ``source`` is a relative URI.
    """
    return {
        VERSION[0]: VERSION[1],
        ID: event_id,
        TYPE: f"izin.{record}",
        SOURCE: source,
        TIME: at.isoformat(),
        CONTENT_TYPE[0]: CONTENT_TYPE[1],
    }


@lru_cache(maxsize=16)
def _repeated(record: str, source: str, at: datetime, _offset: timedelta | None) -> Headers:
    """Return the headers in which many records of a file or a batch are alike.

    Two notations of one instant are equal, so the offset from UTC is part of what is looked up.
    """
    return [
        (TYPE, f"izin.{record}".encode()),
        (SOURCE, source.encode()),
        (TIME, at.isoformat().encode()),
    ]


def headers(*, record: str, event_id: str, source: str, at: datetime) -> Headers:
    """Return the same as Kafka headers."""
    return [
        _VERSION,
        (ID, event_id.encode()),
        *_repeated(record, source, at, at.utcoffset()),
        _CONTENT_TYPE,
    ]
