"""The brands: their customers, terms, accounts and addresses, and their subscriptions at İYS.

Suspensions of a brand are in ``ledger.suspensions``.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from izin.consent import SYNTHETIC_BRAND, SourceError, Status
from izin.iys.wire_format import Subscription
from izin.ledger import retailers, suspensions
from izin.ledger.automatic_suspension import counting
from izin.ledger.db import Connection, Ledger, fetch, fetch_one, statements
from izin.ledger.history import HistoryEntry, act, append, brand_key
from izin.ledger.reads import ParkedKey
from izin.ledger.record import EVERY, Brand, LeaseOwner, TopicMessages, UnregisteredBrandError
from izin.ledger.registry import customers, ownership, suspension_orders
from izin.ledger.registry.rule_again import rule_again
from izin.ledger.unit_of_work import append_messages, lock, unit_of_work

QUOTA_SPENT = "quota-spent"
_BY_OPERATORS = (
    "iys_code",
    "customer_id",
    "name",
    "activated_at",
    "loading_deadline",
    "status",
    "account",
    "egress_address",
)
"""The fields that a person sets; the others are what İYS showed."""
_CHUNK = 1000
_SQL = statements("brands")


async def upsert(
    ledger: Ledger, topic_messages: TopicMessages, brand: Brand, *, by: str, now: datetime
) -> Brand:
    """Write ``brand`` to ledger and ``brands`` topic, rule its records again, and return it.

    Records that were parked because the brand was unknown are due from here on, and all of its
    records belong to its customer. The history has the change and who ordered it, ``by``.

    Raises:
        UnknownCustomerError: its customer is not registered; nothing is changed.
        OffboardedCustomerError: nothing more is done for its customer; nothing is changed.
        SourceError: its code is reserved for synthetic opt-outs.
    """
    code = brand.brand_code
    if code == SYNTHETIC_BRAND:
        raise SourceError(f"brand {code} is reserved for synthetic opt-outs; correct the code")
    async with ledger.transaction() as connection:
        await customers.require_active(connection, {brand.customer_id})
        known = await fetch_one(connection, _SQL["lock"], {"brand_code": code})
        before = None if known is None else Brand.from_row(known)
        values = {
            "brand_code": code,
            "iys_code": brand.iys_code,
            "customer_id": brand.customer_id,
            "name": brand.name,
            "activated_at": brand.activated_at,
            "loading_deadline": brand.loading_deadline,
            "status": brand.status,
            "account": brand.account,
            "egress_address": brand.egress_address,
            "now": now,
        }
        row = await fetch_one(connection, _SQL["upsert"], values)
        stored = brand if row is None else Brand.from_row(row)
        (stored,) = await suspension_orders.follow(connection, [code]) or [stored]
        await append_messages(connection, [topic_messages.brand(stored, now)], now)
        if before is not None and before.customer_id != stored.customer_id:
            # Another customer's limits count anew.
            await counting.forget(connection, [code])
        await append.append(connection, [_changed(before, stored, by, now)], now=now)
    await rule_again(
        ledger, topic_messages, stored, "claim-unsettled", {"brand_code": code}, now=now
    )
    if await _may_have_others(ledger, before, stored):
        await ownership.adopt(ledger, stored)
    return stored


async def _may_have_others(ledger: Ledger, before: Brand | None, stored: Brand) -> bool:
    """Whether records of a brand may be of another customer: it has moved, or they were there
    before it, or it is added again unchanged, so that a move that failed half-way is completed.
    """
    if before is None:
        return await ownership.was_unknown(ledger, stored.brand_code)
    return before.customer_id != stored.customer_id or before == stored


def _changed(before: Brand | None, after: Brand, by: str, now: datetime) -> HistoryEntry:
    """Return the act of adding a brand, of changing it, or of having its records ruled again: with
    the fields that differ.
    """
    old = {} if before is None else {name: getattr(before, name) for name in _BY_OPERATORS}
    new = {name: getattr(after, name) for name in _BY_OPERATORS}
    differing = [name for name in new if before is None or old[name] != new[name]]
    again = "change brand" if differing else "recompute terms"
    return act(
        "add brand" if before is None else again,
        brand_key(after.brand_code),
        by=by,
        now=now,
        before={name: old[name] for name in differing if name in old},
        after={name: new[name] for name in differing},
        customer_id=after.customer_id,
    )


async def of_codes(connection: Connection, codes: Collection[int]) -> dict[int, Brand]:
    """Return the registered brands among these codes."""
    return {
        row["brand_code"]: Brand.from_row(row)
        for row in await fetch(connection, _SQL["of-codes"], {"codes": sorted(set(codes))})
    }


async def known_of_codes(
    connection: Connection, codes: Collection[int], *, now: datetime
) -> dict[int, Brand]:
    """Return the registered brands among these codes, and record the others."""
    known = await of_codes(connection, codes)
    if unknown := set(codes) - known.keys() - {SYNTHETIC_BRAND}:
        await note_unknown(connection, unknown, now=now)
    return known


async def note_unknown(connection: Connection, codes: Collection[int], *, now: datetime) -> None:
    """Record brand codes that are not registered, so that the keys of such brands are found."""
    await connection.execute(_SQL["add-unknown"], {"codes": sorted(codes), "now": now})


async def every(ledger: Ledger) -> tuple[Brand, ...]:
    """Return every brand."""
    return tuple(Brand.from_row(row) for row in await ledger.fetch(_SQL["all"]))


async def providers(ledger: Ledger, lease_owner: LeaseOwner, before: datetime) -> tuple[int, ...]:
    """Return the İYS codes of the providers that ``lease_owner`` serves and whose subscription was
    not queried since ``before``.
    """
    return tuple(
        row["iys_code"]
        for row in await ledger.fetch(_SQL["to-query"], {"before": before, **lease_owner.who})
    )


async def set_subscription(
    ledger: Ledger, iys_code: int, found: Subscription, *, now: datetime
) -> tuple[Brand, ...]:
    """Store a provider's subscription as İYS showed it; return the provider's brands."""
    rows = await ledger.fetch(
        _SQL["save-subscription"],
        {
            "iys_code": iys_code,
            "subscription": found.status,
            "ends_at": found.expires_at,
            "consent_limit": found.consent_limit,
            "used": found.used,
            "via_credit": found.via_credit,
            "now": now,
        },
    )
    return tuple(Brand.from_row(row) for row in rows)


async def requeue(  # noqa: PLR0913 - what is requeued, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    brand_code: int,
    shown: Sequence[ParkedKey],
    *,
    reason: str,
    whole: bool,
    by: str,
    now: datetime,
) -> int:
    """Requeue records of a brand that are parked for ``reason`` as a person was ``shown`` them;
    return how many. What has changed since is left alone.

    The history of each has who ordered it, ``by``: for a re-consent this is the proof. Whoever
    requeues retailers that differ attests that İYS was given them; for a spent quota of the
    ``whole`` brand, that there is room again. Other suspensions stay: only a result of İYS ends
    them.
    """
    if reason == QUOTA_SPENT and whole:
        async with ledger.transaction() as connection:
            resumed = await suspensions.resume(
                connection, brand_code, EVERY, Status.ONAY, account=None
            )
            # A person's word that the cause of a suspension is gone.
            ended = [
                act(
                    f"end suspension {one['channel']}/{one['status']}",
                    brand_key(one["brand_code"]),
                    by=by,
                    now=now,
                    before={name: one[name] for name in ("code", "reason", "since")},
                    after={},
                    customer_id=one["customer_id"],
                )
                for one in resumed
            ]
            await append.append(connection, ended, now=now)
    async with ledger.transaction() as connection:
        brand = (await of_codes(connection, [brand_code])).get(brand_code)
    done = 0
    for start in range(0, len(shown), _CHUNK):
        keys, event_ids, since = zip(*shown[start : start + _CHUNK], strict=True)
        values = {
            "brand_code": brand_code,
            "reason": reason,
            "keys": list(keys),
            "event_ids": list(event_ids),
            "since": list(since),
        }
        if reason == retailers.DIFFERENCE:
            done += await _settle_retailers(ledger, topic_messages, values, by=by, now=now)
        else:
            done += await rule_again(
                ledger, topic_messages, brand, "claim-parked", values, now=now, by=by
            )
    return done


async def _settle_retailers(
    ledger: Ledger,
    topic_messages: TopicMessages,
    shown: Mapping[str, Any],
    *,
    by: str,
    now: datetime,
) -> int:
    async with unit_of_work(ledger, topic_messages, now) as changes:
        # Rows first, as everywhere: what changes them changes their retailers next.
        rows = await lock(changes.connection, shown["keys"])
        settled = await retailers.settle(changes.connection, shown)
        for one in settled:
            if one["key"] in rows:
                changes.add_retailers(rows[one["key"]])
            changes.add_entry(
                act(
                    "change retailers at İYS",
                    one["key"],
                    by=by,
                    now=now,
                    before={
                        "retailer_code": one["code_before"],
                        "retailer_access": one["access_before"],
                    },
                    after={"retailer_code": one["code"], "retailer_access": one["access"]},
                    customer_id=one["customer_id"],
                    event_id=one["event_id"],
                    status=str(Status.ONAY),
                )
            )
    return len(settled)


class OtherBrandsError(SourceError):
    """Brands that are not those of a customer, or not those that were named."""

    def __init__(self, customer_id: str, codes: Collection[int]) -> None:
        named = ", ".join(map(str, sorted(codes)))
        super().__init__(
            f"not among the brands of customer {customer_id}, or not named with --brand: {named}; "
            f"its brands: izin customers show {customer_id}"
        )
        self.codes = frozenset(codes)


async def registered_brand(ledger: Ledger, brand_code: int) -> Brand:
    """Return a brand.

    Raises:
        UnregisteredBrandError: it is not registered.
    """
    found = await ledger.fetch(_SQL["of-codes"], {"codes": [brand_code]})
    if not found:
        raise UnregisteredBrandError(brand_code)
    return Brand.from_row(found[0])


async def brands_of(
    ledger: Ledger, customer_id: str, only: Collection[int] = ()
) -> dict[int, Brand]:
    """Return the brands of a customer by code; ``only`` those, where any are named.

    Raises:
        UnknownCustomerError: the customer is not registered.
        OtherBrandsError: one of ``only`` is not its brand.
    """
    async with ledger.transaction() as connection:
        await customers.require(connection, {customer_id})
    found = {
        brand.brand_code: brand for brand in await every(ledger) if brand.customer_id == customer_id
    }
    if others := set(only) - found.keys():
        raise OtherBrandsError(customer_id, others)
    return {code: one for code, one in found.items() if not only or code in only}
