"""What clients of the API send: the bodies, and the parameter that names where an event is.

The tables of fields are read by the endpoint and the docs. Recipients are in bodies only: a URL
stands in access logs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from starlette.datastructures import QueryParams

from izin.consent import (
    CHANNELS,
    RECIPIENT_TYPES,
    Channel,
    ConsentKey,
    RecipientType,
    Violation,
    read_recipient,
)
from izin.iys.wire_format.via import ViaStart, ViaWay
from izin.kafka.tables.api_keys import outside
from izin.ledger.via import Occasion
from izin.producers.mapping.dates import (
    DateRules,
    UnreadableDateError,
    read_date,
    read_opt_out_date,
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
from izin.runtime.http_server.problems import ProblemText, RequestRefusedError
from izin.schemas.api_keys import ApiKey
from izin.schemas.consistency_token import LogPosition, OpaqueTextError, positions_of
from izin.schemas.may_send_api import LONGEST_TEXT

MAX_BODY = 16 * 1024
TOKEN = "token"  # noqa: S105  # the name of a parameter
_PAGE, _VIA_PAGE = "docs/api.md", "docs/via.md"
_CODE = re.compile(r"[0-9]{4,10}", re.ASCII)
_OF_PHONES = (Channel.ARAMA, Channel.MESAJ)
_TYPES = "types"
_RECIPIENT = BodyField(
    name="recipient",
    schema={"type": "string"},
    description="A phone number in any usual notation, or an e-mail address. Personal data.",
    is_required=True,
)
_CUT = (
    BodyField(
        name="brand_code",
        schema={**CODE, "type": ["integer", "null"]},
        description="The brand; without it, every brand of the API key.",
    ),
    BodyField(
        name=_TYPES,
        schema={
            "type": ["array", "null"],
            "items": {"type": "string", "enum": list(map(str, Channel))},
            "minItems": 1,
            "maxItems": len(Channel),
        },
        description="The channels; without them, every one that the recipient can have.",
    ),
)
LOOKUP = (_RECIPIENT, *_CUT)
CHANGE = (
    BodyField(
        name="recipient",
        schema={"type": "string"},
        description="The number or address that is the person's no longer. Personal data.",
        is_required=True,
    ),
    BodyField(
        name="new_recipient",
        schema={"type": "string"},
        description="The one that is instead. It is checked and stored nowhere: it has no consent.",
        is_required=True,
    ),
    *_CUT,
    BodyField(
        name="consent_date",
        schema={"type": ["string", "null"]},
        description="When it changed: Turkish time, or ISO 8601 with an offset. Without it: now.",
    ),
)
CONFIRMATION = (
    _RECIPIENT,
    BodyField(
        name="event_id",
        schema={"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
        description="The event by which the consent was given.",
        is_required=True,
    ),
    BodyField(
        name="confirmed_at",
        schema={"type": "string", "maxLength": LONGEST_TEXT},
        description="When the message went out that confirms the consent to the person: Turkish "
        "time, or ISO 8601 with an offset.",
        is_required=True,
    ),
)
VIA = (
    _RECIPIENT,
    BodyField(
        name="brand_code",
        schema=CODE,
        description="The brand that the consent is for.",
        is_required=True,
    ),
    BodyField(
        name=_TYPES,
        schema={**_CUT[1].schema, "type": "array"},
        description="The channels that the person is asked for: of a number ARAMA, MESAJ or both, "
        "of an address EPOSTA.",
        is_required=True,
    ),
    BodyField(
        name="recipient_type",
        schema={"enum": [*RECIPIENT_TYPES, None]},
        description="BIREYSEL, or TACIR for a merchant; without it BIREYSEL.",
    ),
    BodyField(
        name="way",
        schema={"enum": list(map(str, ViaWay))},
        description="How İYS asks: by a code or a link, in a text message or an e-mail.",
        is_required=True,
    ),
    BodyField(
        name="form_id",
        schema={"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
        description="The form that İYS shows, as its portal names it (VIA Yönetimi).",
        is_required=True,
    ),
    BodyField(
        name="occasion",
        schema={"enum": list(map(str, Occasion))},
        description="What the person is doing just now, by which they are asked: they fill in a "
        "form, change their account, stand in a shop, or have called.",
        is_required=True,
    ),
)
VIA_CODE = (
    BodyField(
        name="code",
        schema={"type": "string", "pattern": "^[0-9]{4,10}$"},
        description="What the person was sent. It is in no log, and kept until İYS has answered.",
        is_required=True,
    ),
)
_RULES = DateRules()
CLOCKS = timedelta(minutes=5)
"""How far the clock of a sender may differ from ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRecipient:
    """A recipient, and of which brands and channels."""

    recipient: str
    """In the form of keys."""
    brand_code: int | None
    channels: tuple[Channel, ...]

    def keys(self, key: ApiKey, customers: Mapping[int, str]) -> Iterator[ConsentKey]:
        """Yield the keys of it that are within the API ``key``; ``customers`` says whose each brand
        is today. What is outside is not even looked for.
        """
        codes = customers if self.brand_code is None else (self.brand_code,)
        for code, channel in product(sorted(codes), self.channels):
            customer_id = customers.get(code, "")
            if outside(key, customer_id=customer_id, brand_code=code, channel=channel) is None:
                for recipient_type in RecipientType:
                    yield ConsentKey(
                        brand_code=code,
                        channel=channel,
                        recipient_type=recipient_type,
                        recipient=self.recipient,
                    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientChange:
    """A recipient that is the person's no longer."""

    old: AskedRecipient
    consent_date: str | None
    """When it changed, as it was given; None: now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedConsent:
    """A consent that was confirmed to the person."""

    asked: AskedRecipient
    event_id: str
    confirmed_at: datetime


def read_lookup(content_type: str, body: bytes) -> AskedRecipient:
    """Return what ``body`` asks for.

    Raises:
        RequestRefusedError: it cannot be used; it names the field, and no recipient.
    """
    return _asked(read_object(content_type, body, _names(LOOKUP), page=_PAGE))


def read_change(content_type: str, body: bytes) -> RecipientChange:
    """Return the change in ``body``; raises as ``read_lookup``."""
    given = read_object(content_type, body, _names(CHANGE), page=_PAGE)
    old, new = _asked(given), _recipient(given, "new_recipient")
    if new == old.recipient:
        raise refused("new_recipient", "is the same as /recipient; nothing has changed")
    if ("@" in new) is not ("@" in old.recipient):
        raise refused("new_recipient", "is of another kind than /recipient; send both alike")
    date = text_in(given, "consent_date")
    if date is not None:
        try:
            read_opt_out_date(date, _RULES)
        except UnreadableDateError as error:
            raise refused("consent_date", f"cannot be read: {error.violation.reason}") from None
    return RecipientChange(old=old, consent_date=date)


def read_confirmation(content_type: str, body: bytes, now: datetime) -> ConfirmedConsent:
    """Return the confirmation in ``body``, none after ``now``; raises as ``read_lookup``."""
    given = read_object(content_type, body, _names(CONFIRMATION), page=_PAGE)
    asked, event_id = _asked(given), text_in(given, "event_id")
    if event_id is None:
        raise refused("event_id", "is the id of the event by which the consent was given")
    stated = text_in(given, "confirmed_at")
    if stated is None:
        raise refused("confirmed_at", "is needed: when the message went out")
    try:
        confirmed_at = read_date(stated, _RULES)
    except UnreadableDateError as error:
        raise refused("confirmed_at", f"cannot be read: {error.violation.reason}") from None
    if confirmed_at > now + CLOCKS:
        raise refused("confirmed_at", "is in the future; report it once the message went out")
    return ConfirmedConsent(asked=asked, event_id=event_id, confirmed_at=confirmed_at)


def read_via(content_type: str, body: bytes) -> tuple[ViaStart, Occasion]:
    """Return who is to be asked for consent, and on what occasion; raises as ``read_lookup``."""
    given = read_object(content_type, body, _names(VIA), page=_VIA_PAGE)
    if given.get(_TYPES) is None:
        raise refused(_TYPES, "is a list of what the person is asked for")
    asked, way = _asked(given), word_in(given, "way", {str(one): one for one in ViaWay})
    if not way.channels.issuperset(asked.channels):
        raise refused(
            "way", "is not for these types: a number is asked by SMS_…, an address by EPOSTA_…"
        )
    form_id = text_in(given, "form_id")
    if form_id is None:
        raise refused("form_id", "is the id of the form at İYS")
    start = ViaStart(
        brand_code=code_in(given, "brand_code"),
        recipient=asked.recipient,
        recipient_type=word_or(given, "recipient_type", RECIPIENT_TYPES, RecipientType.BIREYSEL),
        channels=asked.channels,
        way=way,
        form_id=form_id,
    )
    return start, word_in(given, "occasion", {str(one): one for one in Occasion})


def read_code(content_type: str, body: bytes) -> str:
    """Return the code of a person in ``body``; raises as ``read_lookup``."""
    given = read_object(content_type, body, _names(VIA_CODE), page=_VIA_PAGE).get("code")
    if not isinstance(given, str) or not _CODE.fullmatch(given):
        raise refused("code", "is a text of 4 to 10 digits, as the person was sent it")
    return given


def position_in(query: QueryParams, partitions: Mapping[str, int]) -> LogPosition:
    """Return where the event of a request is; ``partitions`` says how many each topic of events
    has.

    Raises:
        RequestRefusedError: its token is missing, or is not that of one event.
    """
    given = query.multi_items()
    if [name for name, _ in given] != [TOKEN]:
        raise _no_token("is needed once, and no other parameter")
    try:
        (position,) = positions_of(given[0][1])
    except (OpaqueTextError, ValueError):
        raise _no_token("is none of one event") from None
    if position.partition >= partitions.get(position.topic, 0):
        raise _no_token("is of another installation")
    return position


def _no_token(what: str) -> RequestRefusedError:
    remedy = "send the token that stood beside event_id in the response of the intake"
    return ProblemText(400, "Parameter not usable", f"{TOKEN} {what}; {remedy}").error()


def _names(fields: tuple[BodyField, ...]) -> frozenset[str]:
    return frozenset(field.name for field in fields)


def _asked(given: Mapping[str, Any]) -> AskedRecipient:
    recipient = _recipient(given, "recipient")
    possible: tuple[Channel, ...] = (Channel.EPOSTA,) if "@" in recipient else _OF_PHONES
    channels, listed = possible, given.get(_TYPES)
    if listed is not None:
        if not isinstance(listed, list) or not 0 < len(listed) <= len(Channel):
            raise refused(_TYPES, f"is a list of 1 to {len(Channel)} channels")
        words = {word_in({"type": word}, "type", CHANNELS) for word in listed}
        channels = tuple(channel for channel in possible if channel in words)
        if len(channels) < len(words):
            raise refused(_TYPES, f"can only be {' or '.join(possible)} for this recipient")
    code = None if given.get("brand_code") is None else code_in(given, "brand_code")
    return AskedRecipient(recipient=recipient, brand_code=code, channels=channels)


def _recipient(given: Mapping[str, Any], name: str) -> str:
    text = given.get(name)
    if not isinstance(text, str):
        raise refused(name, "is a text: a phone number or an e-mail address")
    found = read_recipient(text, Channel.EPOSTA if "@" in text else Channel.MESAJ)
    if isinstance(found, Violation):
        raise refused(name, f"is no recipient: {found.reason}")
    return found
