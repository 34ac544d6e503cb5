"""The deadlines in the ledger: what is due, what is nearly overdue, what was missed.

A consent must be registered within three business days (Yönetmelik m.7/11), an opt-out reported
within three (m.9/6). What is not settled is counted by how much of its term has passed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from izin.consent.model import OriginRank
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements

_SQL = statements("deadlines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """What is due to İYS of a brand, channel and status, by how much of its term has passed."""

    customer_id: str | None
    """None: the brand is not registered."""
    brand_code: int
    channel: str
    status: str
    keys: int
    missed: int
    past_95: int
    """At 95 % and more of the term, and not missed yet; the others likewise."""
    past_80: int
    past_50: int
    due_soon: int
    """Within 24 hours."""
    parked: int
    unknown: int
    first_due_at: datetime | None
    oldest_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendedOptOuts:
    """How many opt-outs of a brand and channel are suspended."""

    brand_code: int
    channel: str
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptOut:
    """An opt-out that İYS has not settled. Contains personal data."""

    key: str
    recipient: str
    channel: str
    recipient_type: str
    desired_source: str | None
    desired_at: datetime
    due_at: datetime | None
    state: str
    reason: str | None
    code: str | None


async def margins(ledger: Ledger, *, now: datetime) -> tuple[Margin, ...]:
    """Return what is not settled; opt-outs first, then the earliest due."""
    return tuple(Margin(**row) for row in await ledger.fetch(_SQL["margins"], {"now": now}))


async def has_opt_outs(ledger: Ledger) -> bool:
    """Return whether an opt-out is not settled."""
    return bool(await ledger.fetch(_SQL["has-opt-outs"]))


async def suspended_opt_outs(ledger: Ledger) -> tuple[SuspendedOptOuts, ...]:
    """Return the opt-outs that are not submitted for a suspension or a stopped brand."""
    return tuple(SuspendedOptOuts(**row) for row in await ledger.fetch(_SQL["suspended-opt-outs"]))


async def open_opt_outs(ledger: Ledger, brand_code: int) -> tuple[OpenOptOut, ...]:
    """Return a brand's opt-outs that İYS has not settled, the earliest due first."""
    values = {"brand_code": brand_code, "ours": int(OriginRank.OURS)}
    return tuple(OpenOptOut(**row) for row in await ledger.fetch(_SQL["open-opt-outs"], values))


async def breaches(
    ledger: Ledger, *, customer_id: str | None = None, most: int = 1000
) -> tuple[Mapping[str, Any], ...]:
    """Return the latest opt-outs that were submitted too late, of a customer or of all."""
    values = {"size": most, "customer_id": customer_id}
    return tuple(await ledger.fetch(_SQL["breaches"], values))
