"""CloudEvents headers from templates: what the records of a name and a source share is made once.

They are made as the bytes of a record (``record_format``). The general paths are
``records.headers`` and ``records.derived_id``.
"""

from datetime import timedelta
from typing import Final

from izin.schemas.fast.cache import put
from izin.schemas.fast.record_format import header_bytes
from izin.schemas.fast.writer import EPOCH, long_bytes
from izin.schemas.records import CONTENT_TYPE, ID, SOURCE, TIME, TYPE, VERSION

_DAY: Final = 86_400
_MINUTES: Final = [f"{minute // 60:02}:{minute % 60:02}:".encode() for minute in range(24 * 60)]
_SECONDS: Final = [f"{second:02}+00:00".encode() for second in range(60)]
_COUNT: Final = 6
_TIME_START: Final = header_bytes(TIME, bytes(25))[:-25]
"""An instant takes 25 bytes."""
_START: Final = long_bytes(_COUNT) + header_bytes(*VERSION) + long_bytes(len(ID)) + ID.encode()
_END: Final = header_bytes(*CONTENT_TYPE)


class HeaderWriter:
    """Makes the headers of records of the name ``record``, whose ids end in ``part``."""

    def __init__(self, record: str, part: str = "") -> None:
        self._type = header_bytes(TYPE, f"izin.{record}")
        self._sources: dict[str, bytes] = {}
        self._part = part.encode()
        self._days: dict[int, bytes] = {}
        self._topic, self._partition, self._between = "", -1, b""
        """Where the last event came from, and so mostly the next one."""

    def derived_id(self, event_id: bytes, topic: str, partition: int, offset: int) -> bytes:
        """Return what ``records.derived_id`` returns without a part."""
        if partition != self._partition or topic != self._topic:
            self._topic, self._partition = topic, partition
            self._between = f"/{topic}/{partition}/".encode()
        return b"%b%b%b" % (event_id, self._between, str(offset).encode())

    def shared(self, source: str, at: int) -> bytes:
        """Return what all records of an event have in common; ``at`` is in whole seconds since
        1970.
        """
        # Not divmod, which compiled code would have to call.
        day, rest = at // _DAY, at % _DAY
        return b"%b%b%b%b%b%b" % (
            self._sources.get(source) or put(self._sources, source, header_bytes(SOURCE, source)),
            _TIME_START,
            self._days.get(day) or self._date(day),
            _MINUTES[rest // 60],
            _SECONDS[rest % 60],
            _END,
        )

    def headers(self, record_id: bytes, shared: bytes) -> bytes:
        """Return the headers of the record that is made of the one with ``record_id``."""
        size = long_bytes(len(record_id) + len(self._part))
        return b"%b%b%b%b%b%b" % (_START, size, record_id, self._part, self._type, shared)

    def _date(self, day: int) -> bytes:
        text = (EPOCH + timedelta(days=day)).date().isoformat()
        return put(self._days, day, f"{text}T".encode())
