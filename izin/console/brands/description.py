"""Describe a brand, and the effect of a change to it, in words for people."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from izin.consent.model import Channel, Status
from izin.console.remedies import remedy_of_brake, remedy_of_order
from izin.console.terminal.output import turkish
from izin.sinks.ledger import reads
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.brake.decisions import Brake
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.reads import Count
from izin.sinks.ledger.registry.suspension_orders import Part, SuspensionOrder, of_brand
from izin.sinks.monitor.accounts import warnings_of
from izin.sinks.record.brand import Brand
from izin.sinks.record.suspension import EVERY, ORDERED, Suspension

OfBrand = TypeVar("OfBrand", Suspension, Count)

_AFFECTS_RECORDS = {
    "iys_code": "İYS code",
    "customer_id": "customer",
    "activated_at": "active since",
    "loading_deadline": "load by",
    "status": "status",
    "account": "account",
    "egress_address": "address",
}
"""Fields that change terms, owner or route of records that exist already."""
_KEPT_WHERE_NOT_GIVEN = frozenset({"activated_at", "account", "egress_address"})
_UNSETTLED = frozenset(
    {"pending", "retryable", "in_flight", "awaiting_result", "unknown", "parked"}
)
_WAITING = frozenset({"pending", "retryable"})
_ANY = "any"


def changes(known: Brand, brand: Brand) -> list[str]:
    """Return, a line each, what a change to ``brand`` changes for records that exist already."""
    fields = (
        (title, getattr(known, name), getattr(brand, name))
        for name, title in _AFFECTS_RECORDS.items()
        if not (name in _KEPT_WHERE_NOT_GIVEN and getattr(brand, name) is None)
    )
    return [
        f"{title}: {_shown(old)} -> {_shown(new)}"
        for title, old, new in fields
        if (new or None) != old
    ]


def described(
    brand: Brand,
    suspensions: Iterable[Suspension],
    counts: Iterable[Count],
    orders: Iterable[SuspensionOrder] = (),
    brakes: Iterable[Brake] = (),
    *,
    now: datetime,
) -> list[tuple[str, str, str]]:
    """Return one row for each field of a brand: its value, and a warning or nothing."""
    used = "" if brand.consents_used is None else f", {brand.consents_used:,} addresses used"
    limit = "" if brand.consent_limit is None else f" of {brand.consent_limit:,}"
    queried = (
        "never queried" if brand.queried_at is None else f"queried {turkish(brand.queried_at)}"
    )
    return [
        ("brand", f"{brand.brand_code} {brand.name}", ""),
        ("İYS code", str(brand.iys_code), ""),
        ("customer", brand.customer_id, ""),
        (
            "status",
            brand.status,
            "" if brand.status == "active" else "nothing of it is sent to İYS",
        ),
        (
            "active since",
            turkish(brand.activated_at) or "-",
            "" if brand.activated_at else "first loading: the three-day term does not apply yet",
        ),
        ("load by", turkish(brand.loading_deadline) or "-", ""),
        ("account", brand.account or _ANY, ""),
        ("address", brand.egress_address or _ANY, ""),
        (
            "subscription",
            f"{brand.subscription or 'unknown'}{used}{limit}; {queried}",
            "; ".join(warnings_of(brand, now)),
        ),
        *_orders(brand, orders),
        *(
            (f"{one.words} of {one.source}", f"{one.held_back:,} held back", remedy_of_brake(one))
            for one in brakes
            if one.brand_code == brand.brand_code
        ),
        *_rights(suspensions),
        *_unsettled(counts),
    ]


def concerning(brand_code: int, found: Iterable[OfBrand]) -> tuple[OfBrand, ...]:
    """Return those of ``found`` that concern a brand."""
    return tuple(one for one in found if one.brand_code == brand_code)


async def suspended_and_counted(
    ledger: Ledger, brand_code: int
) -> tuple[tuple[Suspension, ...], tuple[Count, ...]]:
    """Return the suspensions of a brand, and how many of its keys are in which state."""
    suspensions = concerning(brand_code, await standing.every(ledger))
    return suspensions, concerning(brand_code, await reads.counts(ledger))


def waiting(counts: Iterable[Count]) -> str:
    """Return how many opt-outs and consents wait to be sent to İYS."""
    found = [one for one in counts if one.state in _WAITING]
    opt_outs = sum(one.keys for one in found if one.desired_status == Status.RET)
    return f"{opt_outs} opt-outs and {sum(one.keys for one in found) - opt_outs} consents"


def unsettled(counts: Iterable[Count]) -> int:
    """Return how many keys are not settled."""
    return sum(one.keys for one in counts if one.state in _UNSETTLED)


def _orders(brand: Brand, orders: Iterable[SuspensionOrder]) -> Iterable[tuple[str, str, str]]:
    found = of_brand(brand, orders)
    for part, title in ((Part.IYS, "calls to İYS"), (Part.GATE, "gate")):
        one = found.get(part)
        if one is None:
            yield title, "not suspended", ""
        else:
            since = f"since {turkish(one.since)} by {one.ordered_by}; {remedy_of_order(one)}"
            yield title, f"suspended: {one.reason}", since


def _rights(suspensions: Iterable[Suspension]) -> Iterable[tuple[str, str, str]]:
    latest = {(one.channel, one.status): one for one in suspensions if one.code != ORDERED}
    for channel in Channel:
        lost = [one for one in latest.values() if one.channel in {channel, EVERY}]
        why = "; ".join(f"{one.reason}, since {turkish(one.since)}" for one in lost)
        yield f"right to {channel}", "no" if lost else "write", why


def _unsettled(counts: Iterable[Count]) -> Iterable[tuple[str, str, str]]:
    keys = Counter[tuple[str, str]]()
    for one in counts:
        if one.state in _UNSETTLED:
            keys[one.channel, one.state] += one.keys
    for (channel, state), count in sorted(keys.items()):
        see = "see: izin brands parked" if state == "parked" else ""
        yield f"{channel} {state}", f"{count:,}", see


def _shown(value: object) -> str:
    return turkish(value) if isinstance(value, datetime) else str(value or _ANY)
