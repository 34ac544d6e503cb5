"""What a sender asks: the body of a request, as JSON.

This table of fields is read by the endpoint and the docs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from izin.consent import (
    CHANNELS,
    CLASSES,
    RECIPIENT_TYPES,
    Channel,
    MessageClass,
    MessageKind,
    RecipientType,
    maker,
)
from izin.runtime.http_server.json_body import (
    CODE,
    BodyField,
    code_in,
    read_object,
    refused,
    text_in,
    word_in,
    word_or,
)
from izin.runtime.http_server.problems import (
    JSON_TYPE,
    ProblemText,
    RequestRefusedError,
    media_type,
)
from izin.schemas.consistency_token import LogPosition, OpaqueTextError, positions_of
from izin.schemas.may_send_api import LONGEST_TEXT, MOST_RECIPIENTS, ReceiptKind

_TEXT: Mapping[str, Any] = {"type": ["string", "null"], "maxLength": LONGEST_TEXT}
FIELDS = (
    BodyField(
        name="brand_code", schema=CODE, description="The brand that sends.", is_required=True
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
        schema={**CODE, "type": ["integer", "null"]},
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
    message_class = word_or(given, "message_class", _CLASSES, MessageClass.COMMERCIAL)
    is_exempt = CLASSES[message_class].kind is MessageKind.EXEMPT
    by_default = ReceiptKind.DECISION if len(recipients) == 1 else ReceiptKind.LIST
    return _question(
        brand_code=code_in(given, "brand_code"),
        channel=word_in(given, "type", CHANNELS),
        recipient_type=word_or(given, "recipient_type", RECIPIENT_TYPES, RecipientType.BIREYSEL),
        recipients=recipients,
        message_class=message_class,
        is_exempt=is_exempt,
        basis=text_in(given, "basis"),
        retailer_code=None
        if given.get("retailer_code") is None
        else code_in(given, "retailer_code"),
        campaign=text_in(given, "campaign"),
        receipt=word_or(given, "receipt", _RECEIPTS, by_default if is_exempt else None),
        at_least=_token(given.get("at_least")),
    )


def _json(content_type: str, body: bytes) -> Mapping[str, Any]:
    media_type(content_type, JSON_TYPE)
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise _too_many("more than that many")
    return read_object(content_type, body, _NAMES, page="docs/gate.md")


def _recipients(given: object) -> Sequence[str]:
    if not isinstance(given, list) or not given:
        raise refused("recipients", f"is a list of 1 to {MOST_RECIPIENTS} texts")
    if len(given) > MOST_RECIPIENTS:
        raise _too_many(len(given))
    for index, one in enumerate(given):
        if type(one) is not str:
            raise refused(f"recipients/{index}", "is no text; write numbers as texts too")
    return given


def _too_many(count: object) -> RequestRefusedError:
    return ProblemText(
        413,
        "Too many recipients",
        f"{count} recipients in one request; send at most {MOST_RECIPIENTS}",
    ).error()


def _token(given: object) -> tuple[LogPosition, ...] | None:
    if given is None:
        return None
    try:
        if isinstance(given, str):
            return positions_of(given)
    except OpaqueTextError:
        pass
    raise refused("at_least", "is no token of this release; send the token as it came")
