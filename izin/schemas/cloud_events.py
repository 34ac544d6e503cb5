"""CloudEvents 1.0 headers, binary mode, Kafka binding: what happened can be told without decoding
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

Headers = list[tuple[str, str | bytes | None]]

_VERSION = ("ce_specversion", b"1.0")


def headers(*, record: str, event_id: str, source: str, at: datetime) -> Headers:
    """Return the headers of a ``record`` about ``event_id``, of ``source`` (a relative URI), at
    ``at``.
    """
    return [
        _VERSION,
        ("ce_id", event_id.encode()),
        ("ce_type", f"izin.{record}".encode()),
        ("ce_source", source.encode()),
        ("ce_time", at.isoformat().encode()),
    ]
