"""Reading İYS's JSON: whatever comes is checked here and becomes a value, or an UnreadableError.

İYS's documents contradict one another and production contradicts them (reference section 11):
spellings differ in case (``subRequestId``, ``subrequestId``), a key is literally ``code:``, numbers
come as strings. So keys are found whatever their case, and numbers and texts are taken in either
form. Times are Turkish (UTC+3, without summer time) on the wire and UTC inside.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson

from izin.iys.errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

TURKISH_TIME: Final = timezone(timedelta(hours=3), "TRT")
_FORMAT: Final = "%Y-%m-%d %H:%M:%S"


# A batch's items share their few dates and names, and reading each anew is half of the work.
@lru_cache(maxsize=4096)
def to_turkish(instant: datetime) -> str:
    """Return ``instant`` as İYS writes it, cut to whole seconds, for it has no finer clock."""
    return instant.astimezone(TURKISH_TIME).strftime(_FORMAT)


@lru_cache(maxsize=1024)  # a batch's thousand dates are a few seconds
def from_turkish(text: str) -> datetime:
    """Return the instant that İYS writes as ``text``, in UTC; raises UnreadableError."""
    try:
        # The zone follows at once: what İYS writes names none.
        local = datetime.strptime(text.strip()[:19], _FORMAT).replace(tzinfo=TURKISH_TIME)
    except ValueError:
        raise UnreadableError("a date that is not YYYY-MM-DD HH:mm:ss") from None
    return local.astimezone(UTC)


def parse_json(body: bytes) -> object:
    """Return the JSON in ``body``, None of an empty one; raises UnreadableError."""
    if not body.strip():
        return None
    try:
        return orjson.loads(body)
    except ValueError:
        raise UnreadableError(f"an answer of {len(body)} bytes that is not JSON") from None


class Reader:
    """One JSON object, its keys found whatever their case; empty texts count as absent."""

    __slots__ = ("_fields",)

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise UnreadableError(f"{type(value).__name__} where an object was expected")
        self._fields = {_plain(key): item for key, item in value.items()}

    def __len__(self) -> int:
        return len(self._fields)

    def raw(self, name: str) -> object:
        """Return the value of ``name`` as it came; None if absent."""
        value: object = self._fields.get(_plain(name))
        return None if value == "" else value

    def text(self, name: str) -> str:
        """Return the text of ``name``; raises UnreadableError if there is none."""
        found = self.text_or_none(name)
        if found is None:
            raise UnreadableError(f"{name} is missing")
        return found

    def text_or_none(self, name: str) -> str | None:
        """Return the text of ``name``, a number in its digits; None if absent."""
        value = self.raw(name)
        match value:
            case None:
                return None
            case bool():
                return str(value).lower()
            case str() | int() | float():
                return str(value).strip() or None
            case _:
                raise UnreadableError(f"{name} is a {type(value).__name__}, not a text")

    def whole(self, name: str) -> int:
        """Return the whole number of ``name``; raises UnreadableError if there is none."""
        found = self.whole_or_none(name)
        if found is None:
            raise UnreadableError(f"{name} is missing")
        return found

    def whole_or_none(self, name: str) -> int | None:
        """Return the whole number of ``name``, be it written as a text; None if absent."""
        text = self.text_or_none(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            raise UnreadableError(f"{name} is not a whole number") from None

    def truth_or_none(self, name: str) -> bool | None:
        """Return the truth of ``name``, be it written as a text; None if absent."""
        text = self.text_or_none(name)
        return None if text is None else text.lower() == "true"

    def instant(self, name: str) -> datetime:
        """Return the instant of ``name`` in UTC; raises UnreadableError if there is none."""
        return from_turkish(self.text(name))

    def instant_or_none(self, name: str) -> datetime | None:
        """Return the instant of ``name`` in UTC; None if absent or empty."""
        text = self.text_or_none(name)
        return None if text is None else from_turkish(text)

    def recipient(self, name: str = "recipient") -> str:
        """Return the recipient of ``name``; İYS writes e-mails in lower case, and so do we."""
        return lowered(self.text(name))

    def code(self) -> str | None:
        """Return the H-code under ``code``: ``H351``, ``h351``, ``351`` and 351 are one."""
        text = self.text_or_none("code")
        if text is None:
            return None
        return f"H{int(text):03d}" if text.isdecimal() else text.upper()

    def inner(self, name: str) -> Reader | None:
        """Return the object of ``name``; None if absent."""
        value = self.raw(name)
        return None if value is None else Reader(value)

    def each(self, name: str) -> Iterator[Reader]:
        """Return the objects in the list of ``name``; none if absent."""
        return readers(self.raw(name) or [])

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the texts in the list of ``name``; none if absent."""
        value = self.raw(name) or []
        if not isinstance(value, list):
            raise UnreadableError(f"{name} is a {type(value).__name__}, not a list")
        return tuple(str(item) for item in value)


@lru_cache(maxsize=1024)
def _plain(key: object) -> str:
    return str(key).rstrip(":").strip().lower()


def items_in(value: object) -> list[object]:
    """Return the items of a JSON list; raises UnreadableError if it is none."""
    if not isinstance(value, list):
        raise UnreadableError(f"{type(value).__name__} where a list was expected")
    return value


def readers(value: object) -> Iterator[Reader]:
    """Return the objects in a JSON list; raises UnreadableError if it is none."""
    return (Reader(item) for item in items_in(value))


def lowered(recipient: str) -> str:
    """Return an e-mail in lower case, a number as it is."""
    return recipient.lower() if "@" in recipient else recipient
