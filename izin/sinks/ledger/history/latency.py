"""How long changes that began at İYS took to reach us and everyone else, from the ledger alone.

Of each change the history has when İYS created it (by İYS's clock, in whole seconds), when it was
received and by which path (the first of several: the others are duplicates), when its decision was
recorded, when the permission that follows from it was published, and when each subscriber took it.
Recorded is a bit later than ordered: the order stage writes a decision and its opt-out at once, and
a sink worker then reads the decision. An opt-out may be taken by a subscriber before that.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.formats import history_codec

_PAGE = 5000
_SQL = statements("latency")


class Leg(StrEnum):
    """A part of the way of a change."""

    RECEIVED = "received"
    """From its creation at İYS until we had it."""
    ORDERED = "ordered"
    """From there until its decision was recorded in the ledger."""
    READABLE = "readable"
    """From there until the permission that follows was published."""
    DELIVERED = "delivered"
    """From its receipt until a subscriber took it, once for each."""
    WHOLE = "whole"
    """From its creation until a subscriber took it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegLatency:
    """How long one leg of the changes of one path took, in seconds."""

    path: str
    leg: Leg
    changes: int
    p50: float
    p95: float
    p99: float


async def latencies(
    ledger: Ledger,
    *,
    since: datetime,
    brand_code: int | None,
    permissions: str,
    customer_id: str | None = None,
) -> tuple[LegLatency, ...]:
    """Return the latencies of the changes recorded since an instant, by path and leg: of a brand
    and a customer, or None: of all. ``permissions`` is the name of that topic.
    """
    taken: dict[tuple[str, Leg], list[float]] = defaultdict(list)
    values = {
        "since": since,
        "brand": None if brand_code is None else str(brand_code),
        "permissions": permissions,
        "customer_id": customer_id,
    }
    async with (
        ledger.transaction() as connection,
        connection.cursor(name="changes") as cursor,
    ):
        await cursor.execute(_SQL["changes"], values)
        while page := await cursor.fetchmany(_PAGE):
            for row in page:
                _add(taken, row)
    return tuple(
        _latency(path, leg, some)
        for (path, leg), some in sorted(
            taken.items(), key=lambda one: (one[0][0], list(Leg).index(one[0][1]))
        )
    )


def _add(taken: Mapping[tuple[str, Leg], list[float]], row: Mapping[str, Any]) -> None:
    """Add the legs of a decision, if its event began at İYS."""
    event = history_codec().decode("Decision", row["decision"])["event"]
    at_iys = event["iys"]
    if at_iys is None:
        return
    path, created = at_iys["path"], at_iys["creation_date"]
    received = at_iys["observed_at"] or event["received_at"]
    if received is None:
        return
    recorded, readable = row["recorded_at"], row["readable_at"]
    legs = [(Leg.RECEIVED, created, received), (Leg.ORDERED, received, recorded)]
    if readable is not None:
        legs.append((Leg.READABLE, recorded, readable))
    for delivered in row["delivered_at"]:
        if delivered >= received:
            legs += [(Leg.DELIVERED, received, delivered), (Leg.WHOLE, created, delivered)]
    for leg, begin, end in legs:
        taken[path, leg].append((end - begin).total_seconds())


def _latency(path: str, leg: Leg, seconds: list[float]) -> LegLatency:
    ordered = sorted(seconds)
    p50, p95, p99 = (quantile(ordered, share) for share in (0.5, 0.95, 0.99))
    return LegLatency(path=path, leg=leg, changes=len(ordered), p50=p50, p95=p95, p99=p99)


def quantile(ordered: list[float], share: float) -> float:
    """Return the least of ``ordered`` values that at least this share of them does not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
