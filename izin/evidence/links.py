"""Read the commitments between a row of the history and the next anchor of its chain."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from izin.evidence.chain import Segment
from izin.evidence.errors import UnprovenHistoryError
from izin.evidence.rows import first_link
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements

_REACHES = (timedelta(seconds=1), timedelta(minutes=15), timedelta(days=1), None)
"""How far other rows of a chain are looked for, in time; None: wherever they are."""
_NEVER, _EVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_AT_ONCE = 4
_SQL = statements("evidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A segment whose commitments are to be read."""

    shard: int
    first: int
    recorded_at: datetime
    """Of its first row."""
    before: bytes | None
    """The link of the row before the first; None: it is to be read too."""
    place: int
    link: bytes
    anchored_at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any], recorded_at: datetime) -> Self:
        """Return the segment that begins with a row of ``anchors``."""
        before = None
        if row["place"] == 1:
            before = first_link(row["shard"])
        elif row["before"] == row["place"] - 1:
            before = bytes(row["before_link"])
        return cls(
            shard=row["shard"],
            first=row["place"],
            recorded_at=recorded_at,
            before=before,
            place=row["anchor"],
            link=bytes(row["link"]),
            anchored_at=row["anchored_at"],
        )


async def segments_of(ledger: Ledger, needed: Iterable[Needed]) -> list[Segment]:
    """Return segments with their commitments, a few of them read at a time.

    Raises:
        UnprovenHistoryError: rows of one are missing.
    """
    free = asyncio.Semaphore(_AT_ONCE)

    async def read(one: Needed) -> Segment:
        async with free:
            return await _segment(ledger, one)

    return await asyncio.gather(*map(read, needed))


async def _segment(ledger: Ledger, needed: Needed) -> Segment:
    """Return a segment with its commitments.

    No row of a chain is recorded earlier than the one before it. How much earlier the one before
    was, and by how much the clock of the anchor is behind those of the writers, is tried: a second
    as a rule; where clocks differ by more, or the chain rested, it is read further.

    Raises:
        UnprovenHistoryError: rows of it are missing.
    """
    values = {"shard": needed.shard, "first": needed.first, "last": needed.place}
    before = needed.before or await _before(ledger, needed, values)
    for reach in _REACHES:
        until = _EVER if reach is None else max(needed.anchored_at, needed.recorded_at) + reach
        times = {"since": needed.recorded_at, "until": until}
        (row,) = await ledger.fetch(_SQL["window"], {**values, **times})
        if row["rows"] == needed.place - needed.first + 1:
            return Segment(
                shard=needed.shard,
                first=needed.first,
                before=before,
                place=needed.place,
                link=needed.link,
                anchored_at=needed.anchored_at.isoformat(),
                commitments=bytes(row["commitments"]),
            )
    raise UnprovenHistoryError(needed.shard, needed.first)


async def _before(ledger: Ledger, needed: Needed, values: Mapping[str, int]) -> bytes:
    """Return the link of the row before the first; raises UnprovenHistoryError."""
    for reach in _REACHES:
        since = _NEVER if reach is None else needed.recorded_at - reach
        times = {"since": since, "until": needed.recorded_at}
        for row in await ledger.fetch(_SQL["before"], {**values, **times}):
            return bytes(row["link"])
    raise UnprovenHistoryError(needed.shard, needed.first - 1)
