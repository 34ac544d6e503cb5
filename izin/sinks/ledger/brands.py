"""The brands: whose they are, when their terms run, by whom they are told, and what İYS showed of
their subscription.

What keeps a brand's records from İYS for a while stands in ``ledger.stops``.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from izin.consent.business_days import Calendar
from izin.consent.lifecycle import Event, State
from izin.consent.model import Status
from izin.iys.wire_format.account import Subscription
from izin.sinks.ledger import retailers, suspensions
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import UnitOfWork, append_messages
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.row import ConsentRow
from izin.sinks.record.suspension import EVERY
from izin.sinks.record.transitions import transition

QUOTA_SPENT = "quota-spent"
_CHUNK = 1000
_SQL = statements("brands")
_CONSENTS = statements("consents")


async def upsert(
    ledger: Ledger, topic_messages: TopicMessages, brand: Brand, *, now: datetime
) -> Brand:
    """Write ``brand`` to the ledger and the ``brands`` topic, and reckon anew what hangs on it.

    Records that were parked because nobody knew the brand go on from here. Return the brand as it
    stands.
    """
    async with ledger.transaction() as connection:
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
        stands = brand if row is None else Brand.from_row(row)
        await append_messages(connection, [topic_messages.brand(stands, now)], now)
    await _reckon(ledger, topic_messages, stands, now=now)
    return stands


async def of_codes(connection: Connection, codes: Collection[int]) -> dict[int, Brand]:
    """Return the brands of these codes that are known."""
    found = await connection.execute(_SQL["of-codes"], {"codes": sorted(set(codes))})
    return {row["brand_code"]: Brand.from_row(row) for row in await found.fetchall()}


async def note_unknown(connection: Connection, codes: Collection[int], *, now: datetime) -> None:
    """Note brands that the registry does not know, so that what is kept of them is found."""
    values = {"codes": sorted(codes), "now": now}
    await connection.execute(_SQL["add-unknown"], values)


async def every(ledger: Ledger) -> tuple[Brand, ...]:
    """Return every brand."""
    return tuple(Brand.from_row(row) for row in await ledger.fetch(_SQL["all"]))


async def providers(ledger: Ledger, lease_owner: LeaseOwner, before: datetime) -> tuple[int, ...]:
    """Return the İYS codes of providers that ``holder`` tells for and whose subscription was not
    asked for since ``before``.
    """
    rows = await ledger.fetch(_SQL["to-query"], {"before": before, **lease_owner.who})
    return tuple(row["iys_code"] for row in rows)


async def set_subscription(
    ledger: Ledger, iys_code: int, found: Subscription, *, now: datetime
) -> tuple[Brand, ...]:
    """Keep what İYS showed of a provider's subscription; return its brands."""
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


async def requeue(  # noqa: PLR0913 - what is looked at again, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    brand_code: int,
    *,
    by: str,
    now: datetime,
    reason: str | None = None,
) -> int:
    """Have a brand's parked records (of one reason, if given) looked at again; return how many.

    Whose order it was, ``by``, stands in the history of each: of a re-consent it is the proof. Of
    retailers that differ, whoever releases them vouches that İYS was told; of a spent quota, that
    there is room again. What else is kept from İYS stays so: only its answer lifts it.
    """
    if reason == retailers.DIFFERENCE:
        return await _settle_retailers(ledger, topic_messages, brand_code, by=by, now=now)
    if reason in {None, QUOTA_SPENT}:
        async with ledger.transaction() as connection:
            await suspensions.resume(connection, brand_code, EVERY, Status.ONAY, account=None)
    return await _each(
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
                    Movement(
                        kind="act",
                        customer_id=one["customer_id"],
                        key=one["key"],
                        event_id=one["event_id"],
                        status=str(Status.ONAY),
                        source=f"retailers/{one['key']}/{one['event_id']}/{now.isoformat()}",
                        occurred_at=now,
                        data={
                            "told İYS of": retailers.DIFFERENCE,
                            "retailer_code": one["code"],
                            "retailer_access": one["access"],
                            "by": by,
                        },
                    )
                )
            await changes.write(connection)
        if not settled:
            return seen
        seen += len(settled)


async def _reckon(
    ledger: Ledger, topic_messages: TopicMessages, brand: Brand, *, now: datetime
) -> None:
    await _each(
        ledger,
        topic_messages,
        "claim-unsettled",
        {"brand_code": brand.brand_code},
        now=now,
        by=None,
    )


async def _each(  # noqa: PLR0913 - one walk for both
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
            entries = [ConsentRow.from_row(row) for row in await found.fetchall()]
            if not entries:
                return seen
            brands = await of_codes(connection, {entry.brand_code for entry in entries})
            changes = UnitOfWork(topic_messages, now=now)
            for entry in entries:
                brand = brands.get(entry.brand_code)
                seen += _look_again(changes, entry, brand, ledger.calendar, by=by)
            await changes.write(connection)
        after = entries[-1].key


def _look_again(
    changes: UnitOfWork,
    entry: ConsentRow,
    brand: Brand | None,
    calendar: Calendar,
    *,
    by: str | None,
) -> bool:
    now = changes.now
    if entry.state is State.PARKED and by is None and entry.reason != ruling.UNKNOWN_BRAND:
        changes.put(entry, ruling.with_terms(entry, brand, now, calendar=calendar))
        return False
    if entry.state is State.PARKED and by is not None:
        changes.add_movement(_released(entry, by, now))
        entry_now = ruling.requeue(entry)
    elif entry.state is State.PARKED:
        entry_now = transition(entry, Event.REQUEUE)
    else:
        entry_now = entry
    changes.apply(entry, ruling.rule_row(entry_now, brand, now, calendar=calendar))
    return True


def _released(entry: ConsentRow, by: str, now: datetime) -> Movement:
    """Return what the history keeps of a person's word: without it nobody could tell later why a
    record that was parked went out after all.
    """
    return Movement(
        kind="act",
        customer_id=entry.customer_id,
        key=entry.key,
        event_id=entry.desired_event_id,
        status=entry.desired_status,
        source=f"requeue/{entry.key}/{now.isoformat()}",
        occurred_at=now,
        data={"requeued": entry.reason, "code": entry.code, "by": by},
    )
