"""What a sender asks: the body of a request, as JSON.

This table of fields is read by the endpoint and the docs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from izin.consent import (
    CHANNELS,
    CLASSES,
    RECIPIENT_TYPES,
    Channel,
    MessageClass,
    MessageKind,
    RecipientType,
    clean,
    maker,
)
from izin.runtime.http_server.problems import (
    JSON_TYPE,
    ProblemText,
    RequestRefusedError,
    media_type,
)
from izin.schemas.consistency_token import LogPosition, OpaqueTextError, positions_of
from izin.schemas.may_send_api import LONGEST_TEXT, MOST_RECIPIENTS, ReceiptKind
from izin.schemas.words import MEANINGS

_GREATEST = 2**31 - 1

D = TypeVar("D")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyField:
    """A field of the body."""

    name: str
    schema: Mapping[str, Any]
    """JSON Schema."""
    description: str
    is_required: bool = False


_CODE: Mapping[str, Any] = {"type": "integer", "minimum": 1, "maximum": _GREATEST}
_TEXT: Mapping[str, Any] = {"type": ["string", "null"], "maxLength": LONGEST_TEXT}
FIELDS = (
    BodyField(
        name="brand_code", schema=_CODE, description="The brand that sends.", is_required=True
    ),
    BodyField(
        name="type",
        schema={"type": "string", "enum": list(map(str, Channel))},
        description="The channel: calls, text messages or e-mails.",
        is_required=True,
    ),
    BodyField(
        name="recipient_type",
        schema={"enum": [*map(str, RecipientType), None], "default": str(RecipientType.BIREYSEL)},
        description="TACIR for a merchant.",
    ),
    BodyField(
        name="recipients",
        schema={
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": MOST_RECIPIENTS,
        },
        description="Phone numbers, or e-mail addresses for EPOSTA, in any usual notation.",
        is_required=True,
    ),
    BodyField(
        name="message_class",
        schema={"enum": [*map(str, MessageClass), None], "default": str(MessageClass.COMMERCIAL)},
        description="What the message is about as a whole: see docs/messages.md.",
    ),
    BodyField(
        name="basis",
        schema=_TEXT,
        description="What the class rests on, such as the number of an order; kept in receipts.",
    ),
    BodyField(
        name="retailer_code",
        schema={**_CODE, "type": ["integer", "null"]},
        description="The retailer that sends; without it, the brand itself.",
    ),
    BodyField(
        name="campaign",
        schema=_TEXT,
        description="Your name of the campaign; kept in receipts.",
    ),
    BodyField(
        name="receipt",
        schema={"enum": [*map(str, ReceiptKind), None]},
        description="Keep the answer: list, in one record; decision, in one for each recipient. A "
        "message of an exempt class always has a receipt.",
    ),
    BodyField(
        name="at_least",
        schema={"type": ["string", "null"]},
        description="A token of the intake or of an earlier answer: answer by a state that "
        "reflects it, else stale.",
    ),
)
_NAMES = frozenset(field.name for field in FIELDS)
_MOST_VALUES = MOST_RECIPIENTS + 10_000
"""Of a body: a list of empty texts of 15 MB takes half a gigabyte, and a second of the event loop,
before its length is known. Other fields may have commas in them."""
_CLASSES = {str(one): one for one in MessageClass}
_RECEIPTS = {str(kind): kind for kind in ReceiptKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """Whether a message may be sent to recipients."""

    brand_code: int
    channel: Channel
    recipient_type: RecipientType
    recipients: Sequence[str]
    """As they were given."""
    message_class: MessageClass
    is_exempt: bool
    """Whether the class is exempt."""
    basis: str | None
    retailer_code: int | None
    campaign: str | None
    receipt: ReceiptKind | None
    at_least: tuple[LogPosition, ...] | None


_question = maker(AskedQuestion)


def read_question(content_type: str, body: bytes) -> AskedQuestion:
    """Return the question in ``body``.

    Raises:
        RequestRefusedError: the body is no question; it names the field, and no recipient.
    """
    given = _json(content_type, body)
    recipients = _recipients(given.get("recipients"))
    message_class = _word_or(given, "message_class", _CLASSES, MessageClass.COMMERCIAL)
    is_exempt = CLASSES[message_class].kind is MessageKind.EXEMPT
    by_default = ReceiptKind.DECISION if len(recipients) == 1 else ReceiptKind.LIST
    return _question(
        brand_code=_code(given, "brand_code"),
        channel=_word(given, "type", CHANNELS),
        recipient_type=_word_or(given, "recipient_type", RECIPIENT_TYPES, RecipientType.BIREYSEL),
        recipients=recipients,
        message_class=message_class,
        is_exempt=is_exempt,
        basis=_text(given, "basis"),
        retailer_code=None if given.get("retailer_code") is None else _code(given, "retailer_code"),
        campaign=_text(given, "campaign"),
        receipt=_word_or(given, "receipt", _RECEIPTS, by_default if is_exempt else None),
        at_least=_token(given.get("at_least")),
    )


def _json(content_type: str, body: bytes) -> Mapping[str, Any]:
    media_type(content_type, JSON_TYPE)
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise _too_many("more than that many")
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ProblemText(400, "Not JSON", f"the body is not JSON at {where}").error() from None
    if not isinstance(given, dict):
        raise ProblemText(
            422, "Not a question", "the body must be a JSON object; see docs/gate.md"
        ).error()
    if not given.keys() <= _NAMES:
        unknown = sum(one not in _NAMES for one in given)
        raise ProblemText(
            422,
            "Unknown field",
            f"{unknown} of the body's fields are unknown; there are {', '.join(sorted(_NAMES))}",
        ).error()
    return given


def _recipients(given: object) -> Sequence[str]:
    if not isinstance(given, list) or not given:
        raise _refused("recipients", f"is a list of 1 to {MOST_RECIPIENTS} texts")
    if len(given) > MOST_RECIPIENTS:
        raise _too_many(len(given))
    for index, one in enumerate(given):
        if type(one) is not str:
            raise _refused(f"recipients/{index}", "is no text; write numbers as texts too")
    return given


def _too_many(count: object) -> RequestRefusedError:
    return ProblemText(
        413,
        "Too many recipients",
        f"{count} recipients in one request; send at most {MOST_RECIPIENTS}",
    ).error()


def _code(given: Mapping[str, Any], name: str) -> int:
    value = given.get(name)
    if type(value) is not int or not 0 < value <= _GREATEST:
        raise _refused(name, f"is a number from 1 to {_GREATEST}")
    return value


def _word(given: Mapping[str, Any], name: str, known: Mapping[str, T]) -> T:
    value = given.get(name)
    found = known.get(value) if isinstance(value, str) else None
    if found is None and isinstance(value, str) and name in MEANINGS:
        found = known.get(MEANINGS[name][value])
    if found is None:
        raise _refused(name, f"is one of {', '.join(known)}")
    return found


def _word_or(given: Mapping[str, Any], name: str, known: Mapping[str, T], absent: D) -> T | D:
    return absent if given.get(name) is None else _word(given, name, known)


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise _refused(name, f"is a text of at most {LONGEST_TEXT} characters")
    return clean(value).strip() or None


def _token(given: object) -> tuple[LogPosition, ...] | None:
    if given is None:
        return None
    try:
        if isinstance(given, str):
            return positions_of(given)
    except OpaqueTextError:
        pass
    raise _refused("at_least", "is no token of this release; send the token as it came")


def _refused(name: str, what: str) -> RequestRefusedError:
    return ProblemText(422, "Field not usable", f"/{name} {what}").error()
