"""One call to İYS with its items: the values; how they are stored is in ``ledger.submissions``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from izin.consent.admission import SKEW
from izin.consent.model import Status
from izin.iys.wire_format.consents import ConsentItem, Receipt
from izin.sinks.record.brand import Brand
from izin.sinks.record.request_body import items_of

SINGLE = "single"

BATCH = "batch"


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
