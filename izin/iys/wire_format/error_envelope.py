"""İYS's error envelope, and the exception that each answer becomes.

The envelope is ``{"errors": [{code, message, location, value, index}]}``; an entry may also be the
whole body, or be under ``error``, and the key of its code may be ``code:``. Reading it never
fails: without a readable entry the HTTP status decides.
"""

from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from izin.iys.errors import (
    BusyError,
    CallError,
    MisconfiguredError,
    OutcomeUnknownError,
    Refusal,
    RefusedError,
    ThrottledError,
    TokenLimitError,
    UnauthenticatedError,
    UnreadableError,
    Verdict,
    decisive_verdict,
)
from izin.iys.wire_format.json_reader import JsonReader, parse_json

SECOND: Final = timedelta(seconds=1)
HOUR: Final = timedelta(hours=1)


_ERRORS: Final[dict[Verdict, tuple[type[CallError], timedelta | None]]] = {
    Verdict.TOKEN: (UnauthenticatedError, None),
    Verdict.TOKEN_LIMIT: (TokenLimitError, HOUR),
    Verdict.THROTTLE: (ThrottledError, SECOND),
    Verdict.HOURLY: (ThrottledError, HOUR),
    Verdict.TRANSIENT: (BusyError, None),
    Verdict.CONFIGURATION: (MisconfiguredError, None),
    Verdict.RIGHTS: (MisconfiguredError, None),
    Verdict.QUOTA: (RefusedError, None),
    Verdict.DATA: (RefusedError, None),
    Verdict.EXPIRED: (RefusedError, None),
    Verdict.ALREADY: (RefusedError, None),
}
_CLIENT_ERRORS: Final[dict[int, tuple[type[CallError], timedelta | None]]] = {
    HTTPStatus.BAD_REQUEST: (RefusedError, None),
    HTTPStatus.UNPROCESSABLE_ENTITY: (RefusedError, None),
    HTTPStatus.UNAUTHORIZED: (UnauthenticatedError, None),
    HTTPStatus.TOO_MANY_REQUESTS: (ThrottledError, SECOND),
}


_PREFIX = 16


def read_refusals(body: bytes) -> tuple[Refusal, ...]:
    """Return the entries of the error envelope in ``body``; empty if it is not one."""
    if body[:_PREFIX].lstrip().startswith(b"["):
        # A list of results, possibly long: no shape of the envelope is a list.
        return ()
    try:
        return tuple(_refusal(JsonReader(entry)) for entry in _entries(parse_json(body)))
    except UnreadableError:
        return ()


def error_of(name: str, status: int, body: bytes, *, writes: bool) -> CallError:
    """Return the exception for an answer of ``status`` and ``body`` to the call ``name``."""
    refusals = read_refusals(body)
    verdict = decisive_verdict(refusals)
    if verdict in _ERRORS:
        kind, retry_after = _ERRORS[verdict]
        if kind is MisconfiguredError and all(refusal.is_of_a_record for refusal in refusals):
            kind = RefusedError
    else:
        kind, retry_after = _by_status(status, has_refusals=bool(refusals), writes=writes)
    return kind(f"İYS answered {name} with {status}", refusals=refusals, retry_after=retry_after)


def _by_status(
    status: int, *, has_refusals: bool, writes: bool
) -> tuple[type[CallError], timedelta | None]:
    if status < HTTPStatus.BAD_REQUEST:
        return (OutcomeUnknownError if writes else UnreadableError), None
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        kind, retry_after = _CLIENT_ERRORS.get(status, (MisconfiguredError, None))
        # Without a reason there is nothing for the source to correct: an operator acts.
        lacks_reason = kind is RefusedError and not has_refusals
        return (MisconfiguredError if lacks_reason else kind), retry_after
    # A gateway may have given up waiting while İYS continued.
    return (OutcomeUnknownError if writes else BusyError), None


def _entries(content: object) -> Iterator[object]:
    if not isinstance(content, dict):
        return
    for key in ("errors", "error"):
        value = content.get(key)
        if isinstance(value, list):
            yield from value
            return
        if isinstance(value, dict):
            yield value
            return
    if "code" in content or "code:" in content:
        yield content


def _refusal(reader: JsonReader) -> Refusal:
    return Refusal(
        code=reader.code() or "",
        message=reader.text_or_none("message") or "",
        index=reader.integer_or_none("index"),
        value=reader.raw("value"),
    )
