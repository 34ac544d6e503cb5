"""İYS's daily files: how far each is, and what is known of it.

A file is ``waiting`` until İYS has it and it could be fetched whole; ``empty`` where the day has no
movements; ``fetched`` when it is here and its hash is right; ``compared`` when what only it has is
recorded; ``gone`` where İYS shows it no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from izin.consent.due_dates import TURKEY
from izin.schemas.timestamps import TimestampState
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.lease import LeaseOwner

SHOWN_FOR = 7
"""For so many days İYS shows the file of a day (H502)."""
REVIEWED_FOR = 14
"""For so many days a person is alerted of a file that was lost or differs."""
LATE_AFTER = 2
"""So many days after its day a file that is not compared is late."""
_SQL = statements("daily")


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
    counts: Sequence[Mapping[str, Any]] | None
    """What İYS counts, as ``DayCount.to_json``."""
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
        return None if self.counts is None else sum(int(one["total"]) for one in self.counts)

    @property
    def place(self) -> dict[str, Any]:
        """Brand and day, as parameters of SQL statements."""
        return {"brand_code": self.brand_code, "day": self.day}

    def is_late(self, today: date) -> bool:
        """Whether a person must know that it is not compared yet."""
        is_open = self.state in {FileState.WAITING, FileState.FETCHED}
        return is_open and self.day <= today - timedelta(days=LATE_AFTER)

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
    rows = await ledger.fetch(
        _SQL["due"], {"now": now, "first": first_shown(now), **lease_owner.who}
    )
    return tuple(map(DailyFile.from_row, rows))


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
    """Return the files of the last fortnight that a person must know of: late ones, those that are
    gone, and those with lines that only İYS had or a wrong time stamp.
    """
    today = today_in_turkey(now)
    values = {
        "since": today - timedelta(days=REVIEWED_FOR),
        "late": today - timedelta(days=LATE_AFTER),
    }
    return tuple(map(DailyFile.from_row, await ledger.fetch(_SQL["unsettled"], values)))


async def states(ledger: Ledger, *, now: datetime) -> tuple[StateCount, ...]:
    """Return how many files of each brand are in each state, of the days that İYS still shows."""
    rows = await ledger.fetch(_SQL["states"], {"since": first_shown(now)})
    return tuple(StateCount(**row) for row in rows)
