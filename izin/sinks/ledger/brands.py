"""The brands: their customers, terms, accounts and addresses, and their subscriptions at İYS.

Suspensions of a brand are in ``ledger.suspensions``.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from izin.consent.business_days import Calendar
from izin.consent.model import Status
from izin.consent.transitions import Event, State
from izin.iys.wire_format.account import Subscription
from izin.sinks.ledger import retailers, suspensions
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.acts import act, brand_key
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import UnitOfWork, append_messages
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.state_change import transition
from izin.sinks.record.suspension import EVERY

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
_CONSENTS = statements("consents")


async def upsert(
    ledger: Ledger, topic_messages: TopicMessages, brand: Brand, *, by: str, now: datetime
) -> Brand:
    """Write ``brand`` to ledger and ``brands`` topic, rule its records again, and return it.

    Records that were parked because the brand was unknown are due from here on. The history has the
    change and who ordered it, ``by``.
    """
    async with ledger.transaction() as connection:
        found = await connection.execute(_SQL["lock"], {"brand_code": brand.brand_code})
        known = await found.fetchone()
        values = {
            "brand_code": brand.brand_code,
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
        row = await (await connection.execute(_SQL["upsert"], values)).fetchone()
        stored = brand if row is None else Brand.from_row(row)
        await append_messages(connection, [topic_messages.brand(stored, now)], now)
        changed = _changed(None if known is None else Brand.from_row(known), stored, by, now)
        await append.append(connection, [changed], now=now)
    await _rule_rows(
        ledger,
        topic_messages,
        "claim-unsettled",
        {"brand_code": brand.brand_code},
        now=now,
        by=None,
    )
    return stored


def _changed(before: Brand | None, after: Brand, by: str, now: datetime) -> Movement:
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
    found = await connection.execute(_SQL["of-codes"], {"codes": sorted(set(codes))})
    return {row["brand_code"]: Brand.from_row(row) for row in await found.fetchall()}


async def note_unknown(connection: Connection, codes: Collection[int], *, now: datetime) -> None:
    """Record brand codes that are not registered, so that the keys of such brands are found."""
    values = {"codes": sorted(codes), "now": now}
    await connection.execute(_SQL["add-unknown"], values)


async def every(ledger: Ledger) -> tuple[Brand, ...]:
    """Return every brand."""
    return tuple(Brand.from_row(row) for row in await ledger.fetch(_SQL["all"]))


async def providers(ledger: Ledger, lease_owner: LeaseOwner, before: datetime) -> tuple[int, ...]:
    """Return the İYS codes of the providers that ``lease_owner`` serves and whose subscription was
    not queried since ``before``.
    """
    rows = await ledger.fetch(_SQL["to-query"], {"before": before, **lease_owner.who})
    return tuple(row["iys_code"] for row in rows)


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
            "now": now,
        },
    )
    return tuple(Brand.from_row(row) for row in rows)


async def requeue(  # noqa: PLR0913 - what is requeued, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    brand_code: int,
    *,
    by: str,
    now: datetime,
    reason: str | None = None,
) -> int:
    """Requeue a brand's parked records (of one reason, if given); return how many.

    The history of each has who ordered it, ``by``: for a re-consent this is the proof. Whoever
    requeues retailers that differ attests that İYS was given them; for a spent quota, that there is
    room again. Other suspensions stay: only a result of İYS ends them.
    """
    if reason == retailers.DIFFERENCE:
        return await _settle_retailers(ledger, topic_messages, brand_code, by=by, now=now)
    if reason in {None, QUOTA_SPENT}:
        async with ledger.transaction() as connection:
            resumed = await suspensions.resume(
                connection, brand_code, EVERY, Status.ONAY, account=None
            )
            await append.append(connection, [_resumed(one, by, now) for one in resumed], now=now)
    return await _rule_rows(
        ledger,
        topic_messages,
        "claim-parked",
        {"brand_code": brand_code, "reason": reason},
        now=now,
        by=by,
    )


async def _settle_retailers(
    ledger: Ledger, topic_messages: TopicMessages, brand_code: int, *, by: str, now: datetime
) -> int:
    seen = 0
    while True:
        async with ledger.transaction() as connection:
            settled = await retailers.settle(connection, brand_code, size=_CHUNK)
            changes = UnitOfWork(topic_messages, now=now)
            for one in settled:
                changes.add_movement(
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
            await changes.write(connection)
        if not settled:
            return seen
        seen += len(settled)


async def _rule_rows(  # noqa: PLR0913 - one loop for both
    ledger: Ledger,
    topic_messages: TopicMessages,
    query: str,
    values: Mapping[str, Any],
    *,
    now: datetime,
    by: str | None,
) -> int:
    after, seen = "", 0
    while True:
        async with ledger.transaction() as connection:
            found = await connection.execute(
                _CONSENTS[query], {**values, "after": after, "size": _CHUNK}
            )
            rows = list(map(ConsentRow.from_row, await found.fetchall()))
            if not rows:
                return seen
            brands = await of_codes(connection, {row.brand_code for row in rows})
            changes = UnitOfWork(topic_messages, now=now)
            for row in rows:
                brand = brands.get(row.brand_code)
                seen += _requeue_row(changes, row, brand, ledger.calendar, by=by)
            await changes.write(connection)
        after = rows[-1].key


def _requeue_row(
    changes: UnitOfWork,
    row: ConsentRow,
    brand: Brand | None,
    calendar: Calendar,
    *,
    by: str | None,
) -> bool:
    now = changes.now
    if row.state is State.PARKED and by is None and row.reason != ruling.UNKNOWN_BRAND:
        changes.put(row, ruling.with_terms(row, brand, now, calendar=calendar))
        return False
    if row.state is not State.PARKED:
        row_now = row
    elif by is None:
        row_now = transition(row, Event.REQUEUE)
    else:
        row_now = ruling.requeue(row)
    ruled = ruling.rule_row(row_now, brand, now, calendar=calendar)
    if row.state is State.PARKED and by is not None:
        changes.add_movement(_requeued(row, ruled.row, by, now))
    changes.apply(row, ruled)
    return True


def _requeued(row: ConsentRow, after: ConsentRow, by: str, now: datetime) -> Movement:
    """Return the movement of a person's order: it shows why a parked record was submitted."""
    return act(
        "requeue",
        row.key,
        by=by,
        now=now,
        before={"state": row.state, "reason": row.reason, "code": row.code},
        after={"state": after.state, "reason": after.reason, "code": after.code},
        customer_id=row.customer_id,
        event_id=row.desired_event_id,
        status=row.desired_status,
    )


def _resumed(suspension: Mapping[str, Any], by: str, now: datetime) -> Movement:
    """Return the movement of a person's word that the cause of a suspension is gone."""
    return act(
        f"end suspension {suspension['channel']}/{suspension['status']}",
        brand_key(suspension["brand_code"]),
        by=by,
        now=now,
        before={name: suspension[name] for name in ("code", "reason", "since")},
        after={},
        customer_id=suspension["customer_id"],
    )
