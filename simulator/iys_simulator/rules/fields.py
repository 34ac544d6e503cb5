"""Field rules of a consent: checked before the register is looked at, all errors together.

Every wrong field of an item gives its errors, each with `location` and mostly `value`; an item that
is right gives a `Consent`. Pure: the instant is an argument. An address is judged as İYS does: a
phone needs only to be possible, so `+9005…` passes and is stored as sent; an e-mail is lower-cased.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from sys import intern
from typing import NamedTuple

import phonenumbers

from iys_simulator.clock import wire_text
from iys_simulator.errors.messages import REFUSALS, SOURCES
from iys_simulator.errors.responses import Error, error, error_at
from iys_simulator.rules.business_days import AcceptanceWindow, acceptance_window
from iys_simulator.settings import Settings
from iys_simulator.store.accounts import CHANNELS, Brand

RECIPIENT_TYPES = ("BIREYSEL", "TACIR")
STATUSES = ("ONAY", "RET")
PHONE_LENGTH = 15

_SOURCES = frozenset([*SOURCES.split(", "), "HS_KARAR"])
_KNOWN_FIELDS = frozenset(
    [
        "type",
        "source",
        "recipient",
        "status",
        "consentDate",
        "recipientType",
        "retailerCode",
        "retailerAccess",
    ]
)
_USUAL_FIELDS = _KNOWN_FIELDS - {"retailerCode", "retailerAccess"}
_said_alike = itemgetter(*sorted(_USUAL_FIELDS - {"recipient"}))
_FIRST_DATE = "2015-05-01 00:00:00"
_WIRE_DATE = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
# İYS's own pattern is not published; this follows what its documents say about it.
_EMAIL = re.compile(
    r"(?=.{6,265}\Z)[a-z0-9._+-]+@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", re.ASCII
)
# A Turkish number, or one with a zero too many: İYS takes the latter, and citizens never see it.
_TURKISH_PHONE = re.compile(r"\+900?[2-58]\d{9}", re.ASCII)


class Consent(NamedTuple):
    """An item whose fields are right; date and source are empty where a TACIR left them out."""

    type: str
    recipient_type: str
    recipient: str
    status: str
    source: str
    consent_date: str
    retailer_code: int | None = None
    retailer_access: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """Which record of the brand it speaks of: type, recipientType, recipient."""
        return (self.type, self.recipient_type, self.recipient)


@dataclass(frozen=True, kw_only=True, slots=True)
class Today:
    """What consents are judged against: now and the latest date (wire texts), and the switches.

    `window` is what H467 leaves open, if it applies.
    """

    now: str
    latest: str
    window: AcceptanceWindow | None
    settings: Settings

    @classmethod
    def at(cls, second: int, brand: Brand, settings: Settings) -> "Today":
        """Give the day of `second` (epoch seconds); no three-day rule before activation."""
        now = wire_text(second)
        window = acceptance_window(now[:10]) if brand.is_activated(now) else None
        latest = wire_text(second + int(settings.future_skew))
        return cls(now=now, latest=latest, window=window, settings=settings)

    def is_too_late(self, consent_date: str, status: object) -> bool:
        """Whether H467 refuses a consent of this date (wire text) and status."""
        if self.window is None or (status == "RET" and self.settings.late_applies_to == "ONAY"):
            return False
        sliding = self.settings.late_mode == "sliding"
        return self.window.is_too_late(consent_date, self.now, sliding=sliding)


def is_email(value: object) -> bool:
    """Whether `value` is an e-mail address İYS takes."""
    return isinstance(value, str) and _EMAIL.fullmatch(value.lower()) is not None


def is_phone(value: object, *, is_strict: bool = False) -> bool:
    """Tell whether İYS takes `value` as a phone: possible in E.164, Turkish ones by digits.

    Strictly it must be in use by the numbering plan too.
    """
    if not isinstance(value, str) or len(value) > PHONE_LENGTH:
        return False
    if is_strict:
        return _is_valid(value)
    if value.startswith("+90"):
        return _TURKISH_PHONE.fullmatch(value) is not None
    return _is_possible(value)


def saved_recipient(channel: str, recipient: str) -> str:
    """Give the address as İYS keeps it: e-mails in lower case, phones as sent."""
    return recipient.lower() if channel == "EPOSTA" else recipient


def read_consent(item: dict[str, object], today: Today) -> Consent | list[Error]:
    """Give the consent in `item`, or all its errors (H110-H122, H155-H163, H408, H467)."""
    channel, recipient = item.get("type"), item.get("recipient")
    source, status = item.get("source"), item.get("status")
    recipient_type = item.get("recipientType", "BIREYSEL")
    errors = _choice_errors(item, recipient_type)
    is_strict = today.settings.phone_check == "valid"
    if not _is_address(recipient, channel, is_strict=is_strict):
        errors += _recipient_errors(item, channel)
    if "consentDate" in item:
        errors += _date_errors(item["consentDate"], source, status, today)
    elif recipient_type != "TACIR":
        errors.append(error("H112", location=["consentDate"]))
    if not item.keys() <= _KNOWN_FIELDS:
        extra = sorted(item.keys() - _KNOWN_FIELDS)
        errors += [error_at("H118", name, item[name]) for name in extra]
    if "retailerAccess" in item:
        errors += _retailer_errors(item["retailerAccess"], today.settings.access_size)
    if errors:
        return errors
    retailer_code, access = item.get("retailerCode"), item.get("retailerAccess")
    # Interned: a million consents share their few words and dates, which is half their weight.
    return Consent(
        type=intern(str(channel)),
        recipient_type=intern(str(recipient_type)),
        recipient=saved_recipient(str(channel), str(recipient)),
        status=intern(str(status)),
        source=intern(str(item.get("source", ""))),
        consent_date=intern(str(item.get("consentDate", ""))),
        retailer_code=retailer_code if isinstance(retailer_code, int) else None,
        retailer_access=tuple(access) if isinstance(access, list) else (),
    )


class ListReader:
    """Reads the items of one list; what many of them say alike is judged once."""

    def __init__(self, today: Today) -> None:
        self._today = today
        self._is_strict = today.settings.phone_check == "valid"
        self._right: dict[tuple[object, ...], Consent] = {}

    def read(self, item: dict[str, object]) -> Consent | list[Error]:
        """Give what ``read_consent`` gives."""
        if len(item) != len(_USUAL_FIELDS):
            return read_consent(item, self._today)
        try:
            said, recipient = _said_alike(item), item["recipient"]
            like = self._right.get(said)
        except (KeyError, TypeError):  # another field, or a list where a word should be
            return read_consent(item, self._today)
        if like is not None and _is_address(recipient, like.type, is_strict=self._is_strict):
            saved = saved_recipient(like.type, str(recipient))
            return Consent(
                like.type, like.recipient_type, saved, like.status, like.source, like.consent_date
            )
        found = read_consent(item, self._today)
        if isinstance(found, Consent):
            self._right[said] = found
        return found


@lru_cache(maxsize=65536)
def _is_valid(value: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value, None))
    except phonenumbers.NumberParseException:
        return False


@lru_cache(maxsize=65536)
def _is_possible(value: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(value, None))
    except phonenumbers.NumberParseException:
        return False


def _missing_or_wrong(item: dict[str, object], name: str, missing: str, wrong: str) -> Error:
    if name not in item:
        return error(missing, location=[name])
    return error_at(wrong, name, item[name])


def _choice_errors(item: dict[str, object], recipient_type: object) -> list[Error]:
    errors = []
    source, status = item.get("source"), item.get("status")
    if item.get("type") not in CHANNELS:
        errors.append(_missing_or_wrong(item, "type", "H111", "H117"))
    if not _is_source(source) and not (recipient_type == "TACIR" and "source" not in item):
        errors.append(_missing_or_wrong(item, "source", "H113", "H119"))
    if status not in STATUSES:
        errors.append(_missing_or_wrong(item, "status", "H110", "H115"))
    elif source == "HS_KARAR" and status != "RET":
        errors.append(error_at("H408", "status", status))
    if recipient_type not in RECIPIENT_TYPES:
        errors.append(error_at("H116", "recipientType", recipient_type))
    return errors


def _is_source(value: object) -> bool:
    return isinstance(value, str) and value in _SOURCES


def _is_address(recipient: object, channel: object, *, is_strict: bool) -> bool:
    if channel == "EPOSTA":
        return is_email(recipient)
    return is_phone(recipient, is_strict=is_strict) or (
        channel not in CHANNELS and is_email(recipient)
    )


def _recipient_errors(item: dict[str, object], channel: object) -> list[Error]:
    recipient = item.get("recipient")
    if "recipient" not in item:
        return [error("H114", location=["recipient"])]
    if channel == "EPOSTA":
        return [error_at("H120", "recipient", recipient)]
    if channel not in CHANNELS:
        return [error_at("H122", "recipient", recipient)]
    too_long = isinstance(recipient, str) and len(recipient) > PHONE_LENGTH
    return [
        *([error_at("H160", "recipient", recipient)] if too_long else []),
        error_at("H121", "recipient", recipient),
    ]


def _date_errors(value: object, source: object, status: object, today: Today) -> list[Error]:
    if not isinstance(value, str) or _WIRE_DATE.fullmatch(value) is None:
        return [error_at("H158", "consentDate", value)]
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return [error_at("H157", "consentDate", value)]
    if value > today.latest:
        return [error_at("H162", "consentDate", value)]
    errors = [error_at("H156", "consentDate", value)] if value < _FIRST_DATE else []
    if source == "HS_2015" and value != _FIRST_DATE:
        errors.append(error_at("H155", "consentDate", value))
    # İYS's examples name H467 only where nothing else is wrong with the date.
    if not errors and today.is_too_late(value, status):
        errors.append(error_at("H467", "consentDate", value))
    return errors


def _retailer_errors(access: object, size: int) -> list[Error]:
    if not isinstance(access, list) or not access:
        return [error_at("H163", "retailerAccess", access)]
    if len(access) > size:
        text = REFUSALS["H126"].message.replace("3000", str(size))
        return [error_at("H126", "retailerAccess", access, message=text)]
    return []
