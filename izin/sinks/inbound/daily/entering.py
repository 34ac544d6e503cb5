"""Lines that only İYS's daily file has: neither push nor pull brought them, so they enter here.

They enter as what a pull brings, a thousand at a time; how far they have is noted in the
transaction of their rows, so that after a kill the rest follows and nothing is recorded twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from izin.iys.errors import UnreadableError
from izin.iys.wire_format.consents import IysMovement, Stream
from izin.iys.wire_format.daily_file import read_line
from izin.iys.wire_format.json_reader import UnreadableItem
from izin.sinks.inbound.movements import ReportedMovements
from izin.sinks.ledger.daily import progress
from izin.sinks.ledger.daily.files import DailyFile
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import is_of_citizens

_AT_ONCE = 1000

Line = tuple[int, bytes]
"""The number of a line in İYS's file, from 1, and the line."""


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
    before, count = file.entered_lines, 0
    for slice_ in _slices(one for one in lines if one[0] > file.entered_lines):
        movements, unreadable = _read(slice_, empty_date)
        # A pull shows them in two streams.
        theirs = [one for one in movements if is_of_citizens(one.source)]
        others = [one for one in movements if not is_of_citizens(one.source)]
        seen = await reported.publish(brand, Stream.HS, others, unreadable)
        seen += await reported.publish(brand, Stream.IYS, theirs)
        last = slice_[-1][0]
        ledger, now = reported.context.ledger, reported.context.clock()
        async with ledger.transaction() as connection:
            await progress.entered(connection, file, before=before, line=last, count=len(slice_))
            await reported.record(connection, brand, seen, now=now)
        before, count = last, count + len(slice_)
    return count


def _slices(lines: Iterator[Line]) -> Iterator[Sequence[Line]]:
    while slice_ := tuple(islice(lines, _AT_ONCE)):
        yield slice_


def _read(lines: Iterable[Line], empty_date: str) -> tuple[list[IysMovement], list[UnreadableItem]]:
    movements, unreadable = [], []
    for _, line in lines:
        try:
            movements.append(read_line(line, empty_date=empty_date))
        except UnreadableError as error:
            unreadable.append(UnreadableItem(line, str(error)))
    return movements, unreadable
