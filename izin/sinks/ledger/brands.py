"""The brands, and what keeps a brand's records from İYS.

A stop stands beside a brand, not in its records: a million opt-outs behind a closed subscription
are one row and go on by themselves when İYS takes one of them again. A lost right stops one
channel, a spent quota only new ONAYs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from izin.consent.clocks import BrandClock
from izin.consent.model import Status
from izin.iys.wire import BrandPath
from izin.sinks import rulings
from izin.sinks.ledger import retailers
from izin.sinks.ledger.changes import Changes, append_messages
from izin.sinks.ledger.entry import Entry
from izin.sinks.ledger.movements import Movement
from izin.sinks.ledger.statements import statements

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from izin.consent.business_days import Calendar
    from izin.sinks.announce import Announcer
    from izin.sinks.ledger.database import Connection, Ledger

EVERY = "*"
"""Every channel, or every status, of a stop."""
_CHUNK = 1000
_SQL = statements("brands")
_CONSENTS = statements("consents")


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """A brand of a customer at İYS."""

    brand_code: int
    iys_code: int
    customer_id: str
    name: str
    activated_at: datetime | None = None
    loading_deadline: datetime | None = None
    status: str = "active"

    @property
    def path(self) -> BrandPath:
        """Where its records stand at İYS."""
        return BrandPath(iys_code=self.iys_code, brand_code=self.brand_code)

    @property
    def clock(self) -> BrandClock:
        """When its terms run."""
        return BrandClock(activated_at=self.activated_at, loading_deadline=self.loading_deadline)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Brand:
        """Return the brand that a row of ``brands`` holds."""
        return cls(**row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What keeps records of a brand from İYS, and until when it is not even tried."""

    brand_code: int
    channel: str
    status: str
    code: str
    why: str
    reach: str
    """Whom the fault concerns: the brand, every brand of its provider, or of our account."""
    since: datetime
    recheck_at: datetime
    rechecks: int


async def upsert(ledger: Ledger, announcer: Announcer, brand: Brand, *, now: datetime) -> Brand:
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
            "now": now,
        }
        row = await (await connection.execute(_SQL["upsert"], values)).fetchone()
        stands = brand if row is None else Brand.from_row(row)
        await append_messages(connection, [announcer.brand(stands, now)], now)
    await _reckon(ledger, announcer, stands, now=now)
    return stands


async def of_codes(connection: Connection, codes: Collection[int]) -> dict[int, Brand]:
    """Return the brands of these codes that are known."""
    found = await connection.execute(_SQL["of-codes"], {"codes": sorted(set(codes))})
    return {row["brand_code"]: Brand.from_row(row) for row in await found.fetchall()}


async def every(ledger: Ledger) -> tuple[Brand, ...]:
    """Return every brand."""
    return tuple(Brand.from_row(row) for row in await ledger.fetch(_SQL["all"]))


async def stops(ledger: Ledger) -> tuple[Stop, ...]:
    """Return what is kept from İYS, and why."""
    return tuple(Stop(**row) for row in await ledger.fetch(_SQL["stops"]))


async def stop(  # noqa: PLR0913 - what is stopped, why, and until when
    connection: Connection,
    brand: Brand,
    *,
    channel: str,
    status: str,
    code: str,
    why: str,
    now: datetime,
    reach: str = "brand",
) -> None:
    """Keep records of this channel and status from İYS: the brand's, and those of every brand that
    ``reach`` says; they are tried again in a minute, then ever less often.
    """
    await connection.execute(
        _SQL["stop"],
        {
            "brand_code": brand.brand_code,
            "iys_code": brand.iys_code,
            "channel": channel,
            "status": status,
            "code": code,
            "why": why,
            "reach": reach,
            "now": now,
        },
    )


async def try_now(ledger: Ledger, brand_code: int, *, now: datetime) -> int:
    """Let one record of each of the brand's stops be tried at once; return how many stops."""
    return len(await ledger.fetch(_SQL["try-now"], {"brand_code": brand_code, "now": now}))


async def may_try(  # noqa: PLR0913 - what is tried, and when again
    connection: Connection,
    brand_code: int,
    channel: str,
    status: str,
    *,
    now: datetime,
    recheck_at: datetime,
) -> bool | None:
    """Return whether records may be told: True all, None a single one as a try, False none."""
    scope = {"brand_code": brand_code, "channel": channel, "status": status}
    standing = await (await connection.execute(_SQL["standing"], scope)).fetchone()
    if standing is None or not standing["exists"]:
        return True
    values = {**scope, "now": now, "recheck_at": recheck_at}
    taken = await (await connection.execute(_SQL["recheck"], values)).fetchone()
    return None if taken is not None else False


async def lift(connection: Connection, brand_code: int, channel: str, status: str) -> None:
    """Let the brand's records go again: İYS took one."""
    await connection.execute(
        _SQL["lift"], {"brand_code": brand_code, "channel": channel, "status": status}
    )


async def requeue(
    ledger: Ledger, announcer: Announcer, brand_code: int, *, now: datetime, why: str | None = None
) -> int:
    """Have a brand's parked records (of one reason, if given) looked at again; return how many.

    Of retailers that differ, whoever releases them vouches that İYS was told.
    """
    if why == retailers.DIFFERENCE:
        return await _settle_retailers(ledger, announcer, brand_code, now=now)
    async with ledger.transaction() as connection:
        for status in Status:
            await lift(connection, brand_code, EVERY, status)
    return await _each(
        ledger,
        announcer,
        "claim-parked",
        {"brand_code": brand_code, "why": why},
        now=now,
        person=True,
    )


async def _settle_retailers(
    ledger: Ledger, announcer: Announcer, brand_code: int, *, now: datetime
) -> int:
    seen = 0
    while True:
        async with ledger.transaction() as connection:
            settled = await retailers.settle(connection, brand_code, size=_CHUNK)
            changes = Changes(announcer, now=now)
            for one in settled:
                changes.note(
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
                        },
                    )
                )
            await changes.write(connection)
        if not settled:
            return seen
        seen += len(settled)


async def _reckon(ledger: Ledger, announcer: Announcer, brand: Brand, *, now: datetime) -> None:
    await _each(
        ledger,
        announcer,
        "claim-unsettled",
        {"brand_code": brand.brand_code},
        now=now,
        person=False,
    )


async def _each(  # noqa: PLR0913 - one walk for both
    ledger: Ledger,
    announcer: Announcer,
    query: str,
    values: Mapping[str, Any],
    *,
    now: datetime,
    person: bool,
) -> int:
    after, seen = "", 0
    while True:
        async with ledger.transaction() as connection:
            found = await connection.execute(
                _CONSENTS[query], {**values, "after": after, "size": _CHUNK}
            )
            entries = [Entry.from_row(row) for row in await found.fetchall()]
            if not entries:
                return seen
            brands = await of_codes(connection, {entry.brand_code for entry in entries})
            changes = Changes(announcer, now=now)
            for entry in entries:
                brand = brands.get(entry.brand_code)
                seen += _look_again(changes, entry, brand, ledger.calendar, person=person)
            await changes.write(connection)
        after = entries[-1].key


def _look_again(
    changes: Changes, entry: Entry, brand: Brand | None, calendar: Calendar, *, person: bool
) -> bool:
    now = changes.now
    if entry.state == "parked" and not person and entry.why != rulings.UNKNOWN_BRAND:
        changes.put(entry, rulings.reckoned(entry, brand, now, calendar=calendar))
        return False
    if entry.state == "parked":
        entry_now = rulings.released(entry) if person else entry.but(state="pending")
    else:
        entry_now = entry
    changes.rule(entry, rulings.ruled(entry_now, brand, now, calendar=calendar))
    return True
