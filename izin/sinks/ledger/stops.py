"""What keeps a brand's records from İYS until it is mended.

A stop stands beside a brand, not in its records: a million opt-outs behind a closed subscription
are one row and go on by themselves when İYS takes one of them again. A lost right stops one
channel, a spent quota only new ONAYs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from izin.sinks.ledger.statements import statements

if TYPE_CHECKING:
    from datetime import datetime

    from izin.sinks.ledger.brands import Brand
    from izin.sinks.ledger.database import Connection, Ledger

EVERY = "*"
"""Every channel, or every status, of a stop."""
_SQL = statements("stops")


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
