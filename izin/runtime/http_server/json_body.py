"""The fields of a JSON body: an object of known names, codes, texts and words.

What cannot be used is refused by its name, with what would be right; no value is quoted, which may
be a recipient. Words are those of every way in (:mod:`izin.schemas.words`).
"""

from collections.abc import Mapping, Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from izin.consent import clean
from izin.runtime.http_server.problems import (
    JSON_TYPE,
    ProblemText,
    RequestRefusedError,
    media_type,
)
from izin.schemas.may_send_api import LONGEST_TEXT
from izin.schemas.words import MEANINGS

_GREATEST = 2**31 - 1
CODE: Mapping[str, Any] = {"type": "integer", "minimum": 1, "maximum": _GREATEST}
"""The JSON Schema of a code."""

D = TypeVar("D")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyField:
    """A field of a body, as endpoint and docs read it."""

    name: str
    schema: Mapping[str, Any]
    """JSON Schema."""
    description: str
    is_required: bool = False


def read_object(
    content_type: str, body: bytes, names: AbstractSet[str], *, page: str
) -> Mapping[str, Any]:
    """Return the JSON object in ``body``, which has no other fields than ``names``; ``page``
    documents it.

    Raises:
        RequestRefusedError: it is none (400, 415, 422).
    """
    media_type(content_type, JSON_TYPE)
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ProblemText(400, "Not JSON", f"the body is not JSON at {where}").error() from None
    if not isinstance(given, dict):
        raise ProblemText(
            422, "Not a question", f"the body must be a JSON object; see {page}"
        ).error()
    if not given.keys() <= names:
        unknown = sum(name not in names for name in given)
        raise ProblemText(
            422,
            "Unknown field",
            f"{unknown} of the body's fields are unknown; there are {', '.join(sorted(names))}",
        ).error()
    return given


def code_in(given: Mapping[str, Any], name: str) -> int:
    """Return the code ``name``. Raises RequestRefusedError, as the next do."""
    value = given.get(name)
    if type(value) is not int or not 0 < value <= _GREATEST:
        raise refused(name, f"is a number from 1 to {_GREATEST}")
    return value


def word_in(given: Mapping[str, Any], name: str, known: Mapping[str, T]) -> T:
    """Return what the word ``name`` means among those ``known``."""
    value = given.get(name)
    found = known.get(value) if isinstance(value, str) else None
    if found is None and isinstance(value, str) and name in MEANINGS:
        found = known.get(MEANINGS[name][value])
    if found is None:
        raise refused(name, f"is one of {', '.join(known)}")
    return found


def word_or(given: Mapping[str, Any], name: str, known: Mapping[str, T], absent: D) -> T | D:
    """Return the same, and ``absent`` where there is none."""
    return absent if given.get(name) is None else word_in(given, name, known)


def text_in(given: Mapping[str, Any], name: str) -> str | None:
    """Return the text ``name``, clean; None where there is none."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise refused(name, f"is a text of at most {LONGEST_TEXT} characters")
    return clean(value).strip() or None


def refused(name: str, what: str) -> RequestRefusedError:
    """Return why the field ``name`` cannot be used: ``what`` it has to be."""
    return ProblemText(422, "Field not usable", f"/{name} {what}").error()
