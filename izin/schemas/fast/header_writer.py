"""CloudEvents headers from templates: what the records of a name and a source share is made once.

The general paths are ``cloud_events.headers`` and ``cloud_events.derived_id``.
"""

from datetime import timedelta
from typing import Any, Final

from izin.schemas.cloud_events import CONTENT_TYPE, ID, SOURCE, TIME, TYPE, VERSION, Headers
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import EPOCH

_DAY: Final = 86_400
_MINUTES: Final = [f"{minute // 60:02}:{minute % 60:02}:".encode() for minute in range(24 * 60)]
_SECONDS: Final = [f"{second:02}+00:00".encode() for second in range(60)]
_SOURCE_INDEX: Final = 3
_TIME_INDEX: Final = 4


class HeaderWriter:
    """Makes the headers of records of the name ``record``, whose ids end in ``part``."""

    def __init__(self, record: str, part: str = "") -> None:
        # What records share is Any: compiled code would unpack a tuple and pack it again.
        self._version: Any = (VERSION[0], VERSION[1].encode())
        self._content_type: Any = (CONTENT_TYPE[0], CONTENT_TYPE[1].encode())
        self._type: Any = (TYPE, f"izin.{record}".encode())
        self._sources: dict[str, Any] = {}
        self._part = part.encode()
        self._days: dict[int, bytes] = {}
        self._topic, self._partition, self._between = "", -1, b""
        """Where the last event came from, and so mostly the next one."""

    def derived_id(self, event_id: bytes, topic: str, partition: int, offset: int) -> bytes:
        """Return what ``cloud_events.derived_id`` returns without a part."""
        if partition != self._partition or topic != self._topic:
            self._topic, self._partition = topic, partition
            self._between = f"/{topic}/{partition}/".encode()
        return b"%b%b%b" % (event_id, self._between, str(offset).encode())

    def headers(self, record_id: bytes, source: str, at: int) -> Headers:
        """Return what ``cloud_events.headers`` returns; ``at`` is in whole seconds since 1970."""
        # Not divmod, which compiled code would have to call.
        day, rest = at // _DAY, at % _DAY
        time = (self._days.get(day) or self._date(day)) + _MINUTES[rest // 60] + _SECONDS[rest % 60]
        made: list[Any] = [
            self._version,
            (ID, record_id),
            self._type,
            self._sources.get(source) or put(self._sources, source, (SOURCE, source.encode())),
            (TIME, time),
            self._content_type,
        ]
        return made

    def retyped(self, headers: Headers, record_id: bytes) -> Headers:
        """Return ``headers``, made with ``record_id`` for another record of the same event, for
        this one.
        """
        shared: list[Any] = headers
        made: list[Any] = [
            self._version,
            (ID, record_id + self._part),
            self._type,
            shared[_SOURCE_INDEX],
            shared[_TIME_INDEX],
            self._content_type,
        ]
        return made

    def _date(self, day: int) -> bytes:
        text = (EPOCH + timedelta(days=day)).date().isoformat()
        return put(self._days, day, f"{text}T".encode())
