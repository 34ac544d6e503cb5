"""Movements: an accepted consent, who wrote it, and the ids that İYS gives it.

Movements are ordered by their creation date only. Movements of one recipient and type that are
saved in the same second share their transactionId, as İYS's do.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from iys_simulator.clock import wire_text
from iys_simulator.rules.consent import Consent, ConsentKey


class WritePath(StrEnum):
    """How a movement was written."""

    SINGLE = "single"
    BATCH = "batch"
    CITIZEN = "citizen"
    PORTAL = "portal"
    INTEGRATOR = "integrator"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Who wrote a movement: client address, request and, in a batch, sub-request."""

    path: WritePath
    client: str
    request_id: str
    sub_request_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """An accepted movement. Dates are wire texts; `second` is the creation date in epoch seconds.

    `occurred_at` is in epoch milliseconds of the machine's clock; `sequence` counts the brand's
    movements from 1; `is_change` is False for a renewal of the same status. Retailers are those the
    consent was written with; `RetailerAccess` has those that may use it now.
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
        """When the movement was saved, as a wire text."""
        return wire_text(self.second)

    @property
    def transaction_id(self) -> str:
        """64 hex digits, shared by all movements of one recipient and type in one second."""
        return transaction_id(self.brand_code, self.type, self.recipient, self.second)

    @property
    def key(self) -> ConsentKey:
        """The key of the record that the movement changed."""
        return (self.type, self.recipient_type, self.recipient)

    @property
    def consent(self) -> Consent:
        """The consent itself, without its origin and its creation date."""
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
    """Return the id that all movements of one recipient and type of a brand share in one second."""
    return sha256(f"{brand_code}/{channel}/{recipient}/{second}".encode()).hexdigest()


def sub_request_ids(request_id: str, count: int) -> list[str]:
    """Return the ids of the first `count` items of a batch.

    They are derived from the requestId and never stored.
    """
    prefix = _id_prefix(request_id)
    return [f"{prefix}{place:012x}" for place in range(count)]


def sub_request_id(request_id: str, place: int) -> str:
    """Return the id of one item of a batch; `place` counts from 0."""
    return f"{_id_prefix(request_id)}{place:012x}"


def _id_prefix(request_id: str) -> str:
    digits = sha256(request_id.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-"
