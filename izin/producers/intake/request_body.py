"""The body of a request, JSON or a web form, parsed into input records.

Every field must be known by name. What is ambiguous in the notation itself, such as a duplicate
key, is a violation of that record; a body without records is an error of the request. Bytes that
are no UTF-8 become halves of surrogate pairs, so they spoil the text they are in and no other.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

from izin.consent.model import DateBasis
from izin.consent.texts import clean, has_surrogate
from izin.consent.violations import Violation
from izin.producers.mapping.field_names import JSON_NAMES, Field, field_of, fold
from izin.producers.mapping.violations import MAX_EVIDENCE, printable, violation
from izin.runtime.http_server.problems import RequestRefusedError

Name = TypeVar("Name", bound=str)

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"

MAX_RECORDS = 1000
"""As many as İYS accepts in one batch."""

_BEGINS_JSON = (b"{", b"[")
_ESCAPED = "surrogateescape"
_MAX_FIELDS = 100
_EVIDENCE = "evidence"
_ID_NAMES = frozenset({"id", "eventid"})
_BASIS_NAME = "datebasis"
_BASES = frozenset({DateBasis.STATED, DateBasis.RECEIVED})
_MAX_NAME = 40
"""The longest field name of a sender that is repeated in a response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRecord:
    """One record of a body: its fields as text, and what is wrong with the notation."""

    values: Mapping[Field, str]
    reference: str | None
    """The sender's own id of this record."""
    evidence: Mapping[str, str]
    is_live: bool
    """The recipient acts right now."""
    violations: tuple[Violation, ...]
    names: Mapping[str, str]
    """The sender's name of each field, or the JSON name of an absent one."""


def read_records(content_type: str, body: bytes) -> tuple[Sequence[InputRecord], bool]:
    """Return the records in ``body``, and whether it is a single one.

    Raises:
        RequestRefusedError: the body cannot be parsed.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == JSON_TYPE:
        return _read_json(body)
    if media_type == FORM_TYPE:
        if body.lstrip()[:1] in _BEGINS_JSON:  # curl says so of whatever it posts
            raise RequestRefusedError(
                415,
                "JSON sent as a form",
                f"for JSON send Content-Type: {JSON_TYPE}; the header says that it is a form",
            )
        return _read_form(body)
    raise RequestRefusedError(
        415,
        "Unsupported content type",
        f"Content-Type must be {JSON_TYPE} or {FORM_TYPE}; set the header to what the body is",
    )


class _Pairs:
    """The pairs of a JSON object, so that duplicate keys are detected."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _read_json(body: bytes) -> tuple[Sequence[InputRecord], bool]:
    try:
        found = json.loads(
            body.decode("utf-8-sig", _ESCAPED),
            object_pairs_hook=_Pairs,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        raise _not_json(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):
        raise _not_json("NaN, Infinity, huge numbers and deep nesting are not accepted") from None
    if isinstance(found, _Pairs):
        return [_of_pairs(found.pairs, is_live=False)], True
    if not isinstance(found, list) or not found:
        raise RequestRefusedError(
            422, "Not a record", "the body must be a JSON object, or a list of 1 to 1000 objects"
        )
    if len(found) > MAX_RECORDS:
        raise RequestRefusedError(
            413,
            "Too many records",
            f"{len(found)} records in one request; send at most {MAX_RECORDS}",
        )
    for index, one in enumerate(found):
        if not isinstance(one, _Pairs):
            raise RequestRefusedError(
                422, "Not a record", f"/{index} is not a JSON object; send objects"
            )
    return [_of_pairs(one.pairs, is_live=False) for one in found], False


def _no_constant(_name: str) -> NoReturn:
    raise ValueError


def _not_json(what: str) -> RequestRefusedError:
    return RequestRefusedError(400, "Not JSON", f"the body is not JSON: {what}")


def _read_form(body: bytes) -> tuple[Sequence[InputRecord], bool]:
    try:
        pairs = parse_qsl(
            body.decode("utf-8", _ESCAPED),
            keep_blank_values=True,
            strict_parsing=True,
            errors=_ESCAPED,
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise RequestRefusedError(
            400,
            "Not a form",
            f"the body is not {FORM_TYPE} with at most {_MAX_FIELDS} fields",
        ) from None
    channels = {value: name for name, value in pairs if field_of(name) is Field.TYPE}
    if len(channels) > 1:  # check boxes: one record for each channel
        rest = [one for one in pairs if field_of(one[0]) is not Field.TYPE]
        records = [
            _of_pairs([*rest, (name, channel)], is_live=True) for channel, name in channels.items()
        ]
        return records, False
    return [_of_pairs(pairs, is_live=True)], True


def _of_pairs(pairs: Iterable[tuple[str, Any]], *, is_live: bool) -> InputRecord:
    values: dict[Field, str] = {}
    own: dict[str, str] = {}
    evidence: Mapping[str, str] = {}
    faults: list[Violation] = []
    names: dict[str, str] = {}
    for name, value in pairs:
        folded, known = fold(name), field_of(name)
        if folded == _EVIDENCE:
            evidence = _evidence(value, faults)
            continue
        text = _text(name, value, faults)
        if known is not None:
            _put(values, known, text, faults)
            if len(name) <= _MAX_NAME and not has_surrogate(name):
                names[known] = name
        elif folded in _ID_NAMES:
            _put(own, "id", text, faults)
        elif folded == _BASIS_NAME:
            _put(own, _BASIS_NAME, text, faults)
        else:
            faults.append(violation(printable(name), "H118"))
    basis = own.get(_BASIS_NAME, "").strip().lower()
    if basis and basis not in _BASES:
        faults.append(violation("dateBasis", "IZIN-DATE-BASIS"))
    return InputRecord(
        values=values,
        reference=clean(own.get("id", "")).strip() or None,
        evidence=MappingProxyType(dict(evidence)),
        is_live=is_live or basis == DateBasis.RECEIVED,
        violations=tuple(faults),
        names=_names(names),
    )


def _names(given: Mapping[str, str]) -> Mapping[str, str]:
    # A violation of the recipient names whichever of three fields was sent.
    recipient = next((given[one] for one in (Field.PHONE, Field.EMAIL) if one in given), None)
    called = {} if recipient is None else {Field.RECIPIENT: recipient}
    return MappingProxyType({**JSON_NAMES, **called, **given})


def _put(into: dict[Name, str], name: Name, text: str, faults: list[Violation]) -> None:
    before = into.setdefault(name, text)
    if before != text:
        # Ambiguous, so neither value is used.
        into[name] = ""
        faults.append(violation(name, "IZIN-TWICE", name=name))


def _text(name: str, value: object, faults: list[Violation]) -> str:
    """Return a scalar as text, and a list of numbers, such as retailerAccess, joined by spaces."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case list() if all(isinstance(one, int) and not isinstance(one, bool) for one in value):
            return " ".join(map(str, value))
        case _:
            faults.append(violation(printable(name), "IZIN-TYPE"))
            return ""


def _evidence(value: object, faults: list[Violation]) -> Mapping[str, str]:
    pairs = value.pairs if isinstance(value, _Pairs) else None
    fits = pairs is not None and all(isinstance(one, str | int) for _, one in pairs)
    if pairs is None or not fits or sum(len(str(one)) for _, one in pairs) > MAX_EVIDENCE:
        faults.append(violation("evidence", "IZIN-EVIDENCE", longest=MAX_EVIDENCE))
        return {}
    return {clean(name): clean(str(one)) for name, one in pairs}
