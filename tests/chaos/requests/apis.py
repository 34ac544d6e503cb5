"""The APIs that hostile requests go to: what each is asked lawfully, and what it answers then."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from izin.schemas.may_send_api import PATH
from tests.support.api_keys import API_KEY, a_second_key
from tests.support.builders import BRAND, PHONE

PUSH = ("iys", "a-fake-push-password")
SECOND_KEY, _ = a_second_key()
"""The neighbour's; the hostile one has ``API_KEY``."""


class Api(StrEnum):
    """An API that is open to customers or to İYS."""

    INTAKE = "intake"
    FEEDS = "feeds"
    GATE = "gate"
    PUSH = "push receiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an API takes what, and what is right of it."""

    api: Api
    path: str
    authorization: str
    """Of the hostile one."""
    neighbours: str
    """The neighbour's ``Authorization``."""
    body: Any = None
    """JSON that is taken; None: it is a GET."""
    fields: tuple[str, ...] = ()
    """Of ``body``: which values are replaced by hostile ones."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters that are taken."""
    status: int = 200
    shows: str = ""
    """What the answer to a lawful request has."""

    @property
    def method(self) -> str:
        """Of a lawful request."""
        return "GET" if self.body is None else "POST"

    def lawful(self, number: int) -> bytes:
        """Return the body of a lawful request, of a recipient of its own."""
        if self.body is None:
            return b""
        # What opts out at one API must not change what another one answers.
        recipient = f"+905550{[*Api].index(self.api)}{number % 100_000:05}"
        return json.dumps(self.body).replace(PHONE, recipient).encode()


def _bearer(key: str) -> str:
    return f"Bearer {key}"


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


_RECORD: Mapping[str, object] = {
    "recipient": PHONE,
    "type": "MESAJ",
    "status": "RET",
    "source": "HS_WEB",
    "consent_date": "2026-03-02 12:00:00",
    "brand_code": BRAND,
}
_QUESTION: Mapping[str, object] = {"brand_code": BRAND, "type": "MESAJ", "recipients": [PHONE]}
_MOVEMENT: Mapping[str, object] = {
    "iysCode": BRAND,
    "brandCode": BRAND,
    "consentDate": "2026-03-02 12:00:00",
    "creationDate": "2026-03-02 12:00:00",
    "source": "IYS_WEB",
    "recipient": PHONE,
    "recipientType": "BIREYSEL",
    "status": "RET",
    "type": "MESAJ",
    "transactionId": "0" * 64,
}
_MORE_OF_RECORD = (
    *("id", "origin_ref", "date_basis", "sequence", "actor", "correlation_id", "retailer_code"),
    *("retailer_access", "notice_version", "evidence_hash", "evidence", "recipient_type"),
)
_MORE_OF_QUESTION = (
    *("recipient_type", "message_class", "basis", "retailer_code", "campaign", "receipt"),
    "at_least",
)
_KEYS = {"authorization": _bearer(API_KEY), "neighbours": _bearer(SECOND_KEY)}
TARGETS: Mapping[Api, Target] = {
    one.api: one
    for one in (
        Target(
            api=Api.INTAKE,
            path="/v1/consents",
            body=_RECORD,
            fields=(*_RECORD, *_MORE_OF_RECORD),
            status=202,
            shows='"event_id"',
            **_KEYS,
        ),
        Target(
            api=Api.FEEDS,
            path="/v1/permissions",
            query={"limit": "2", "wait": "0", "after": "", "at_least": ""},
            shows=f'"brand_code":{BRAND}',
            **_KEYS,
        ),
        Target(
            api=Api.GATE,
            path=PATH,
            body=_QUESTION,
            fields=(*_QUESTION, *_MORE_OF_QUESTION),
            shows='"reason":"not-registered"',
            **_KEYS,
        ),
        Target(
            api=Api.PUSH,
            path="/iys/push",
            body={"list": [_MOVEMENT]},
            fields=("list", *_MOVEMENT),
            authorization=_basic(*PUSH),
            neighbours=_basic(*PUSH),
            shows='"ok"',
        ),
    )
}
