"""A delivery of a foreign system, and the places in it where a mapping finds something.

::

    header:X-Shopify-Topic      a header, in any case
    query:key                   a parameter of the URL
    body                        the bytes of the body
    /customer/phone             in a record: a JSON pointer (RFC 6901)
    /Attributes/[key=email]     in a list: the element whose member has this value
    payload:/signature/token    in the whole payload, where records are parts of it

A body is JSON, or a form, which is read as an object of texts.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from izin.consent import SourceError

_SELECTED: Final = re.compile(r"\[([^=\]]+)=([^\]]*)\]")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,5}", re.ASCII)
_MOST_FIELDS: Final = 1000
_DEEPEST: Final = 100
"""What is nested deeper could be read, and not be written again: Python's stack ends in between."""
URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
NOTHING: Final = object()
"""What is at a place where there is nothing."""


class PayloadError(SourceError):
    """A body that is neither JSON nor a form; the text quotes nothing of it."""


class Delivery(NamedTuple):
    """One request of a foreign system."""

    headers: Mapping[str, str]
    """By name, in lower case."""
    query: Mapping[str, str]
    body: bytes

    def payload(self) -> Any:  # noqa: ANN401  # JSON
        """Return what the body says; raises PayloadError."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if kind == URLENCODED:
                text = self.body.decode("utf-8", "replace")
                return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
            found = json.loads(self.body.decode("utf-8-sig", "surrogateescape"))
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise PayloadError(f"the body is not JSON: {error.msg} at {where}") from None
        except (ValueError, RecursionError):
            raise PayloadError("the body is neither JSON nor a form that can be read") from None
        if _is_deep(found):
            raise PayloadError(f"the body is nested deeper than {_DEEPEST} lists and objects")
        return found


class Place(NamedTuple):
    """Where a mapping finds a value."""

    kind: str
    """``header``, ``query``, ``body``, ``payload``; "" for a pointer in a record."""
    name: str
    parts: tuple[str, ...]
    """Of a pointer."""

    def find(self, delivery: Delivery, payload: object, record: object) -> Any:  # noqa: ANN401  # any JSON
        """Return what is there; ``NOTHING`` where nothing is."""
        if not self.kind:  # most are
            return _pointed(record, self.parts)
        match self.kind:
            case "header":
                return delivery.headers.get(self.name, NOTHING)
            case "query":
                return delivery.query.get(self.name, NOTHING)
            case "body":
                return delivery.body
            case _:
                return _pointed(payload, self.parts)


@lru_cache(maxsize=1024)
def place_of(text: str) -> Place:
    """Return the place that a mapping has as ``text``; raises SourceError where it is none."""
    kind, colon, name = text.partition(":")
    if text == "body":
        return Place(text, "", ())
    if colon and name and kind in {"header", "query"}:
        return Place(kind, name.lower() if kind == "header" else name, ())
    kind, pointer = ("payload", name) if colon and kind == "payload" else ("", text)
    if pointer and not pointer.startswith("/"):
        raise SourceError(
            f'"{text}" is no place; places: /pointer, payload:/pointer, header:Name, query:name, '
            "body"
        )
    parts = pointer.split("/")[1:]
    return Place(kind, "", tuple(one.replace("~1", "/").replace("~0", "~") for one in parts))


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def _pointed(value: object, parts: tuple[str, ...]) -> object:
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part, NOTHING)
        elif isinstance(value, list):
            value = _element(value, part)
        else:
            return NOTHING
    return value


def with_value(value: object, parts: Sequence[str], other: object) -> object:
    """Return JSON with an ``other`` value at the place of a pointer, which is made in objects."""
    if not parts:
        return other
    first, *rest = parts
    if isinstance(value, list):
        found = _element(value, first)
        return [with_value(one, rest, other) if one is found else one for one in value]
    known = value if isinstance(value, dict) else {}
    return {**known, first: with_value(known.get(first), rest, other)}


def _element(values: list[object], name: str) -> object:
    if found := _SELECTED.fullmatch(name):
        member, wanted = found.groups()
        return next(
            (one for one in values if isinstance(one, dict) and str(one.get(member)) == wanted),
            NOTHING,
        )
    index = int(name) if _INDEX.fullmatch(name) else len(values)
    return values[index] if index < len(values) else NOTHING
