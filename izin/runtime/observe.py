"""Structured logs with recipients masked.

Recipients are personal data (KVKK, Law 6698): no log line contains a complete one. A processor
masks every event, so that no field is forgotten.
"""

import logging
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType

import structlog

from izin.runtime.masking import masked
from izin.runtime.repeated_logs import COUNTED, RepeatHandler
from izin.runtime.settings import LogSettings

_UNMASKED_KEYS = frozenset({"timestamp", "level", "logger", "_record", "_from_structlog"})


def _mask_event(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    for name, value in event.items():
        if name not in _UNMASKED_KEYS:
            event[name] = masked(name, value)
    return event


def configure(settings: LogSettings) -> None:
    """Write the logs of this process and of its libraries to standard error, masked."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.stdlib.PositionalArgumentsFormatter(),
        _mask_event,
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
