"""Report why a process cannot start: which settings are missing or wrong, without their values."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from izin.consent import IzinError
from izin.runtime.logs import get_logger

EXIT = 4
"""The exit status where a setting or a server is at fault: an operator must act."""

_log = get_logger(__name__)


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
    _log.error(event, error=reason)
    raise SystemExit(EXIT)
