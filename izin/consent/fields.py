"""The fields of an event, read one by one; *every* violation is reported (H110 to H122 …).

Values are compared exactly, then without case and surrounding space; the Turkish dotted capital I
counts as I. There is no fuzzy matching. An empty recipient type is BIREYSEL, as it is at İYS. What
no text may contain is taken out (:mod:`izin.consent.texts`); in a recipient it is reported, and an
ONAY is none with it.

A RET from İYS is read more leniently: an address that we would refuse still names a record of İYS,
and the opt-out must not be lost.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from izin.consent.emails import read_email
from izin.consent.enums import CHANNELS, RECIPIENT_TYPES, SOURCES, STATUSES
from izin.consent.making import maker
from izin.consent.model import Channel, ConsentEvent, ConsentKey, RecipientType, Source, Status
from izin.consent.phones import read_phone
from izin.consent.texts import clean, has_surrogate
from izin.consent.violations import Violation, violation

Value = TypeVar("Value", Channel, RecipientType, Source, Status)

_key = maker(ConsentKey)

RETAILER_LIMIT = 3000
_RETAILER_CODES = range(10_000_000, 100_000_000)


CAPTURE, PURPOSE = "capture", "purpose"
"""What evidence says of how a consent was captured, and of what that served."""
BY_CODE = "sms-code"
_OTHER_PURPOSES = frozenset({"membership", "payment", "üyelik", "uyelik", "ödeme", "odeme"})
_PURPOSES = re.compile(r"\w+")


_ANY_PHONE = re.compile(r"\+[0-9]{5,20}")
_ANY_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+")


def read_status(event: ConsentEvent, faults: list[Violation]) -> Status | None:
    """Return the status of ``event``; None, and a violation in ``faults``, if it has none."""
    return STATUSES.get(event.status) or _value(event.status, STATUSES, "status", faults)


def read_key(event: ConsentEvent, faults: list[Violation]) -> ConsentKey | None:
    """Return the key of ``event``; None, and its violations in ``faults``, if it has none."""
    brand_code = event.brand_code
    if brand_code <= 0:
        faults.append(violation("brand_code", "IZIN-BRAND-MISSING"))
    channel = CHANNELS.get(event.type) or _value(event.type, CHANNELS, "type", faults)
    recipient_type = RECIPIENT_TYPES.get(event.recipient_type) or _recipient_type(event, faults)
    recipient = _recipient(event, channel, faults)
    if brand_code <= 0 or channel is None or recipient_type is None or recipient is None:
        return None
    return _key(
        brand_code=brand_code,
        channel=channel,
        recipient_type=recipient_type,
        recipient=recipient,
    )


def read_recipient(text: str, channel: Channel) -> str | Violation:
    """Return the address in ``text`` in the form that keys of ``channel`` have, or what is wrong
    with it.
    """
    if "\0" in text:
        return violation("recipient", "IZIN-NUL")
    if has_surrogate(text):
        return violation("recipient", "IZIN-CHARACTER")
    found = _address(text, channel)
    return found if isinstance(found, str) else _by_channel(text, channel, found)


def normalised(key: ConsentKey) -> ConsentKey:
    """Return ``key`` with its recipient in the form of keys; as it is where that is no recipient of
    its channel.
    """
    found = read_recipient(key.recipient, key.channel)
    if isinstance(found, Violation):
        return key
    return _key(
        brand_code=key.brand_code,
        channel=key.channel,
        recipient_type=key.recipient_type,
        recipient=found,
    )


def serves_more(evidence: Mapping[str, str]) -> bool:
    """Whether ``evidence`` says that the code by which a consent was captured served a membership
    or a payment too: such a consent is invalid (KVKK principle decision 2025/1072, Official Gazette
    26.06.2025/32938).
    """
    purpose, capture = evidence.get(PURPOSE, ""), evidence.get(CAPTURE, "")
    is_by_code = not capture or capture == BY_CODE
    words = _PURPOSES.findall(purpose.replace("İ", "i").lower())
    return is_by_code and not _OTHER_PURPOSES.isdisjoint(words)


def read_source(event: ConsentEvent, faults: list[Violation]) -> Source | None:
    """Return the source of ``event``; None if it has none, or, with a violation in ``faults``, one
    that a provider may not state.
    """
    text = event.source
    if not text:
        return None
    source = SOURCES.get(text) or SOURCES.get(_folded(text))
    if source is None:
        faults.append(violation("source", "H119"))
    return source


def check_retailers(event: ConsentEvent, faults: list[Violation]) -> None:
    """Append what is wrong with the retailers of ``event`` to ``faults``."""
    if event.retailer_code is not None and event.retailer_code not in _RETAILER_CODES:
        faults.append(violation("retailer_code", "IZIN-RETAILER-CODE"))
    access = event.retailer_access
    if access is None:
        return
    if not access:
        faults.append(violation("retailer_access", "H163"))
    if len(access) > RETAILER_LIMIT:
        faults.append(violation("retailer_access", "H126"))
    if any(code not in _RETAILER_CODES for code in access):
        faults.append(violation("retailer_access", "IZIN-RETAILER-CODE"))


def check_identity(event: ConsentEvent, faults: list[Violation]) -> None:
    """Append to ``faults`` where the customer or the id of ``event`` is missing."""
    if not event.customer_id:
        faults.append(violation("customer_id", "IZIN-CUSTOMER-MISSING"))
    if not event.event_id:
        faults.append(violation("event_id", "IZIN-EVENT-ID-MISSING"))


def is_misspelt(event: ConsentEvent, recipient: str) -> bool:
    """Whether the recipient of ``event`` differs from the normalised ``recipient``."""
    return event.recipient.strip().lower() != recipient


def _folded(text: str) -> str:
    return clean(text).strip().replace("İ", "I").replace("ı", "i").upper()


_MISSING: Mapping[str, str] = {"status": "H110", "type": "H111"}
_WRONG: Mapping[str, str] = {"status": "H115", "type": "H117", "recipient_type": "H116"}


def _value(
    text: str, values: Mapping[str, Value], field: str, faults: list[Violation]
) -> Value | None:
    folded = _folded(text)
    found = values.get(folded)
    if found is None or (found == Status.ONAY and clean(text) != text):
        faults.append(violation(field, _WRONG[field] if folded else _MISSING[field]))
        return None
    return found


def _recipient_type(event: ConsentEvent, faults: list[Violation]) -> RecipientType | None:
    text = event.recipient_type.strip()
    if not text:
        return RecipientType.BIREYSEL
    return _value(text, RECIPIENT_TYPES, "recipient_type", faults)


def _recipient(event: ConsentEvent, channel: Channel | None, faults: list[Violation]) -> str | None:
    text = event.recipient
    if "\0" in text:
        faults.append(violation("recipient", "IZIN-NUL"))
    if has_surrogate(text):
        faults.append(violation("recipient", "IZIN-CHARACTER"))
    text = clean(text)
    found = _either(text) if channel is None else _address(text, channel)
    if not isinstance(found, Violation):
        return found
    if event.iys is not None and channel is not None and _folded(event.status) == Status.RET:
        lenient = _lenient(text.strip(), channel)
        if lenient is not None:
            return lenient
    faults.append(_by_channel(text, channel, found))
    return None


def _address(text: str, channel: Channel) -> str | Violation:
    return read_email(text) if channel is Channel.EPOSTA else read_phone(text)


def _either(text: str) -> str | Violation:
    """Return the phone number or address in ``text`` where the channel is not known."""
    for found in (read_phone(text), read_email(text)):
        if not isinstance(found, Violation):
            return found
    return violation("recipient", "H122" if text.strip() else "H114")


def _lenient(text: str, channel: Channel) -> str | None:
    """Return an address that İYS holds and we would refuse, as it stands."""
    shape = _ANY_EMAIL if channel is Channel.EPOSTA else _ANY_PHONE
    return text.lower() if shape.fullmatch(text) else None


def _by_channel(text: str, channel: Channel | None, found: Violation) -> Violation:
    """Return H464, instead of ``found``, where the address fits the other channels."""
    if channel is Channel.EPOSTA:
        other_kind = isinstance(read_phone(text), str)
    else:
        other_kind = channel is not None and isinstance(read_email(text), str)
    return violation("recipient", "H464") if other_kind else found
