"""Log events of what also runs in other teams' processes: Python's logging, and nothing set up.

The fields stand behind the event as ``name=value``; recipients are never among them.
"""

import logging

from izin.consent import visible


class PlainLogger:
    """Logs events with fields under the name of a module."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)

    def info(self, event: str, **fields: object) -> None:
        """Log what an operator may want to know."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log what may pass by itself."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log what a person must look at."""
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._log.isEnabledFor(level):
            words = (event, *(f"{name}={value}" for name, value in fields.items()))
            self._log.log(level, "%s", visible(" ".join(words)))
