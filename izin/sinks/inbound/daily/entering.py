"""Lines that only İYS's daily file has: neither push nor pull brought them, so they enter here.

They enter as what a pull brings, two thousand at a time, the next published while the last are
recorded. How far they have entered is noted in the transaction of their rows, so that after a kill
the rest follows and nothing is recorded twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from izin.consent.fold import is_of_citizens
from izin.iys.errors import UnreadableError
from izin.iys.wire_format.consents import IysMovement, Stream
from izin.iys.wire_format.daily_file import read_line
from izin.iys.wire_format.json_reader import UnreadableItem
from izin.sinks.inbound.movements import ReportedMovements
from izin.sinks.ingest.observations import ObservedMovement
from izin.sinks.ledger.daily import progress
from izin.sinks.ledger.daily.files import DailyFile
from izin.sinks.ledger.db.connection import while_waiting
from izin.sinks.record.brand import Brand

AT_ONCE = 2000
"""So many lines enter in a transaction."""

Line = tuple[int, bytes]
"""The number of a line in İYS's file, from 1, and the line."""


class _Page(NamedTuple):
    """Lines that enter together, published."""

    lines: Sequence[Line]
    seen: Sequence[ObservedMovement]


async def enter(
    reported: ReportedMovements,
    brand: Brand,
    file: DailyFile,
    lines: Iterable[Line],
    *,
    empty_date: str,
) -> int:
    """Publish and record the movements in ``lines``, in ascending order, that were not before;
    return how many lines.

    Raises:
        ConcurrentChangeError: another process has recorded them.
        StreamUnavailableError: the broker did not acknowledge them; enter them again.
    """
    entry = _Entry(reported=reported, brand=brand, file=file, empty_date=empty_date)
    before, count = file.entered_lines, 0
    pages = _slices(one for one in lines if one[0] > file.entered_lines)
    coming = await entry.publish(next(pages, ()))
    while coming.lines:
        page, recording = coming, entry.record(coming, before)
        _, coming = await while_waiting(recording, entry.publish(next(pages, ())))
        before, count = page.lines[-1][0], count + len(page.lines)
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Enters lines of a file."""

    reported: ReportedMovements
    brand: Brand
    file: DailyFile
    empty_date: str

    async def publish(self, lines: Sequence[Line]) -> _Page:
        """Publish the movements in ``lines``."""
        movements, unreadable = _read(lines, self.empty_date)
        # A pull shows them in two streams.
        theirs = [one for one in movements if is_of_citizens(one.source)]
        others = [one for one in movements if not is_of_citizens(one.source)]
        seen = await self.reported.publish(self.brand, Stream.HS, others, unreadable)
        return _Page(lines, seen + await self.reported.publish(self.brand, Stream.IYS, theirs))

    async def record(self, page: _Page, before: int) -> None:
        """Record a page behind the line ``before``."""
        context, last, count = self.reported.context, page.lines[-1][0], len(page.lines)
        now = context.clock()
        async with context.ledger.transaction() as connection:
            await progress.entered(connection, self.file, before=before, line=last, count=count)
            await self.reported.record(connection, self.brand, page.seen, now=now)


def _slices(lines: Iterator[Line]) -> Iterator[Sequence[Line]]:
    while slice_ := tuple(islice(lines, AT_ONCE)):
        yield slice_


def _read(lines: Iterable[Line], empty_date: str) -> tuple[list[IysMovement], list[UnreadableItem]]:
    movements, unreadable = [], []
    for _, line in lines:
        try:
            movements.append(read_line(line, empty_date=empty_date))
        except UnreadableError as error:
            unreadable.append(UnreadableItem(line, str(error)))
    return movements, unreadable
