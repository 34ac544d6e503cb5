"""CloudEvents headers from templates: what the records of a name and a source share is made once.

The general paths are ``cloud_events.headers`` and ``cloud_events.derived_id``.
"""

from datetime import timedelta
from typing import Final

from izin.schemas.cloud_events import ID, SOURCE, TIME, TYPE, VERSION, Headers
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import EPOCH

_DAY: Final = 86_400
_MINUTES: Final = [f"{minute // 60:02}:{minute % 60:02}:".encode() for minute in range(24 * 60)]
_SECONDS: Final = [f"{second:02}+00:00".encode() for second in range(60)]
_ID_INDEX: Final = 1
_TYPE_INDEX: Final = 2
_TIME_INDEX: Final = 4


class HeaderWriter:
    """Makes the headers of records of the name ``record``, whose ids end in ``part``."""

    def __init__(self, record: str, part: str = "") -> None:
        self._type = (TYPE, f"izin.{record}".encode())
        self._part = part.encode()
        self._templates: dict[str, Headers] = {}
        """By source."""
        self._days: dict[int, bytes] = {}
        self._places: dict[tuple[str, int], bytes] = {}

    def derived_id(self, event_id: bytes, topic: str, partition: int, offset: int) -> bytes:
        """Return what ``cloud_events.derived_id`` returns without a part."""
        place = topic, partition
        between = self._places.get(place) or put(
            self._places, place, f"/{topic}/{partition}/".encode()
        )
        return event_id + between + str(offset).encode()

    def headers(self, event_id: bytes, source: str, at: int) -> Headers:
        """Return what ``cloud_events.headers`` returns; ``at`` is in whole seconds since 1970."""
        day, rest = divmod(at, _DAY)
        minute, second = divmod(rest, 60)
        time = (self._days.get(day) or self._date(day)) + _MINUTES[minute] + _SECONDS[second]
        made = (self._templates.get(source) or self._template(source)).copy()
        made[_ID_INDEX] = ID, event_id
        made[_TIME_INDEX] = TIME, time
        return made

    def retyped(self, headers: Headers, record_id: bytes) -> Headers:
        """Return a copy of ``headers``, made with ``record_id`` for another record of the same
        event, for this one.
        """
        made = headers.copy()
        made[_ID_INDEX] = ID, record_id + self._part
        made[_TYPE_INDEX] = self._type
        return made

    def _template(self, source: str) -> Headers:
        template: Headers = [
            (VERSION[0], VERSION[1].encode()),
            (ID, b""),
            self._type,
            (SOURCE, source.encode()),
            (TIME, b""),
        ]
        return put(self._templates, source, template)

    def _date(self, day: int) -> bytes:
        text = (EPOCH + timedelta(days=day)).date().isoformat()
        return put(self._days, day, f"{text}T".encode())
