"""The body of a request, JSON or a web form, parsed into input records.

Fields have the names of the contract ``ConsentEvent``, and no others. What is ambiguous in the
notation itself, such as a duplicate key, is a violation of that record; a body without records is
an error of the request. Bytes that are no UTF-8 become halves of surrogate pairs, so they spoil the
text they are in and no other.
"""

import codecs
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from izin.consent import DateBasis, Violation, clean
from izin.producers.mapping.field_names import Field, printable, violation
from izin.producers.mapping.records import InputRecord, evidence_of, input_record, text_of
from izin.runtime.http_server.problems import (
    JSON_TYPE,
    ProblemText,
    RequestRefusedError,
    media_type,
)

FORM_TYPE = "application/x-www-form-urlencoded"

MAX_RECORDS = 1000
"""As many as İYS accepts in one batch."""

_BEGINS_JSON = (b"{", b"[")
ESCAPED = "surrogateescape"
"""How bytes that are no UTF-8 are decoded."""
_MAX_FIELDS = 100
ID, DATE_BASIS, EVIDENCE = "id", "date_basis", "evidence"
NAMES = dict.fromkeys((*Field, ID, DATE_BASIS, EVIDENCE))
"""Of the fields of a record, in the order of the docs."""
_FIELDS = {str(one): one for one in Field}
"""By name: the enum itself takes several times as long to find one."""
BASES = (DateBasis.STATED, DateBasis.RECEIVED)


def read_records(content_type: str, body: bytes) -> tuple[Sequence[InputRecord], bool]:
    """Return the records in ``body``, and whether it is a single one.

    Raises:
        RequestRefusedError: the body cannot be parsed.
    """
    if media_type(content_type, JSON_TYPE, FORM_TYPE) == JSON_TYPE:
        return _read_json(body)
    if body.lstrip()[:1] in _BEGINS_JSON:  # curl says so of whatever it posts
        raise ProblemText(
            415,
            "JSON sent as a form",
            f"for JSON send Content-Type: {JSON_TYPE}; the header says that it is a form",
        ).error()
    return _read_form(body)


class JsonPairs:
    """The pairs of a JSON object, so that duplicate keys are detected."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _no_constant(_name: str) -> NoReturn:
    raise ValueError


# Made once: a decoder costs as much as what it reads of a record.
_DECODER = json.JSONDecoder(object_pairs_hook=JsonPairs, parse_constant=_no_constant)


def _read_json(body: bytes) -> tuple[Sequence[InputRecord], bool]:
    try:
        found = _DECODER.decode(body.removeprefix(codecs.BOM_UTF8).decode("utf-8", ESCAPED))
    except json.JSONDecodeError as error:
        raise _not_json(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):
        raise _not_json("NaN, Infinity, huge numbers and deep nesting are not accepted") from None
    if isinstance(found, JsonPairs):
        return [record_of(found.pairs, is_live=False)], True
    if not isinstance(found, list) or not found:
        raise ProblemText(
            422, "Not a record", "the body must be a JSON object, or a list of 1 to 1000 objects"
        ).error()
    if len(found) > MAX_RECORDS:
        raise ProblemText(
            413,
            "Too many records",
            f"{len(found)} records in one request; send at most {MAX_RECORDS}",
        ).error()
    for index, one in enumerate(found):
        if not isinstance(one, JsonPairs):
            raise ProblemText(
                422, "Not a record", f"/{index} is not a JSON object; send objects"
            ).error()
    return [record_of(one.pairs, is_live=False) for one in found], False


def _not_json(what: str) -> RequestRefusedError:
    return ProblemText(400, "Not JSON", f"the body is not JSON: {what}").error()


def _read_form(body: bytes) -> tuple[Sequence[InputRecord], bool]:
    try:
        pairs = parse_qsl(
            body.decode("utf-8", ESCAPED),
            keep_blank_values=True,
            strict_parsing=True,
            errors=ESCAPED,
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise ProblemText(
            400,
            "Not a form",
            f"the body is not {FORM_TYPE} with at most {_MAX_FIELDS} fields",
        ).error() from None
    channels = dict.fromkeys(value for name, value in pairs if name == Field.TYPE)
    if len(channels) > 1:  # check boxes: one record for each channel
        rest = [pair for pair in pairs if pair[0] != Field.TYPE]
        records = [record_of([*rest, (Field.TYPE, channel)], is_live=True) for channel in channels]
        return records, False
    return [record_of(pairs, is_live=True)], True


def record_of(pairs: Iterable[tuple[str, Any]], *, is_live: bool) -> InputRecord:
    """Return the record that ``pairs`` of a field's name and its value are."""
    values: dict[str, str] = {}
    evidence: Mapping[str, str] = {}
    faults: list[Violation] = []
    for name, value in pairs:
        if name not in NAMES:
            faults.append(violation(printable(name), "H118"))
        elif name == EVIDENCE:
            evidence = evidence_of(value.pairs if isinstance(value, JsonPairs) else None, faults)
        else:
            text = text_of(name, value, faults)
            if values.setdefault(name, text) != text:
                # Ambiguous, so neither value is used.
                values[name] = ""
                faults.append(violation(name, "IZIN-TWICE", name=name))
    reference = clean(values.pop(ID, "")).strip() or None
    basis = values.pop(DATE_BASIS, "").strip().lower()
    if basis and basis not in BASES:
        faults.append(violation(DATE_BASIS, "IZIN-DATE-BASIS"))
    return input_record(
        values={_FIELDS[name]: text for name, text in values.items()},
        reference=reference,
        evidence=evidence,
        is_live=is_live or basis == DateBasis.RECEIVED,
        violations=tuple(faults),
        recipient_name=next(
            (field for field in (Field.PHONE, Field.EMAIL) if field in values), Field.RECIPIENT
        ),
    )
