"""Read the commitments between a row of the history and the next anchor of its chain."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from izin.evidence.chain import Segment
from izin.evidence.errors import UnprovenHistoryError
from izin.evidence.rows import first_link
from izin.sinks.ledger.archive.rows import ArchivedRow, row_of
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements

_BEFORE, _AFTER = timedelta(minutes=15), timedelta(minutes=5)
"""Within which the rows around ours were recorded, as a rule: chains are anchored every ten
minutes, by a clock that is about that of the writers."""
_EVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
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


class WindowReader:
    """Reads windows of chains, over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def opened(cls, ledger: Ledger) -> AsyncIterator[Self]:
        """Provide a reader of ``ledger``."""
        async with ledger.session() as connection:
            yield cls(connection)

    async def segment(self, needed: Needed) -> Segment:
        """Return a segment with its commitments.

        Rows that were recorded long before or after the others of the window, by clocks that
        differ, are found by reading the chain whole.

        Raises:
            UnprovenHistoryError: rows of it are missing.
        """
        near = needed.recorded_at - _BEFORE, max(needed.anchored_at, needed.recorded_at) + _AFTER
        for since, until in (near, _EVER):
            found = await self._rows(needed, since, until)
            if found is not None:
                break
        else:
            raise UnprovenHistoryError(needed.shard, needed.first)
        before = needed.before
        if before is None:
            before = found[0].link
            found = found[1:]
        return Segment(
            shard=needed.shard,
            first=needed.first,
            before=before,
            place=needed.place,
            link=needed.link,
            anchored_at=needed.anchored_at.isoformat(),
            commitments=b"".join([row.committed for row in found]),
        )

    async def _rows(
        self, needed: Needed, since: datetime, until: datetime
    ) -> list[ArchivedRow] | None:
        """Return the rows of a window, from the one before the first where its link is needed; None
        where some of them were recorded at another time.
        """
        first = needed.first - (needed.before is None)
        values = {
            "shard": needed.shard,
            "first": first,
            "last": needed.place,
            "since": since,
            "until": until,
        }
        found = []
        async with (
            self._connection.cursor() as cursor,
            cursor.copy(_SQL["window"], values) as rows,
        ):
            async for data in rows:
                text = bytes(data).removeprefix(copy_format.SIGNATURE)
                if text and text != copy_format.END:
                    found.append(row_of(text))
        is_whole = [row.place for row in found] == list(range(first, needed.place + 1))
        return found if is_whole else None
