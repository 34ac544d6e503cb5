"""A lenient reader of İYS's JSON: every value is checked, or UnreadableError is raised.

İYS's documents contradict one another and production (reference section 11): keys differ in case
(``subRequestId``, ``subrequestId``), one is literally ``code:``, numbers come as strings. So keys
are case-insensitive, and numbers and texts are read in either form. Times are Turkish (UTC+3,
without summer time) on the wire and UTC inside.

The error envelope is ``{"errors": [{code, message, location, value, index}]}``; an entry may also
be the whole body, or be under ``error``, and the key of its code may be ``code:``. Reading it never
fails: without a readable entry the HTTP status decides which exception an answer becomes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple, TypeVar

import orjson

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

T = TypeVar("T")

TURKISH_TIME: Final = timezone(timedelta(hours=3), "TRT")
_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
_DIGITS: Final = 18
_NAME_FIELD: Final = "citizenname"
"""``citizenName``, folded."""
_DEEPEST: Final = 16
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


# The items of a batch share few dates; formatting each would be half of the work.
@lru_cache(maxsize=4096)
def to_turkish(instant: datetime) -> str:
    """Return ``instant`` as İYS writes it, truncated to whole seconds."""
    return instant.astimezone(TURKISH_TIME).strftime(_FORMAT)


@lru_cache(maxsize=1024)  # a thousand items have few distinct seconds
def from_turkish(text: str) -> datetime:
    """Return the instant of ``text``, ``YYYY-MM-DD HH:mm:ss`` in Turkish time, as UTC.

    Raises:
        UnreadableError: ``text`` is not such a date.
    """
    try:
        # The text names no zone.
        local = datetime.strptime(text.strip()[:19], _FORMAT).replace(tzinfo=TURKISH_TIME)
        return local.astimezone(UTC)
    except (ValueError, OverflowError):  # the first hours of year 1 lie before it in UTC
        raise UnreadableError("a date that is not YYYY-MM-DD HH:mm:ss") from None


def parse_json(body: bytes) -> object:
    """Return the JSON in ``body``; None if it is empty.

    A character that is none, in one text, must not cost the others: it is replaced by U+FFFD.

    Raises:
        UnreadableError: ``body`` is not JSON.
    """
    if not body.strip():
        return None
    try:
        return orjson.loads(body)
    except ValueError:
        pass
    try:
        text = body.decode("utf-8", "replace")
        return _mended(json.loads(text, strict=False, parse_int=_integer))
    except (ValueError, RecursionError):
        raise UnreadableError(f"an answer of {len(body)} bytes that is not JSON") from None


def _integer(digits: str) -> int | str:
    """Return an integer of 64 bits; a longer one stays a text, for orjson cannot write it."""
    return int(digits) if len(digits) <= _DIGITS else digits


def _mended(value: object) -> object:
    """Return ``value`` with U+FFFD in place of halves of surrogate pairs."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_mended(item) for item in value]
        case dict():
            return {_mended(name): _mended(item) for name, item in value.items()}
        case _:
            return value


class JsonReader:
    """One JSON object with case-insensitive keys; an empty text counts as absent.

    Every method raises UnreadableError where the value has another type, and those without
    ``_or_none`` where it is absent.
    """

    __slots__ = ("_fields",)

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise UnreadableError(f"{type(value).__name__} where an object was expected")
        self._fields = {_folded(key): item for key, item in value.items()}

    def raw(self, name: str) -> object:
        """Return the value of ``name`` as it is; None if absent."""
        value: object = self._fields.get(_folded(name))
        return None if value == "" else value

    def text(self, name: str) -> str:
        """Return the text of ``name``."""
        return _present(name, self.text_or_none(name))

    def text_or_none(self, name: str) -> str | None:
        """Return the text of ``name`` without NUL, or its number as text; None if absent."""
        value = self.raw(name)
        match value:
            case None:
                return None
            case bool():
                return str(value).lower()
            case str() | int() | float():
                return str(value).replace("\0", "").strip() or None
            case _:
                raise UnreadableError(f"{name} is a {type(value).__name__}, not a text")

    def integer(self, name: str) -> int:
        """Return the integer of ``name``."""
        return _present(name, self.integer_or_none(name))

    def integer_or_none(self, name: str) -> int | None:
        """Return the integer of ``name``, which may be written as text; None if absent."""
        text = self.text_or_none(name)
        if text is None:
            return None
        if len(text) > _DIGITS or not text.removeprefix("-").isdecimal():
            raise UnreadableError(f"{name} is not an integer")
        return int(text)

    def boolean_or_none(self, name: str) -> bool | None:
        """Return the boolean of ``name``, which may be written as text; None if absent."""
        text = self.text_or_none(name)
        return None if text is None else text.lower() == "true"

    def instant(self, name: str) -> datetime:
        """Return the instant of ``name`` in UTC."""
        return from_turkish(self.text(name))

    def instant_or_none(self, name: str) -> datetime | None:
        """Return the instant of ``name`` in UTC; None if absent."""
        text = self.text_or_none(name)
        return None if text is None else from_turkish(text)

    def recipient(self) -> str:
        """Return the recipient, an e-mail address in lower case."""
        return lower_case_email(self.text("recipient"))

    def code(self) -> str | None:
        """Return the H-code of ``code``: ``H351``, ``h351``, ``351`` and 351 are the same."""
        text = self.text_or_none("code")
        if text is None:
            return None
        return f"H{text.lstrip('0').zfill(3)}" if text.isdecimal() else text.upper()

    def object_or_none(self, name: str) -> JsonReader | None:
        """Return the object of ``name``; None if absent."""
        value = self.raw(name)
        return None if value is None else JsonReader(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the texts in the list of ``name``; empty if absent."""
        return tuple(map(str, items_in(self.raw(name) or [])))


def _present(name: str, found: T | None) -> T:
    if found is None:
        raise UnreadableError(f"{name} is missing")
    return found


@lru_cache(maxsize=1024)
def _folded(key: object) -> str:
    return str(key).rstrip(":").strip().lower()


def items_in(value: object) -> list[object]:
    """Return the items of a JSON list; raises UnreadableError if ``value`` is not a list."""
    if not isinstance(value, list):
        raise UnreadableError(f"{type(value).__name__} where a list was expected")
    return value


def readers(value: object) -> Iterator[JsonReader]:
    """Return the objects in a JSON list; raises UnreadableError if ``value`` is not a list."""
    return (JsonReader(item) for item in items_in(value))


class UnreadableItem(NamedTuple):
    """An item of a list that cannot be read, as İYS wrote it; its neighbours are read."""

    raw: bytes
    """Its JSON, without the names of citizens: they are personal data that nobody needs."""
    error: str


def read_each(
    value: object, read: Callable[[JsonReader], T]
) -> tuple[tuple[T, ...], tuple[UnreadableItem, ...]]:
    """Return what ``read`` makes of the objects in a JSON list, and the items it cannot read.

    Raises:
        UnreadableError: ``value`` is not a list.
    """
    found, unreadable = [], []
    for item in items_in(value):
        try:
            found.append(read(JsonReader(item)))
        except UnreadableError as error:
            unreadable.append(UnreadableItem(orjson.dumps(_nameless(item)), str(error)))
    return tuple(found), tuple(unreadable)


def _nameless(value: object, depth: int = 0) -> object:
    """Return ``value`` without the names of citizens; what lies deeper than in any item of İYS is
    left out.
    """
    match value:
        case list() | dict() if depth == _DEEPEST:
            return None
        case list():
            return [_nameless(item, depth + 1) for item in value]
        case dict():
            return {
                key: _nameless(item, depth + 1)
                for key, item in value.items()
                if _folded(key) != _NAME_FIELD
            }
        case _:
            return value


def lower_case_email(recipient: str) -> str:
    """Return an e-mail address in lower case, a phone number as it is."""
    return recipient.lower() if "@" in recipient else recipient


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
