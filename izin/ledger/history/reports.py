"""What happened, from the ledger alone: a customer's week, how long changes took, what flows, the
opt-outs of each day, and what one import of a file changed.

In the figures of a week, received are the decisions on a customer's events; registered is what İYS
saved. How long that took is counted from the decision to the record of İYS's answer, of what was
decided in the period.

Of each change that began at İYS the history has when İYS created it (by İYS's clock, in whole
seconds), when it was received and by which path (the first of several: the others are duplicates),
when its decision was recorded, when the permission that follows from it was published, and when
each subscriber took it.
Recorded is a bit later than ordered: the order stage writes a decision and its opt-out at once, and
a sink worker then reads the decision. An opt-out may be taken by a subscriber before that.

The decisions on an import's events say what became of them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from izin.consent import DecisionKind, Status
from izin.iys.errors import Verdict
from izin.ledger.db import Ledger, statements
from izin.ledger.history.by_key import history_codec
from izin.ledger.history.calls import NOT_SENT
from izin.ledger.registry import api_keys, customers

NO_REFUSALS = (
    *map(str, (Verdict.SUCCESS, Verdict.ALREADY, Verdict.TRANSIENT, Verdict.THROTTLE)),
    *map(str, (Verdict.HOURLY, Verdict.TOKEN_LIMIT, Verdict.TOKEN)),
    NOT_SENT,
)
"""What İYS's answer may be without refusing the record."""
_WEEK = statements("week")
_PAGE = 5000
_LATENCY = statements("latency")
_FLOWS = statements("flows")
_SQL = statements("imports")


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
        customer.customer_id: {"name": customer.name, "refused": {}}
        for customer in await customers.every(ledger)
        if customer_id in {None, customer.customer_id}
    }
    for name in ("answered", "held", "requests"):
        for row in await ledger.fetch(_WEEK[name], values):
            if (owner := row.pop("customer_id")) in found:
                found[owner] |= row
    for row in await ledger.fetch(_WEEK["refused"], values):
        if row["customer_id"] in found:
            found[row["customer_id"]]["refused"][row["reason"]] = row["answers"]
    keys = [key for key in await api_keys.every(ledger) if key.is_valid(until)]
    return [
        CustomerFigures(
            customer_id=owner, api_keys=sum(owner in one.customers for one in keys), **fields
        )
        for owner, fields in found.items()
    ]


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
    return summed_up(
        await leg_seconds(
            ledger,
            since=since,
            brand_code=brand_code,
            permissions=permissions,
            customer_id=customer_id,
        )
    )


LegSeconds = Mapping[tuple[str, Leg], list[float]]
"""How many seconds each leg of each path took, change by change."""


async def leg_seconds(  # noqa: PLR0913  # of which changes, and how many of them
    ledger: Ledger,
    *,
    since: datetime,
    brand_code: int | None,
    permissions: str,
    customer_id: str | None = None,
    opt_outs: bool = False,
    most: int | None = None,
) -> LegSeconds:
    """Return how long the legs of the latest changes took, as ``latencies`` selects them; with
    ``opt_outs`` of these alone.
    """
    taken: dict[tuple[str, Leg], list[float]] = defaultdict(list)
    values = {
        "since": since,
        "brand": None if brand_code is None else str(brand_code),
        "permissions": permissions,
        "customer_id": customer_id,
        "opt_outs": opt_outs,
        "most": most,
    }
    async for page in ledger.pages(_LATENCY["changes"], values, size=_PAGE):
        for row in page:
            _add(taken, row)
    return taken


def summed_up(taken: LegSeconds) -> tuple[LegLatency, ...]:
    """Return how long each leg took, by path and in the order of the legs."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerFlow:
    """What happened to a customer's events since an instant."""

    customer_id: str
    """Empty: of brands that nobody has registered."""
    decided: int = 0
    registered: int = 0
    """Records that İYS saved."""
    opt_outs_registered: int = 0
    refused: int = 0
    breaches: int = 0
    """Opt-outs that were sent to İYS after their term."""


async def flows(ledger: Ledger, *, since: datetime) -> tuple[CustomerFlow, ...]:
    """Return what was decided, and what İYS answered, since an instant, of each customer."""
    values = {"since": since, "no_refusals": list(NO_REFUSALS)}
    return tuple(CustomerFlow(**row) for row in await ledger.fetch(_FLOWS["flow"], values))


class OptOutCount(NamedTuple):
    """How many opt-outs came on a day (Turkish time) by one path."""

    customer_id: str
    day: date
    channel: str
    path: str
    """From İYS by ``push``, ``pull`` or ``daily``, or from a ``source``."""
    opt_outs: int


async def opt_outs_by_day(ledger: Ledger, *, since: datetime) -> tuple[OptOutCount, ...]:
    """Return the opt-outs since an instant, by customer, day, channel and path, the first
    day first.
    """
    rows = await ledger.fetch(_FLOWS["opt-outs"], {"since": since})
    return tuple(OptOutCount(**row) for row in rows)


async def read_until(ledger: Ledger) -> datetime | None:
    """Return until when all that was published has been read; None: nothing is known of it."""
    (row,) = await ledger.fetch(_FLOWS["read-until"])
    found: datetime | None = row["read_until"]
    return found


class ImportedChange(NamedTuple):
    """A key that one row of an import has changed."""

    row: int
    key: str
    status: str
    reason: str
    effective_at: datetime


@dataclass(slots=True, kw_only=True)
class ImportChanges:
    """What became of the events of one import."""

    decided: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By status and kind of decision; an event that was known before has none."""
    opt_outs_behind: int = 0
    """Opt-outs (RET) that changed nothing, for a newer opt-in (ONAY) stands."""
    changes: list[ImportedChange] = field(default_factory=list)

    def add(self, key: str, decision: Mapping[str, Any]) -> None:
        """Add a decision."""
        event, status = decision["event"], decision["event"]["status"]
        self.decided[status, decision["kind"]] += 1
        is_behind = decision["kind"] == DecisionKind.STALE and status == Status.RET
        self.opt_outs_behind += is_behind and decision["consent"]["status"] == Status.ONAY
        if decision["kind"] == DecisionKind.APPLY:
            self.changes.append(
                ImportedChange(
                    row=event["row"] or 0,
                    key=key,
                    status=status,
                    reason=decision["reason"],
                    effective_at=decision["effective_at"],
                )
            )


async def import_changes(
    ledger: Ledger, run: str, *, customer_id: str | None = None
) -> ImportChanges:
    """Return what became of the events of the import of the file whose SHA-256 is ``run``; of a
    customer, or None: of all.
    """
    found, values = ImportChanges(), {"run": run, "customer_id": customer_id}
    async for page in ledger.pages(_SQL["decisions"], values, size=_PAGE):
        for row in page:
            decision = history_codec().decode("Decision", row["decision"])
            if decision["event"]["import_id"] == run:
                found.add(row["key"], decision)
    found.changes.sort()
    return found
