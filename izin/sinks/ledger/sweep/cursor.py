"""The cursor of a sweep: the next keys, and how far it is.

What the sweep writes about the keys of a page is in the transaction that moves the cursor. Where
that finds the sweep ended, for a person stopped it, nothing of the page is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from izin.consent.enums import CHANNELS, RECIPIENT_TYPES
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.sweep.sweeps import PAGE, Sweep, SweepCounts

_GROUPS = tuple(
    (channel, whose) for channel in sorted(CHANNELS) for whose in sorted(RECIPIENT_TYPES)
)
"""Channels and recipient types in the order of the keys."""
_SQL = statements("sweeps")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptKey:
    """A key as it was before İYS was asked."""

    key: str
    recipient: str
    channel: str
    recipient_type: str
    registered: str
    registered_at: datetime | None
    last_exchange_at: datetime | None

    @property
    def group(self) -> tuple[str, str]:
        """What all recipients of one request share: channel and recipient type."""
        return self.channel, self.recipient_type


async def page_after(ledger: Ledger, brand_code: int, after: str) -> tuple[SweptKey, ...]:
    """Return up to a thousand keys behind ``after`` of one channel and recipient type, without
    those that are on their way to İYS; none: the end of the brand.
    """
    values = {"brand_code": brand_code, "after": after, "size": PAGE}
    keys = [SweptKey(**row) for row in await ledger.fetch(_SQL["page"], values)]
    return tuple(one for one in keys if one.group == keys[0].group)


async def confirm(connection: Connection, keys: Sequence[str], queried_at: datetime) -> None:
    """Note that İYS showed ONAY for ``keys``, of which that was known."""
    await connection.execute(_SQL["confirm"], {"keys": list(keys), "queried_at": queried_at})


async def advance(
    connection: Connection, sweep: Sweep, after: str, counts: SweepCounts
) -> Sweep | None:
    """Move the cursor of ``sweep`` and add what was counted; return it, None where it has ended."""
    values = {"id": sweep.id, "before": sweep.after, "after": after, **asdict(counts)}
    return _open(await (await connection.execute(_SQL["advance"], values)).fetchone())


async def pass_over(ledger: Ledger, sweep: Sweep, group: tuple[str, str], why: str) -> Sweep | None:
    """Leave out the rest of a channel and recipient type, which İYS does not let us query; return
    the sweep, None where it has ended.
    """
    values = {
        "id": sweep.id,
        "before": sweep.after,
        "after": _behind(sweep.brand_code, group),
        "what": f"{group[0]}/{group[1]}: {why}",
    }
    async with ledger.transaction() as connection:
        return _open(await (await connection.execute(_SQL["pass-over"], values)).fetchone())


async def postpone(ledger: Ledger, sweep: Sweep, error: str, retry_at: datetime) -> None:
    """Have ``sweep`` wait until ``retry_at``, because of ``error``."""
    values = {"id": sweep.id, "error": error, "retry_at": retry_at}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["postpone"], values)


async def end(ledger: Ledger, sweep: Sweep, *, now: datetime) -> Sweep | None:
    """End ``sweep``, of which every key is done; return it, None where it has ended before."""
    async with ledger.transaction() as connection:
        found = await connection.execute(_SQL["end"], {"id": sweep.id, "now": now})
        return _open(await found.fetchone())


def _open(row: Mapping[str, Any] | None) -> Sweep | None:
    return None if row is None else Sweep.from_row(row)


def _behind(brand_code: int, group: tuple[str, str]) -> str:
    """Return a place behind every key of a channel and recipient type, before those of the next."""
    place = _GROUPS.index(group) + 1
    if place == len(_GROUPS):
        return f"{brand_code}/Z"
    channel, recipient_type = _GROUPS[place]
    return f"{brand_code}/{channel}/{recipient_type}"
