"""CloudEvents 1.0, binary mode, Kafka binding: what happened can be told without decoding it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from izin.schemas.fast.cache import keep

Headers = list[tuple[str, str | bytes | None]]
"""As a Kafka client takes them."""

_ID: Final = "ce_id"
_TYPE: Final = "ce_type"
_SOURCE: Final = "ce_source"
_TIME: Final = "ce_time"
_VERSION = ("ce_specversion", b"1.0")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_A_DAY: Final = 86_400
_MINUTES: Final = [f"{minute // 60:02}:{minute % 60:02}:".encode() for minute in range(24 * 60)]
_SECONDS: Final = [f"{second:02}+00:00".encode() for second in range(60)]
_IDS_PLACE: Final = 1
_TYPES_PLACE: Final = 2
_TIMES_PLACE: Final = 4


def marks(*, record: str, event_id: str, source: str, at: datetime) -> dict[str, str]:
    """Return the marks of a ``record`` about ``event_id``, of ``source`` (a relative URI), at
    ``at``, by the name of their header.
    """
    return {
        _VERSION[0]: _VERSION[1].decode(),
        _ID: event_id,
        _TYPE: f"izin.{record}",
        _SOURCE: source,
        _TIME: at.isoformat(),
    }


def headers(*, record: str, event_id: str, source: str, at: datetime) -> Headers:
    """Return the same marks as headers."""
    told = marks(record=record, event_id=event_id, source=source, at=at)
    return [(name, text.encode()) for name, text in told.items()]


class Marking:
    """Makes the headers of records of one name, quickly: what they share is made once."""

    def __init__(self, record: str) -> None:
        self._type = (_TYPE, f"izin.{record}".encode())
        self._templates: dict[str, Headers] = {}
        """By source."""
        self._days: dict[int, bytes] = {}

    def headers(self, event_id: bytes, source: str, at: int) -> Headers:
        """Return what :func:`headers` returns; ``at`` is in whole seconds since 1970."""
        day, rest = divmod(at, _A_DAY)
        minute, second = divmod(rest, 60)
        told = (self._days.get(day) or self._day(day)) + _MINUTES[minute] + _SECONDS[second]
        about = (self._templates.get(source) or self._template(source)).copy()
        about[_IDS_PLACE] = _ID, event_id
        about[_TIMES_PLACE] = _TIME, told
        return about

    def retyped(self, about: Headers) -> Headers:
        """Return ``about`` as made for another record of the same event."""
        retyped = about.copy()
        retyped[_TYPES_PLACE] = self._type
        return retyped

    def _template(self, source: str) -> Headers:
        template: Headers = [
            _VERSION,
            (_ID, b""),
            self._type,
            (_SOURCE, source.encode()),
            (_TIME, b""),
        ]
        return keep(self._templates, source, template)

    def _day(self, day: int) -> bytes:
        text = (_EPOCH + timedelta(days=day)).date().isoformat()
        return keep(self._days, day, f"{text}T".encode())
