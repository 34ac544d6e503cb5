"""CloudEvents 1.0, binary mode, Kafka binding: what happened can be told without decoding it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

Headers = list[tuple[str, str | bytes | None]]
"""As a Kafka client takes them."""

_ID, _TYPE, _SOURCE, _TIME = "ce_id", "ce_type", "ce_source", "ce_time"
_VERSION = ("ce_specversion", b"1.0")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_A_DAY = 86_400
_MINUTES = [f"{minute // 60:02}:{minute % 60:02}:".encode() for minute in range(24 * 60)]
_SECONDS = [f"{second:02}+00:00".encode() for second in range(60)]
_ENOUGH = 4096


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
        self._sources: dict[str, tuple[str, bytes]] = {}
        self._days: dict[int, bytes] = {}

    def headers(self, event_id: bytes, source: str, at: int) -> Headers:
        """Return what :func:`headers` returns; ``at`` is in whole seconds since 1970."""
        day, rest = divmod(at, _A_DAY)
        minute, second = divmod(rest, 60)
        return [
            _VERSION,
            (_ID, event_id),
            self._type,
            self._sources.get(source) or self._source(source),
            (_TIME, (self._days.get(day) or self._day(day)) + _MINUTES[minute] + _SECONDS[second]),
        ]

    def retyped(self, about: Headers) -> Headers:
        """Return ``about`` as made for another record of the same event."""
        version, event_id, _, source, time = about
        return [version, event_id, self._type, source, time]

    def _source(self, source: str) -> tuple[str, bytes]:
        if len(self._sources) >= _ENOUGH:
            self._sources.clear()
        return self._sources.setdefault(source, (_SOURCE, source.encode()))

    def _day(self, day: int) -> bytes:
        if len(self._days) >= _ENOUGH:
            self._days.clear()
        text = (_EPOCH + timedelta(days=day)).date().isoformat()
        return self._days.setdefault(day, f"{text}T".encode())
