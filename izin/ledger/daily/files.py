"""İYS's daily files: how far each is, what is known of it, and what becomes of it.

A file is ``waiting`` until İYS has it and it could be fetched whole; ``empty`` where the day has no
movements; ``fetched`` when it is here and its hash is right; ``compared`` when what only it has is
recorded; ``gone`` where İYS shows it no more. Each change is made where the state is the one before
it, so that two processes cannot both make it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from psycopg.types.json import Jsonb

from izin.consent import TURKEY
from izin.ledger.db import Connection, Ledger, fetch_one, statements
from izin.ledger.history import brand_key, record_act
from izin.ledger.record import ConcurrentChangeError, LeaseOwner
from izin.schemas.timestamps import Timestamp, TimestampState

SHOWN_FOR = 7
"""For so many days İYS shows the file of a day (H502)."""
REVIEWED_FOR = 14
"""For so many days a person is alerted of a file that was lost or differs."""
LATE_AFTER = 2
"""So many days after its day a file that is not compared is late."""
_SQL = statements("daily")


Counts = Sequence[Mapping[str, Any]]
"""What İYS counts of a day, as ``DayCount.to_json``."""


class FileState(StrEnum):
    """How far the file of a day is."""

    WAITING = "waiting"
    EMPTY = "empty"
    FETCHED = "fetched"
    COMPARED = "compared"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyFile:
    """The file of one day of a brand, without its lines."""

    brand_code: int
    day: date
    """In Turkish time."""
    state: FileState
    noted_at: datetime
    next_attempt_at: datetime
    attempts: int
    error: str | None
    counts: Counts | None
    process_status: str | None
    hash_value: str | None
    """İYS's SHA-384, in hex."""
    hashed_prefix: bytes | None
    """What stood before the lines where İYS made its hash."""
    lines: int | None
    fetched_at: datetime | None
    own_hash: str | None
    only_at_iys: int | None
    only_here: int | None
    entered_lines: int
    entered: int
    compared_at: datetime | None
    redacted: int
    timestamp_reply: bytes | None
    timestamp_state: TimestampState | None
    timestamped_at: datetime | None
    agree_ordered_by: str | None
    agreed_at: datetime | None

    @property
    def is_equal(self) -> bool:
        """Whether our own file of the day has İYS's hash."""
        return self.state is FileState.COMPARED and self.own_hash == self.hash_value

    @property
    def total(self) -> int | None:
        """How many movements İYS counts; None where it was not asked yet."""
        return None if self.counts is None else sum(int(count["total"]) for count in self.counts)

    @property
    def place(self) -> dict[str, Any]:
        """Brand and day, as parameters of SQL statements."""
        return {"brand_code": self.brand_code, "day": self.day}

    @property
    def is_open(self) -> bool:
        """Whether it is not compared yet, and may be."""
        return self.state in {FileState.WAITING, FileState.FETCHED}

    def is_late(self, now: datetime) -> bool:
        """Whether a person must know that it is not compared yet; the days before a brand was
        registered are fetched when they are noted, and late by no fault.
        """
        is_old = self.day <= today_in_turkey(now) - timedelta(days=LATE_AFTER)
        return self.is_open and is_old and self.noted_at < now - timedelta(days=1)

    def needs_person(self, now: datetime) -> bool:
        """Whether a person must look at it."""
        return (
            self.is_late(now)
            or self.state is FileState.GONE
            or bool(self.only_at_iys)
            or self.timestamp_state is TimestampState.WRONG
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the file of a row of ``daily_files``."""
        timestamp = row["timestamp_state"]
        return cls(
            **{
                **row,
                "state": FileState(row["state"]),
                "timestamp_state": None if timestamp is None else TimestampState(timestamp),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a comparison of İYS's file with our own found."""

    own_hash: str
    """The SHA-384 of our own file in hex, its lines in İYS's order where both have them."""
    only_at_iys: int
    only_here: int

    @property
    def differs(self) -> bool:
        """Whether a line is in one file alone."""
        return bool(self.only_at_iys or self.only_here)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """How many files of a brand are in a state, and how many lines only one side has."""

    brand_code: int
    state: str
    files: int
    only_at_iys: int
    only_here: int


def today_in_turkey(now: datetime) -> date:
    """Return the day that ``now`` is in, in Turkish time."""
    return now.astimezone(TURKEY).date()


def first_shown(now: datetime) -> date:
    """Return the earliest day whose file İYS shows."""
    return today_in_turkey(now) - timedelta(days=SHOWN_FOR)


async def due(ledger: Ledger, *, lease_owner: LeaseOwner, now: datetime) -> tuple[DailyFile, ...]:
    """Return the files that something is to be done about now, the oldest day first."""
    values = {"now": now, "first": first_shown(now), **lease_owner.who}
    return tuple(map(DailyFile.from_row, await ledger.fetch(_SQL["due"], values)))


async def since(
    ledger: Ledger, day: date, *, brand_code: int | None = None
) -> tuple[DailyFile, ...]:
    """Return the files of a brand, or of all, since a day, the latest first."""
    values = {"brand_code": brand_code, "since": day}
    return tuple(map(DailyFile.from_row, await ledger.fetch(_SQL["files"], values)))


async def one(ledger: Ledger, brand_code: int, day: date) -> DailyFile | None:
    """Return the file of a day; None: it was never noted."""
    rows = await ledger.fetch(_SQL["file"], {"brand_code": brand_code, "day": day})
    return DailyFile.from_row(rows[0]) if rows else None


async def unsettled(ledger: Ledger, *, now: datetime) -> tuple[DailyFile, ...]:
    """Return the files of the last fortnight, of active brands, that a person must look at."""
    since = today_in_turkey(now) - timedelta(days=REVIEWED_FOR)
    found = map(DailyFile.from_row, await ledger.fetch(_SQL["unsettled"], {"since": since}))
    return tuple(file for file in found if file.needs_person(now))


async def states(ledger: Ledger, *, now: datetime) -> tuple[StateCount, ...]:
    """Return how many files of each brand are in each state, of the days that İYS still shows."""
    return tuple(
        StateCount(**row) for row in await ledger.fetch(_SQL["states"], {"since": first_shown(now)})
    )


async def note(
    ledger: Ledger, days: Sequence[date], *, lease_owner: LeaseOwner, now: datetime
) -> None:
    """Note the days of the brands that a process serves; those that are noted stay as they are."""
    await ledger.execute(_SQL["note"], {"days": list(days), "now": now, **lease_owner.who})


async def attempted(  # noqa: PLR0913 - what came of an attempt
    ledger: Ledger,
    file: DailyFile,
    *,
    next_attempt_at: datetime,
    error: str | None = None,
    counts: Counts | None = None,
    process_status: str | None = None,
) -> None:
    """Note that nothing came of an attempt, or not yet, and when the next one is due."""
    values = {"next_attempt_at": next_attempt_at, "error": error, "counts": _json(counts)}
    await ledger.execute(
        _SQL["attempted"], file.place | values | {"process_status": process_status}
    )


async def close(
    ledger: Ledger, file: DailyFile, state: FileState, *, counts: Counts | None = None
) -> None:
    """Note that a day has no file to be fetched: it is ``empty`` or ``gone``."""
    async with ledger.transaction() as connection:
        await _change(connection, file, "close", state=state, counts=_json(counts))


async def fetched(  # noqa: PLR0913 - what is stored with the lines of a file
    connection: Connection,
    file: DailyFile,
    *,
    counts: Counts,
    hash_value: str,
    hashed_prefix: bytes,
    lines: int,
    agreed_at: datetime | None,
    now: datetime,
) -> None:
    """Note that a file is here, in the transaction in which its lines are stored.

    Raises:
        ConcurrentChangeError: another process has fetched it.
    """
    await _change(
        connection,
        file,
        "fetched",
        hash_value=hash_value,
        hashed_prefix=hashed_prefix,
        lines=lines,
        counts=_json(counts),
        agreed_at=agreed_at,
        now=now,
    )


async def entered(
    connection: Connection, file: DailyFile, *, before: int, line: int, count: int
) -> None:
    """Note that ``count`` lines which only İYS's file has were recorded, the last of them ``line``
    (from 1), where ``before`` was the last until now.

    Raises:
        ConcurrentChangeError: another process has recorded them.
    """
    await _change(connection, file, "entered", before=before, line=line, count=count)


async def compared(  # noqa: PLR0913 - what a comparison found
    ledger: Ledger,
    file: DailyFile,
    found: Compared,
    timestamp: Timestamp,
    *,
    timestamp_reply: bytes | None,
    now: datetime,
) -> None:
    """Note what a comparison found, and İYS's time stamp; all that only İYS's file has is recorded.

    Raises:
        ConcurrentChangeError: another process has compared it.
    """
    async with ledger.transaction() as connection:
        await _change(
            connection,
            file,
            "compared",
            **asdict(found),
            timestamp_reply=timestamp_reply,
            timestamp_state=timestamp.state,
            timestamped_at=timestamp.at,
            now=now,
        )


async def order_fetch(ledger: Ledger, brand_code: int, day: date, *, now: datetime) -> FileState:
    """Have a worker fetch a file at its next turn, or compare again one that is here."""
    (row,) = await ledger.execute(
        _SQL["order-fetch"], {"brand_code": brand_code, "day": day, "now": now}
    )
    return FileState(row["state"])


async def order_agreement(
    ledger: Ledger, file: DailyFile, *, by: str, customer_id: str, now: datetime
) -> bool:
    """Have a worker declare that we agree with a file, and write to the history who ordered it.

    False: nothing was ordered, for it was before, or both files differ.
    """
    async with ledger.transaction() as connection:
        values = file.place | {"by": by, "now": now}
        if await fetch_one(connection, _SQL["order-agreement"], values) is None:
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
    await ledger.execute(_SQL["agreed"], file.place | {"now": now})


def _json(counts: Counts | None) -> Jsonb | None:
    return None if counts is None else Jsonb(list(counts))


async def _change(
    connection: Connection, file: DailyFile, statement: str, **values: object
) -> None:
    if await fetch_one(connection, _SQL[statement], file.place | values) is None:
        where = f"{file.brand_code} of {file.day}"
        raise ConcurrentChangeError(f"the daily file of {where} was changed by another process")
