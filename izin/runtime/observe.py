"""Structured logs with recipients masked.

Recipients are personal data (KVKK, Law 6698): no log line contains a complete one. A processor
masks every event, so that no field is forgotten.
"""

import logging
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from types import TracebackType

import structlog

from izin.runtime.repeated_logs import COUNTED, RepeatHandler
from izin.runtime.settings import LogSettings

_PHONE = re.compile(r"(?<!\d)(?!\d{4}-\d\d-\d\d)\+?\d[\d ()-]{7,17}\d")
_EMAIL = re.compile(r"[^\s@/\"'<>]+(?:@|%40)[^\s@/\"'<>]+")
_MASKED_KEYS = frozenset({"recipient", "recipient_raw", "recipients", "key", "keys"})
_UNMASKED_KEYS = frozenset({"timestamp", "level", "logger", "_record", "_from_structlog"})
_SHORT = 4


def mask(recipient: str) -> str:
    """Return ``recipient`` masked: country and last two digits, or first letter and domain."""
    local, at, domain = recipient.replace("%40", "@").partition("@")
    if at:
        return f"{local[:1]}***@{domain}"
    if len(recipient) <= _SHORT:
        return "***"
    return f"{recipient[:3]}***{recipient[-2:]}"


def mask_text(text: str) -> str:
    """Return ``text`` with everything in it that looks like a recipient masked."""
    text = _EMAIL.sub(lambda found: mask(found.group()), text)
    return _PHONE.sub(lambda found: mask(found.group()), text)


def _mask_event(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    for name, value in event.items():
        if name not in _UNMASKED_KEYS:
            event[name] = masked(name, value)
    return event


def masked(name: str, value: object) -> object:
    """Return ``value``, of any type, with everything masked that looks like a recipient."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, Mapping):
        return {masked("", one): masked(str(one), other) for one, other in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(name, one) for one in value]
    if name in _MASKED_KEYS:
        return _mask_key(_text(value))
    return value if isinstance(value, int) else mask_text(_text(value))


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    return str(value)


def _mask_key(value: str) -> str:
    head, slash, recipient = value.rpartition("/")
    return f"{head}{slash}{mask(recipient)}"


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
