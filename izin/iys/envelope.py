"""İYS's refusals on the wire, and the error that each becomes.

The envelope is ``{"errors": [{code, message, location, value, index}]}``; a refusal may come flat as well, or under
``error``, and the key of its code may be ``code:``. Reading it never fails: what is not understood is no refusal, and
then, without an H-code, the HTTP status is all there is to go by.
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, assert_never

from izin.iys.answers import Refusal, Verdict, weightiest
from izin.iys.errors import (
    BusyError,
    MisconfiguredError,
    OutcomeUnknownError,
    RefusedError,
    ThrottledError,
    TokenSilenceError,
    UnauthenticatedError,
    UnreadableError,
)
from izin.iys.reading import Reader, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from izin.iys.errors import CallError

SECOND: Final = timedelta(seconds=1)
HOUR: Final = timedelta(hours=1)


def read_refusals(body: bytes) -> tuple[Refusal, ...]:
    """Return the refusals that ``body`` holds, in whichever shape; none if it holds none."""
    try:
        return tuple(_refusal(Reader(entry)) for entry in _entries(parse_json(body)))
    except UnreadableError:
        return ()


def error_of(name: str, status: int, body: bytes, *, writes: bool) -> CallError:
    """Return the error that an answer of ``status`` and ``body`` to the call ``name`` is."""
    refusals = read_refusals(body)
    verdict = weightiest(refusals)
    said = f"İYS answered {name} with {status}"
    match verdict:
        case Verdict.TOKEN:
            return UnauthenticatedError(said, refusals=refusals)
        case Verdict.TOKEN_SILENCE:
            return TokenSilenceError(said, refusals=refusals, retry_after=HOUR)
        case Verdict.THROTTLE:
            return ThrottledError(said, refusals=refusals, retry_after=SECOND)
        case Verdict.HOURLY:
            return ThrottledError(said, refusals=refusals, retry_after=HOUR)
        case Verdict.TRANSIENT:
            return BusyError(said, refusals=refusals)
        case Verdict.CONFIGURATION | Verdict.RIGHTS:
            if all(refusal.is_of_a_record for refusal in refusals):
                return RefusedError(said, refusals=refusals)
            return MisconfiguredError(said, refusals=refusals)
        case Verdict.QUOTA | Verdict.DATA | Verdict.EXPIRED | Verdict.ALREADY:
            return RefusedError(said, refusals=refusals)
        case Verdict.UNKNOWN | Verdict.SUCCESS:
            return _by_status(said, status, refusals, writes=writes)
        case _:
            assert_never(verdict)


def _by_status(said: str, status: int, refusals: tuple[Refusal, ...], *, writes: bool) -> CallError:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return UnauthenticatedError(said, refusals=refusals)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return ThrottledError(said, refusals=refusals, retry_after=SECOND)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY if refusals:
            return RefusedError(said, refusals=refusals)
        case _ if status < HTTPStatus.BAD_REQUEST and not refusals and writes:
            return OutcomeUnknownError(f"{said}, which is no answer we know")
        case _ if status < HTTPStatus.BAD_REQUEST:
            return UnreadableError(f"{said}, which is no answer we know", refusals=refusals)
        case _ if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return MisconfiguredError(said, refusals=refusals)
        case _ if writes:
            # Whoever stands before İYS gave up waiting; what stands behind may have gone on.
            return OutcomeUnknownError(said, refusals=refusals)
        case _:
            return BusyError(said, refusals=refusals)


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


def _refusal(reader: Reader) -> Refusal:
    location = reader.raw("location")
    parts = location if isinstance(location, list) else [location]
    return Refusal(
        code=reader.code() or "",
        message=reader.text_or_none("message") or "",
        location=tuple(part for part in parts if isinstance(part, str | int)),
        index=reader.whole_or_none("index"),
        value=reader.raw("value"),
    )
