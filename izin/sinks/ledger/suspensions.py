"""What keeps a brand's records from İYS until it is mended.

A stop stands beside a brand, not in its records: a million opt-outs behind a closed subscription
are one row and go on by themselves when İYS takes one of them again. A lost right stops one
channel, a spent quota only new ONAYs. What a person says the brand has no right to write is a stop
too, one that is never tried: only a person lifts it.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from izin.consent.model import Channel
from izin.sinks.ledger.db import notifications
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.brand import Brand
from izin.sinks.record.suspension import EVERY, NO_RIGHT, Suspension

_SQL = statements("suspensions")
_CURSORS = statements("stream_progress")


async def every(ledger: Ledger) -> tuple[Suspension, ...]:
    """Return what is kept from İYS, and why."""
    return tuple(Suspension(**row) for row in await ledger.fetch(_SQL["all"]))


async def suspend(  # noqa: PLR0913 - what is stopped, why, and until when
    connection: Connection,
    brand: Brand,
    *,
    account: str,
    channel: str,
    status: str,
    code: str,
    reason: str,
    now: datetime,
    scope: str = "brand",
) -> None:
    """Keep records of this channel and status from İYS: the brand's, and those of every brand that
    ``reach`` says (of an account: those that ``account`` tells); they are tried again in a minute,
    then ever less often.
    """
    await connection.execute(
        _SQL["suspend"],
        {
            "brand_code": brand.brand_code,
            "iys_code": brand.iys_code,
            "account": account,
            "channel": channel,
            "status": status,
            "code": code,
            "reason": reason,
            "scope": scope,
            "now": now,
        },
    )


async def recheck_now(ledger: Ledger, brand_code: int, *, now: datetime) -> int:
    """Let one record of each of the brand's stops be tried at once; return how many stops.

    What a person said is not tried: it is taken back.
    """
    return len(await ledger.fetch(_SQL["recheck-now"], {"brand_code": brand_code, "now": now}))


async def may_submit(  # noqa: PLR0913 - what is tried, and when again
    connection: Connection,
    brand_code: int,
    channel: str,
    status: str,
    *,
    account: str,
    now: datetime,
    recheck_at: datetime,
) -> bool | None:
    """Return whether records may be told: True all, None a single one as a try, False none."""
    scope = {"brand_code": brand_code, "channel": channel, "status": status}
    standing = await (await connection.execute(_SQL["is-suspended"], scope)).fetchone()
    if standing is None or not standing["exists"]:
        return True
    values = {**scope, "account": account, "now": now, "recheck_at": recheck_at}
    taken = await (await connection.execute(_SQL["recheck"], values)).fetchone()
    return None if taken is not None else False


async def resume(  # noqa: PLR0913 - of whom, what, and how it is known
    connection: Connection,
    brand_code: int,
    channel: str,
    status: str,
    *,
    account: str | None,
    taken: bool = True,
) -> None:
    """Let the brand's records go again, and what hung on the same fault of the ``account``: İYS
    took one. One that it did not take, for what it says, shows as much, but not that there is room
    for new ONAYs.
    """
    lifted = await connection.execute(
        _SQL["resume"],
        {
            "brand_code": brand_code,
            "channel": channel,
            "status": status,
            "account": account,
            "taken": taken,
        },
    )
    given_back = {row["brand_code"] for row in await lifted.fetchall() if row["channel"] != EVERY}
    if given_back:
        await _pull_anew(connection, given_back)


async def _pull_anew(connection: Connection, brand_codes: Collection[int]) -> None:
    """Have the streams of brands pulled from the start of İYS's window: it left out of its pages
    what might not be read while a right to one channel was lost.
    """
    await connection.execute(_CURSORS["restart"], {"brand_codes": list(brand_codes)})


async def is_suspended_by_operator(
    connection: Connection, brand_code: int, channel: str, status: str
) -> bool:
    """Return whether a person has said that such records are not to be told."""
    scope = {"brand_code": brand_code, "channel": channel, "status": status}
    row = await (await connection.execute(_SQL["is-suspended-by-operator"], scope)).fetchone()
    return row is not None and bool(row["exists"])


def rights(found: Iterable[Suspension]) -> tuple[Channel, ...]:
    """Return the channels that a brand with these stops may write."""
    lost = {one.channel for one in found if one.status == EVERY}
    return tuple(channel for channel in Channel if channel not in lost)


async def set_rights(
    ledger: Ledger, brand_code: int, channels: Collection[Channel], *, by: str, now: datetime
) -> None:
    """Keep that the brand may write ``channels`` at İYS, and no others; what is given back goes on
    at once.
    """
    taken = [str(channel) for channel in Channel if channel not in channels]
    scope = {"brand_code": brand_code}
    reason = f"the brand registry says there is no right to write it (by {by})"
    async with ledger.transaction() as connection:
        values = {**scope, "channels": taken, "code": NO_RIGHT, "reason": reason, "now": now}
        await connection.execute(_SQL["revoke-right"], values)
        await connection.execute(
            _SQL["restore-right"], {**scope, "channels": [str(one) for one in channels]}
        )
        await _pull_anew(connection, [brand_code])
        await connection.execute(f"NOTIFY {notifications.OPT_OUTS}")
        await connection.execute(f"NOTIFY {notifications.BULK}")
