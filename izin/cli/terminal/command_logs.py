"""The logs of a command: warnings alone, on standard error, beside its result."""

import sys

import structlog

from izin.runtime.masking import mask_event


class WarningLogger(structlog.PrintLogger):
    """Prints warnings and worse: what goes as it should is no news to who reads a result."""

    def info(self, message: str) -> None:
        """Drop ``message``."""

    debug = info


def configure() -> None:
    """Have commands log so, unless something has configured logs already."""
    if not structlog.is_configured():
        *others, renderer = structlog.get_config()["processors"]
        structlog.configure(
            processors=[*others, structlog.processors.format_exc_info, mask_event, renderer],
            logger_factory=lambda *_: WarningLogger(sys.stderr),
        )
