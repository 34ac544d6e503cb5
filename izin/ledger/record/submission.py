"""One call to İYS with its items: the values; how they are stored is in ``ledger.submissions``.

The date in the body of a request is the effective instant of the event, in whole seconds: never
later than when we received it, so never in İYS's future, and never changed afterwards. An opt-out
that was stated by its day or minute alone has the date as it was stated, though it counts from a
later instant here. The exact body is stored before it is sent, for the same body sent again has no
second effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from izin.consent import (
    CHANNELS,
    RECIPIENT_TYPES,
    SKEW,
    SOURCES,
    STATUSES,
    Channel,
    RecipientType,
    Source,
    Status,
    maker,
)
from izin.iys.wire_format import ConsentItem, Receipt, from_turkish
from izin.ledger.record.brand import Brand
from izin.ledger.record.consent_row import ClaimedRow, ConsentRow

SINGLE = "single"

BATCH = "batch"
_consent_item = maker(ConsentItem)


def item_of(row: ClaimedRow | ConsentRow) -> ConsentItem:
    """Return the item that registers what ``row``, which is registrable, desires."""
    undated = row.desired_consent_date is None and row.desired_status == Status.ONAY
    source, access = row.desired_source, row.retailer_access
    date, stated = row.desired_at, row.desired_consent_date
    if date is not None and stated is not None:
        date = min(date, stated)
    return _consent_item(
        recipient=row.recipient,
        type=CHANNELS[row.channel],
        status=STATUSES[row.desired_status or ""],
        source=None if source is None else SOURCES[source],
        # Only a merchant's first record may lack its date; an opt-out without one counts from its
        # receipt.
        consent_date=None if undated else date,
        recipient_type=RECIPIENT_TYPES[row.recipient_type],
        retailer_code=row.retailer_code,
        retailer_access=None if access is None else tuple(access),
    )


def body_of(items: Sequence[ConsentItem]) -> str:
    """Return the body of ``items``, to be stored before it is sent."""
    return orjson.dumps([item.to_body() for item in items]).decode()


def items_of(body: str) -> tuple[ConsentItem, ...]:
    """Return the items of a stored body, so that they can be sent again."""
    return tuple(_item(fields) for fields in orjson.loads(body))


def _item(fields: dict[str, Any]) -> ConsentItem:
    source, date, access = (
        fields.get(name) for name in ("source", "consentDate", "retailerAccess")
    )
    return ConsentItem(
        recipient=fields["recipient"],
        type=Channel(fields["type"]),
        status=Status(fields["status"]),
        source=None if source is None else Source(source),
        consent_date=None if date is None else from_turkish(date),
        recipient_type=RecipientType(fields["recipientType"]),
        retailer_code=fields.get("retailerCode"),
        retailer_access=None if access is None else tuple(access),
    )


class Item(NamedTuple):
    """One record within a submission."""

    place: int
    """Its index in the body, from 0."""
    customer_id: str
    key: str
    event_id: str
    status: str
    consent_date: datetime | None
    source: str | None
    attempt: int
    origin: str
    origin_ref: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One call to İYS, with the items that are not settled yet."""

    id: int
    brand: Brand
    kind: str
    body: str
    items: tuple[Item, ...]
    intended_at: datetime
    answered_at: datetime | None = None
    request_id: str | None = None
    sub_request_ids: Sequence[str] = ()
    """İYS's ids of the items, by their places."""
    polls: int = 0
    sends: int = 1
    refusals: int = 0
    call_until: datetime | None = None
    """By when its last call is certainly over, as known when it was claimed; None: it had none."""
    lease_epoch: int = 0
    """Which claim of it this is."""

    @property
    def was_called(self) -> bool:
        """Whether a call of it, or of its items before, may have been written."""
        return self.call_until is not None

    @property
    def has_opt_outs(self) -> bool:
        """Whether any of its items is an opt-out (RET)."""
        return any(item.status == Status.RET for item in self.items)

    @property
    def content(self) -> tuple[ConsentItem, ...]:
        """All items of the body."""
        return items_of(self.body)

    def is_older(self, receipt: Receipt | None) -> bool:
        """Whether a receipt is certainly of a save before this submission."""
        return receipt is not None and receipt.creation_date < self.intended_at - SKEW


class CallCheck(NamedTuple):
    """What may have changed between a submission and its call."""

    is_open: bool
    """Whether the brand may still submit such records."""
    is_freed: bool
    """Whether items were taken out of it."""
    doubtful: Sequence[int]
    """The places of the items that may no longer be due."""


class Settled(NamedTuple):
    """The final state of one item."""

    place: int
    state: str
    code: str | None = None
