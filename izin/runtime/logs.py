"""Structured logs with recipients masked, and repetitions of libraries counted.

Recipients are personal data (KVKK, Law 6698): no log line contains a complete one. A processor
masks every event, so that no field is forgotten.

What a library repeats is logged at first, and then each minute with the count: a client that
reconnects logs every attempt of every connection, and one that owns thousands of partitions the
same line for each of them. Our own events are never dropped.

Why a process cannot start is logged too: which settings are missing or wrong, without their values.
"""

import logging
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TextIO

import structlog
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from izin.consent import IzinError
from izin.runtime.masking import mask_event
from izin.runtime.settings import LogSettings
from izin.schemas.fast import BUILD, TO_COMPILE

COUNTED = ("repeated", "seconds")
"""The fields of a line that stands for several: how many, and within how long."""

_OURS = "izin"
_INTERVAL = 60.0
_MESSAGES = 500
"""How many different messages are kept apart; of more, the oldest are forgotten."""
_NUMBER = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}:\d+)|\d+")
"""A number, but for an address, which is the first group."""

_Key = tuple[str, int, str]
EXIT = 4
"""The exit status where a setting or a server is at fault: an operator must act."""


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


def configure(settings: LogSettings) -> None:
    """Write the logs of this process and of its libraries to standard error, masked."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.stdlib.PositionalArgumentsFormatter(),
        mask_event,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.json_lines
        else structlog.dev.ConsoleRenderer()
    )
    handler = RepeatHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=COUNTED), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for verbose in ("faust", "mode", "aiokafka", "httpx", "uvicorn.error"):
        logging.getLogger(verbose).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_thread
    remedy = {} if BUILD == "compiled" else {"to_compile": TO_COMPILE}
    get_logger(__name__).info("process started", hot_path=BUILD, **remedy)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    """Log an uncaught exception: Python's own hook would print recipients."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, where)
        return
    get_logger(__name__).critical("process crashed", exc_info=(kind, error, where))


def _log_thread(about: threading.ExceptHookArgs) -> None:
    """Log an exception that ended a thread."""
    if about.exc_value is not None:
        name = about.thread.name if about.thread else ""
        get_logger(__name__).critical("thread crashed", thread=name, exc_info=about.exc_value)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the structured logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def wrong_settings(error: ValidationError) -> str:
    """Return in words which settings are missing or wrong, without their values."""
    named = (f"{one['loc'][0]} ({_fault(one)})" for one in error.errors(include_input=False))
    return f"set in the environment: {', '.join(named)}"


def _fault(error: ErrorDetails) -> str:
    match error["type"]:
        case "missing":
            return "missing"
        case "value_error":  # of our own validators
            return str(error["ctx"]["error"])
        case _:
            # The rest may have values in it, whose case matters.
            return f"{error['msg'][:1].lower()}{error['msg'][1:]}"


@contextmanager
def exiting_on_error(event: str) -> Iterator[None]:
    """Log ``event`` with the reason where the block raises an error that an operator can act on,
    and exit with ``EXIT``.
    """
    try:
        yield
    except ValidationError as error:
        reason = wrong_settings(error)
    except (SettingsError, IzinError) as error:
        reason = str(error)
    else:
        return
    get_logger(__name__).error(event, error=reason)
    raise SystemExit(EXIT)
