"""Log once what a library repeats: at first, and then each minute with the count.

A client that reconnects logs every attempt of every connection, and one that owns thousands of
partitions the same line for each of them. Our own events are never dropped.
"""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

COUNTED = ("repeated", "seconds")
"""The fields of a line that stands for several: how many, and within how long."""

_OURS = "izin"
_INTERVAL = 60.0
_MESSAGES = 500
"""How many different messages are kept apart; of more, the oldest are forgotten."""
_NUMBER = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}:\d+)|\d+")
"""A number, but for an address, which is the first group."""

_Key = tuple[str, int, str]


@dataclass(slots=True)
class _Repetition:
    """A message, since when it was last logged, and how often it was dropped since."""

    text: str
    since: float
    dropped: int = 0


class RepeatHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream, and messages of libraries that differ in numbers only once a minute."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._repeated: OrderedDict[_Key, _Repetition] = OrderedDict()
        """The one that is due first comes first."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write what is due, and ``record`` unless it is a repetition."""
        now = self._clock()
        while self._repeated and self._is_due(now):
            self._end_first(now)
        if record.name.partition(".")[0] == _OURS:
            super().emit(record)
            return
        text = record.getMessage()
        key = (record.name, record.levelno, _NUMBER.sub(lambda found: found[1] or "#", text))
        repetition = self._repeated.get(key)
        if repetition is None:
            self._repeated[key] = _Repetition(text, now)
            super().emit(record)
        else:
            repetition.text = text
            repetition.dropped += 1

    def close(self) -> None:
        """Write what was counted."""
        while self._repeated:
            self._end_first(self._clock())
        super().close()

    def _is_due(self, now: float) -> bool:
        first = next(iter(self._repeated.values()))
        return len(self._repeated) > _MESSAGES or now - first.since >= _INTERVAL

    def _end_first(self, now: float) -> None:
        key, repetition = self._repeated.popitem(last=False)
        if not repetition.dropped:
            return
        name, level, _ = key
        counts = dict(
            zip(COUNTED, (repetition.dropped, round(now - repetition.since)), strict=True)
        )
        about = {"name": name, "levelno": level, "levelname": logging.getLevelName(level)}
        super().emit(logging.makeLogRecord({**about, "msg": repetition.text, **counts}))
        if now - repetition.since >= _INTERVAL:
            # It goes on, so the next one is a repetition too.
            self._repeated[key] = _Repetition(repetition.text, now)
