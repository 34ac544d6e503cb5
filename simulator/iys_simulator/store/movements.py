"""What is registered: a movement, who brought it, and the key whose record it became.

Only the creation date orders movements. Movements of one address and type saved in the same second
share their transactionId, as İYS's do.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from iys_simulator.clock import wire_text
from iys_simulator.rules.fields import Consent

Key = tuple[str, str, str]
"""Which record of a brand: type, recipientType, recipient."""


class Path(StrEnum):
    """How a movement came."""

    SINGLE = "single"
    BATCH = "batch"
    CITIZEN = "citizen"
    PORTAL = "portal"
    INTEGRATOR = "integrator"


class Standing(NamedTuple):
    """What is registered of a key, as far as rules ask: its record's status and consent date.

    `movement` is the record's row, `times` the key's movements so far, `has_access` whether any
    retailer may use it.
    """

    status: str
    consent_date: str
    movement: int
    times: int
    has_access: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Who brought a movement: client address, request and (in a batch) sub-request."""

    path: Path
    client: str
    request_id: str
    sub_request_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """An accepted movement. Dates are wire texts; `second` is the creation date in epoch seconds.

    `occurred_at` is the machine's epoch milliseconds, `sequence` counts the brand's movements from
    1, `is_change` tells a first movement or one to another status from a renewal. Retailers are
    those it came with; who may use the consent by now is the register's to tell.
    """

    row: int
    type: str
    recipient_type: str
    recipient: str
    status: str
    source: str
    consent_date: str
    retailer_code: int | None
    retailer_access: tuple[int, ...]
    second: int
    brand_code: int
    origin: Origin
    occurred_at: int
    sequence: int
    citizen_name: str = ""
    is_change: bool = True

    @property
    def creation_date(self) -> str:
        """When İYS saved it, as a wire text."""
        return wire_text(self.second)

    @property
    def transaction_id(self) -> str:
        """64 hex digits, the same for all movements of one address and type in one second."""
        return transaction_id(self.brand_code, self.type, self.recipient, self.second)

    @property
    def key(self) -> Key:
        """The record it speaks of."""
        return (self.type, self.recipient_type, self.recipient)

    @property
    def consent(self) -> Consent:
        """What was said, without who said it and when it was saved."""
        return Consent(
            type=self.type,
            recipient_type=self.recipient_type,
            recipient=self.recipient,
            status=self.status,
            source=self.source,
            consent_date=self.consent_date,
            retailer_code=self.retailer_code,
            retailer_access=self.retailer_access,
        )


def transaction_id(brand_code: int, channel: str, recipient: str, second: int) -> str:
    """Give the id of the movements of one address and type of a brand in one second."""
    return sha256(f"{brand_code}/{channel}/{recipient}/{second}".encode()).hexdigest()


def sub_request_ids(request_id: str, count: int) -> list[str]:
    """Give the ids of the first `count` items of a batch: made from its requestId, never stored."""
    of_batch = _of_batch(request_id)
    return [f"{of_batch}{place:012x}" for place in range(count)]


def sub_request_id(request_id: str, place: int) -> str:
    """Give the id of one item of a batch, counted from 0."""
    return f"{_of_batch(request_id)}{place:012x}"


def _of_batch(request_id: str) -> str:
    digits = sha256(request_id.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-"
