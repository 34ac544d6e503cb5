"""How a failed call is logged: not while the same was said already."""

from structlog.stdlib import BoundLogger

from izin.iys.errors import CallError


def log_failed(log: BoundLogger, event: str, error: CallError | None, **fields: object) -> None:
    """Warn that a call failed with ``error``; where İYS answers nothing at all, which is an event
    of its own, that is no more than a line for whoever looks for faults.
    """
    write = log.debug if error is not None and error.is_repeated else log.warning
    write(event, **{"error": str(error), **fields})
