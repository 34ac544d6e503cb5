"""Field rules of a consent: checked before the register is read, all errors together.

Each invalid field of an item adds its errors, with `location` and mostly `value`; a valid item
becomes a `Consent`. Pure: the instant is an argument.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from sys import intern

from iys_simulator.clock import wire_text
from iys_simulator.errors.messages import REFUSALS, SOURCES
from iys_simulator.errors.responses import Error, error, error_at
from iys_simulator.rules.business_days import AcceptanceWindow, acceptance_window
from iys_simulator.rules.consent import CHANNELS, RECIPIENT_TYPES, STATUSES, Consent
from iys_simulator.rules.recipients import PHONE_LENGTH, is_email, is_phone, stored_recipient
from iys_simulator.settings import Settings

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
_COMMON_FIELDS = _KNOWN_FIELDS - {"retailerCode", "retailerAccess"}
_shared_values = itemgetter(*sorted(_COMMON_FIELDS - {"recipient"}))
_FIRST_DATE = "2015-05-01 00:00:00"
_WIRE_DATE = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationContext:
    """What a consent is validated against: now and the latest date (wire texts), and the switches.

    `window` is what H467 accepts; None where the rule does not apply.
    """

    now: str
    latest: str
    window: AcceptanceWindow | None
    settings: Settings

    @classmethod
    def at(cls, second: int, activated_at: str | None, settings: Settings) -> "ValidationContext":
        """Return the context of the instant `second` (epoch seconds).

        The three-day rule (H467) applies once the brand is activated: `activated_at` is a wire
        text, None for a brand in first loading.
        """
        now = wire_text(second)
        is_activated = activated_at is not None and activated_at <= now
        window = acceptance_window(now[:10]) if is_activated else None
        latest = wire_text(second + int(settings.future_skew))
        return cls(now=now, latest=latest, window=window, settings=settings)

    def is_too_late(self, consent_date: str, status: object) -> bool:
        """Return whether H467 refuses a consent of this date (wire text) and status."""
        if self.window is None or (status == "RET" and self.settings.late_applies_to == "ONAY"):
            return False
        sliding = self.settings.late_mode == "sliding"
        return self.window.is_too_late(consent_date, self.now, sliding=sliding)


def read_consent(item: dict[str, object], context: ValidationContext) -> Consent | list[Error]:
    """Return the consent in `item`, or all its errors (H110-H122, H155-H163, H408, H467)."""
    channel, recipient = item.get("type"), item.get("recipient")
    source, status = item.get("source"), item.get("status")
    recipient_type = item.get("recipientType", "BIREYSEL")
    errors = _choice_errors(item, recipient_type)
    is_strict = context.settings.phone_check == "valid"
    if not _is_recipient(recipient, channel, is_strict=is_strict):
        errors += _recipient_errors(item, channel)
    if "consentDate" in item:
        errors += _date_errors(item["consentDate"], source, status, context)
    elif recipient_type != "TACIR":
        errors.append(error("H112", location=["consentDate"]))
    if not item.keys() <= _KNOWN_FIELDS:
        extra = sorted(item.keys() - _KNOWN_FIELDS)
        errors += [error_at("H118", name, item[name]) for name in extra]
    if "retailerAccess" in item:
        errors += _retailer_errors(item["retailerAccess"], context.settings.access_size)
    if errors:
        return errors
    retailer_code, access = item.get("retailerCode"), item.get("retailerAccess")
    # Interned: a million consents share few words and dates, which are half of their memory.
    return Consent(
        type=intern(str(channel)),
        recipient_type=intern(str(recipient_type)),
        recipient=stored_recipient(str(channel), str(recipient)),
        status=intern(str(status)),
        source=intern(str(item.get("source", ""))),
        consent_date=intern(str(item.get("consentDate", ""))),
        retailer_code=retailer_code if isinstance(retailer_code, int) else None,
        retailer_access=tuple(access) if isinstance(access, list) else (),
    )


class ConsentListReader:
    """Reads the items of one list. Values that many items share are validated once."""

    def __init__(self, context: ValidationContext) -> None:
        self._context = context
        self._is_strict = context.settings.phone_check == "valid"
        self._valid: dict[tuple[object, ...], Consent] = {}

    def read(self, item: dict[str, object]) -> Consent | list[Error]:
        """Return what `read_consent` returns for `item`."""
        if len(item) != len(_COMMON_FIELDS):
            return read_consent(item, self._context)
        try:
            shared, recipient = _shared_values(item), item["recipient"]
            model = self._valid.get(shared)
        except (KeyError, TypeError):  # another field, or a list in place of a word
            return read_consent(item, self._context)
        if model is not None and _is_recipient(recipient, model.type, is_strict=self._is_strict):
            stored = stored_recipient(model.type, str(recipient))
            return Consent(
                model.type,
                model.recipient_type,
                stored,
                model.status,
                model.source,
                model.consent_date,
            )
        found = read_consent(item, self._context)
        if isinstance(found, Consent):
            self._valid[shared] = found
        return found


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


def _is_recipient(recipient: object, channel: object, *, is_strict: bool) -> bool:
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


def _date_errors(
    value: object, source: object, status: object, context: ValidationContext
) -> list[Error]:
    if not isinstance(value, str) or _WIRE_DATE.fullmatch(value) is None:
        return [error_at("H158", "consentDate", value)]
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return [error_at("H157", "consentDate", value)]
    if value > context.latest:
        return [error_at("H162", "consentDate", value)]
    errors = [error_at("H156", "consentDate", value)] if value < _FIRST_DATE else []
    if source == "HS_2015" and value != _FIRST_DATE:
        errors.append(error_at("H155", "consentDate", value))
    # İYS's examples name H467 only where nothing else is wrong with the date.
    if not errors and context.is_too_late(value, status):
        errors.append(error_at("H467", "consentDate", value))
    return errors


def _retailer_errors(access: object, size: int) -> list[Error]:
    if not isinstance(access, list) or not access:
        return [error_at("H163", "retailerAccess", access)]
    if len(access) > size:
        text = REFUSALS["H126"].message.replace("3000", str(size))
        return [error_at("H126", "retailerAccess", access, message=text)]
    return []
