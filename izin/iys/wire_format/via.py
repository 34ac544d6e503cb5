"""ViA: how İYS asks somebody for consent, and how far it is with that (reference 2.13).

İYS sends a code or a link, and registers the consent itself once the person has used it, over an
opt-out (RET) too. A request is known by the id in the answer to its start alone: no call finds one
by its recipient. Its text gives a code three minutes and a link a day; the message of H1051 gives a
code fifteen minutes, so nobody counts on less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from izin.consent import Channel, RecipientType
from izin.iys.wire_format.consents import Receipt
from izin.iys.wire_format.json_reader import JsonReader, items_in

_TITLE: Final = "ETK"
"""Consents to commercial messages (6563); KVK are explicit consents to the use of data."""


class ViaWay(StrEnum):
    """How İYS asks."""

    SMS_OTP = "SMS_OTP"
    SMS_SHORTURL = "SMS_SHORTURL"
    EPOSTA_OTP = "EPOSTA_OTP"
    EPOSTA_SHORTURL = "EPOSTA_SHORTURL"
    EPOSTA_APPROVALURL = "EPOSTA_APPROVALURL"

    @property
    def is_by_code(self) -> bool:
        """Whether the person gives back a code; else they open a link."""
        return self.endswith("_OTP")

    @property
    def channels(self) -> frozenset[Channel]:
        """What may be asked for by it (H1086)."""
        return _OF_EMAILS if self.startswith("EPOSTA") else _OF_PHONES

    @property
    def source(self) -> str:
        """The source that İYS gives a consent by it."""
        return "IYS_EPOSTA" if self.channels is _OF_EMAILS else "IYS_KISAMESAJ"

    @property
    def answered_within(self) -> timedelta:
        """How long at most after the start somebody can consent by it."""
        return timedelta(minutes=15) if self.is_by_code else timedelta(days=1)


_OF_EMAILS: Final = frozenset({Channel.EPOSTA})
_OF_PHONES: Final = frozenset({Channel.MESAJ, Channel.ARAMA})


@dataclass(frozen=True, slots=True, kw_only=True)
class ViaStart:
    """Who is to be asked, for what, and by which form of the provider at İYS."""

    brand_code: int
    recipient: str = field(repr=False)
    recipient_type: RecipientType
    channels: tuple[Channel, ...]
    way: ViaWay
    form_id: str

    def to_body(self) -> dict[str, object]:
        """Return the JSON object for İYS."""
        return {
            "formId": self.form_id,
            "recipient": self.recipient,
            "verificationType": str(self.way),
            "consentTypes": [
                {
                    "title": _TITLE,
                    "brandCodes": [self.brand_code],
                    "types": [str(channel) for channel in self.channels],
                    "recipientType": str(self.recipient_type),
                }
            ],
        }


def confirmation(request_id: str, way: ViaWay, code: str) -> Mapping[str, object]:
    """Return the JSON object that gives İYS the code of a request."""
    types = [{"title": _TITLE, "otpCode": code}]
    return {"requestId": request_id, "verificationType": str(way), "consentTypes": types}


def started(answer: object) -> str:
    """Return İYS's id of a request that was started; raises UnreadableError."""
    return JsonReader(JsonReader(answer).raw("message")).text("requestId")


def consented(answer: object) -> Mapping[str, Receipt]:
    """Return the receipts of what was consented to, by channel; raises UnreadableError."""
    found = map(JsonReader, items_in(JsonReader(answer).raw("message")))
    return {one.text("type"): Receipt.read(one) for one in found}


class ViaProgress(NamedTuple):
    """How far a request is: İYS's stage, and its status within that."""

    stage: str
    status: str

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.stage == "COMPLETED"


CONSENTED: Final = ViaProgress("COMPLETED", "SUCCESS")
"""İYS has registered the consent."""
PENDING: Final = ViaProgress("CONSENT_REQUESTED", "PENDING")
"""İYS waits for the person, and was given no wrong code."""
IN_PROGRESS: Final = "ENQUEUE"
"""The stage at which the person has consented, and İYS is registering it."""


def progress(answer: object) -> ViaProgress:
    """Return what İYS says of a request; raises UnreadableError."""
    last = JsonReader(JsonReader(JsonReader(answer).raw("message")).raw("lastStatus"))
    return ViaProgress(last.text("stage").upper(), last.text("status").upper())
