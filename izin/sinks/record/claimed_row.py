"""A row of ``consents`` that was claimed to be submitted."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple


class ClaimedRow(NamedTuple):
    """A claimed row, with the columns that a submission needs."""

    ctid: str
    """The row's place in PostgreSQL, valid until the transaction ends."""
    key: str
    customer_id: str
    brand_code: int
    channel: str
    recipient_type: str
    recipient: str
    desired_status: str
    desired_at: datetime
    desired_event_id: str
    desired_origin: str | None
    desired_origin_ref: str | None
    desired_source: str | None
    desired_consent_date: datetime | None
    retailer_code: int | None
    retailer_access: Sequence[int] | None
    attempts: int
