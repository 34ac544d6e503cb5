"""What happened for a customer in a period, from the ledger alone: the figures of a week.

Received are the decisions on its events; registered is what İYS saved. How long that took is
counted from the decision to the record of İYS's answer, of what was decided in the period.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from izin.iys.errors import Verdict
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.calls import NOT_SENT
from izin.sinks.ledger.registry import api_keys, customers

NO_REFUSALS = (
    *map(str, (Verdict.SUCCESS, Verdict.ALREADY, Verdict.TRANSIENT, Verdict.THROTTLE)),
    *map(str, (Verdict.HOURLY, Verdict.TOKEN_LIMIT, Verdict.TOKEN)),
    NOT_SENT,
)
"""What İYS's answer may be without refusing the record."""
_SQL = statements("week")


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerFigures:
    """The figures of a customer."""

    customer_id: str
    name: str
    received: int = 0
    """Events that were decided on."""
    registered: int = 0
    """Records that İYS saved."""
    opt_outs_registered: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    """İYS's refusals by H-code, the most first."""
    opt_outs: int = 0
    """Records whose recipient opted out in the period."""
    overdue: int = 0
    """Records that are not settled and past their term now."""
    breaches: int = 0
    """Opt-outs that were sent to İYS after their term."""
    p50: float | None = None
    """Seconds from the decision until İYS's answer; None: nothing was decided and registered."""
    p95: float | None = None
    requests: int = 0
    """Calls to İYS that carried its records."""
    keys: int = 0
    """Records that it has now."""
    api_keys: int = 0
    """Valid API keys for it."""


async def figures(
    ledger: Ledger, *, since: datetime, until: datetime, customer_id: str | None
) -> Sequence[CustomerFigures]:
    """Return the figures of a customer, or of each, from ``since`` up to ``until``, which is now.

    Records of brands that nobody has registered are of no customer, and left out.
    """
    values = {
        "since": since,
        "until": until,
        "now": until,
        "customer_id": customer_id,
        "no_refusals": list(NO_REFUSALS),
    }
    found: dict[str, dict[str, Any]] = {
        one.customer_id: {"name": one.name, "refused": {}}
        for one in await customers.every(ledger)
        if customer_id in {None, one.customer_id}
    }
    for name in ("answered", "held", "requests"):
        for row in await ledger.fetch(_SQL[name], values):
            if (owner := row.pop("customer_id")) in found:
                found[owner] |= row
    for row in await ledger.fetch(_SQL["refused"], values):
        if row["customer_id"] in found:
            found[row["customer_id"]]["refused"][row["reason"]] = row["answers"]
    keys = [one for one in await api_keys.every(ledger) if one.is_valid(until)]
    return [
        CustomerFigures(
            customer_id=owner, api_keys=sum(owner in one.customers for one in keys), **fields
        )
        for owner, fields in found.items()
    ]
