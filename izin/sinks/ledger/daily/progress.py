"""What becomes of İYS's daily files: each change is made where the state is the one before it, so
that two processes cannot both make it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.types.json import Jsonb

from izin.schemas.timestamps import TimestampState
from izin.sinks.ledger.daily.files import DailyFile, FileState
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import brand_key, record_act
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.lease import LeaseOwner

_SQL = statements("daily")


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """What is stored with the lines of a file."""

    counts: Sequence[Mapping[str, object]]
    hash_value: str
    hashed_prefix: bytes
    lines: int
    is_agreed: bool
    """Whether İYS had our agreement before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFile:
    """What a comparison of a file with our own finds."""

    own_hash: str
    only_at_iys: int
    only_here: int
    timestamp_reply: bytes | None
    timestamp_state: TimestampState
    timestamped_at: datetime | None


async def note(
    ledger: Ledger, days: Sequence[date], *, lease_owner: LeaseOwner, now: datetime
) -> None:
    """Note the days of the brands that a process serves; those that are noted stay as they are."""
    values = {"days": list(days), "now": now, **lease_owner.who}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["note"], values)


async def attempted(  # noqa: PLR0913 - what came of an attempt
    ledger: Ledger,
    file: DailyFile,
    *,
    next_attempt_at: datetime,
    error: str | None = None,
    counts: Sequence[Mapping[str, object]] | None = None,
    process_status: str | None = None,
) -> None:
    """Note that nothing came of an attempt, or not yet, and when the next one is due."""
    values = file.place | {
        "next_attempt_at": next_attempt_at,
        "error": error,
        "counts": None if counts is None else Jsonb(list(counts)),
        "process_status": process_status,
    }
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["attempted"], values)


async def close(
    ledger: Ledger,
    file: DailyFile,
    state: FileState,
    *,
    counts: Sequence[Mapping[str, object]] | None = None,
) -> None:
    """Note that a day has no file to be fetched: it is ``empty`` or ``gone``."""
    values = file.place | {
        "state": str(state),
        "counts": None if counts is None else Jsonb(list(counts)),
    }
    async with ledger.transaction() as connection:
        await _changed(connection, "close", values)


async def fetched(
    connection: Connection, file: DailyFile, found: FetchedFile, *, now: datetime
) -> None:
    """Note that a file is here, in the transaction in which its lines are stored.

    Raises:
        ConcurrentChangeError: another process has fetched it.
    """
    values = file.place | {
        "now": now,
        "counts": Jsonb(list(found.counts)),
        "hash_value": found.hash_value,
        "hashed_prefix": found.hashed_prefix,
        "lines": found.lines,
        "agreed_at": now if found.is_agreed else None,
    }
    await _changed(connection, "fetched", values)


async def entered(
    connection: Connection, file: DailyFile, *, before: int, line: int, count: int
) -> None:
    """Note that ``count`` lines which only İYS's file has were recorded, the last of them ``line``
    (from 1), where ``before`` was the last until now.

    Raises:
        ConcurrentChangeError: another process has recorded them.
    """
    values = file.place | {"before": before, "line": line, "count": count}
    await _changed(connection, "entered", values)


async def compared(ledger: Ledger, file: DailyFile, found: ComparedFile, *, now: datetime) -> None:
    """Note what a comparison found; all that only İYS's file has is recorded.

    Raises:
        ConcurrentChangeError: another process has compared it.
    """
    values = file.place | {
        "own_hash": found.own_hash,
        "only_at_iys": found.only_at_iys,
        "only_here": found.only_here,
        "timestamp_reply": found.timestamp_reply,
        "timestamp_state": str(found.timestamp_state),
        "timestamped_at": found.timestamped_at,
        "now": now,
    }
    async with ledger.transaction() as connection:
        await _changed(connection, "compared", values)


async def order_fetch(ledger: Ledger, brand_code: int, day: date, *, now: datetime) -> FileState:
    """Have a worker fetch a file at its next turn, or compare again one that is here."""
    values = {"brand_code": brand_code, "day": day, "now": now}
    async with ledger.transaction() as connection:
        row = await (await connection.execute(_SQL["order-fetch"], values)).fetchone()
    return FileState.WAITING if row is None else FileState(row["state"])


async def order_agreement(
    ledger: Ledger, file: DailyFile, *, by: str, customer_id: str, now: datetime
) -> bool:
    """Have a worker declare that we agree with a file, and write to the history who ordered it.

    False: nothing was ordered, for it was before, or both files differ.
    """
    async with ledger.transaction() as connection:
        values = file.place | {"by": by, "now": now}
        found = await connection.execute(_SQL["order-agreement"], values)
        if await found.fetchone() is None:
            return False
        await record_act(
            connection,
            "agree to daily file",
            brand_key(file.brand_code),
            by=by,
            now=now,
            before={"day": str(file.day), "agreed": False},
            after={"day": str(file.day), "agreed": True, "hash": file.hash_value},
            customer_id=customer_id,
        )
    return True


async def agreed(ledger: Ledger, file: DailyFile, *, now: datetime) -> None:
    """Note that İYS has our agreement."""
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["agreed"], file.place | {"now": now})


async def _changed(connection: Connection, statement: str, values: Mapping[str, Any]) -> None:
    if await (await connection.execute(_SQL[statement], values)).fetchone() is None:
        where = f"{values['brand_code']} of {values['day']}"
        raise ConcurrentChangeError(f"the daily file of {where} was changed by another process")
