"""Recipients: which phone numbers and e-mail addresses İYS accepts, and how it stores them.

A phone number needs only to be possible, so `+9005…` passes and is stored as it was sent. An e-mail
address is stored in lower case.
"""

import re
from functools import lru_cache

import phonenumbers

from iys_simulator.rules.consent import CHANNELS

PHONE_LENGTH = 15

# İYS's own pattern is not published; this follows what its documents say about it.
_EMAIL = re.compile(
    r"(?=.{6,265}\Z)[a-z0-9._+-]+@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}",
    re.ASCII | re.IGNORECASE,
)
# E.164 as İYS means it: no spaces, no brackets, ASCII digits. phonenumbers would accept all these.
_E164 = re.compile(r"\+[1-9]\d+", re.ASCII)
# A Turkish number, or one with a zero too many: İYS accepts the latter, although no citizen can
# ever look it up.
_TURKISH_PHONE = re.compile(r"\+900?[2-58]\d{9}", re.ASCII)


def is_email(value: object) -> bool:
    """Return whether İYS accepts `value` as an e-mail address."""
    return isinstance(value, str) and _EMAIL.fullmatch(value) is not None


def is_phone(value: object, *, is_strict: bool = False) -> bool:
    """Return whether İYS accepts `value` as a phone number.

    It must be written and possible in E.164; a Turkish number is checked by its digits. With
    `is_strict` the numbering plan must use it too (switch `phoneCheck`).
    """
    if not isinstance(value, str) or len(value) > PHONE_LENGTH or not _E164.fullmatch(value):
        return False
    if is_strict:
        return _is_valid(value)
    if value.startswith("+90"):
        return _TURKISH_PHONE.fullmatch(value) is not None
    return _is_possible(value)


def stored_recipient(channel: str, recipient: str) -> str:
    """Return the recipient as İYS stores it: an e-mail in lower case, a phone number as sent."""
    return recipient.lower() if channel == "EPOSTA" else recipient


def channels_of(recipient: str) -> tuple[str, ...]:
    """Return the channels that reach a recipient like this one."""
    return tuple(channel for channel in CHANNELS if ("@" in recipient) == (channel == "EPOSTA"))


def parse_recipient(text: str) -> str | None:
    """Return the recipient that a person typed, in İYS's format; None if it is none.

    A Turkish phone number may be written in any usual way, such as `0555 000 00 01`.
    """
    text = text.strip()
    if "@" in text:
        return text.lower() if is_email(text) else None
    digits = re.sub(r"[\s().-]", "", text)
    if re.fullmatch(r"0?5\d{9}|0[2-4]\d{9}", digits, re.ASCII):
        digits = f"+90{digits.removeprefix('0')}"
    elif re.fullmatch(r"(00)?90[2-58]\d{9}", digits, re.ASCII):
        digits = f"+{digits.removeprefix('00')}"
    return digits if is_phone(digits) else None


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
