"""Rows with the reject links of İYS: made for as many recipients at a time as one call takes, and
rows stay in their order.
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from typing import Final

from izin.producers.files import FileRow

NO_CONSENT: Final = "H568"
"""İYS's code in place of a link: it holds no consent of the recipient."""
_AT_ONCE: Final = 100
"""The most recipients of one call (H127)."""
_MOST_WAITING: Final = 10_000
"""Rows that wait in memory for the links of some of them."""
RowVerdict = tuple[str, str]
"""The cells of a row's verdict: yes or no, and the reason."""
RejectAnswers = Mapping[str, tuple[str, str]]
"""By recipient İYS's link, and its code where there is none; the other one is empty."""
MakeLinks = Callable[[Sequence[str]], Awaitable[RejectAnswers]]
"""Has İYS make links for so many recipients as one call takes."""
LinkedRow = tuple[FileRow, RowVerdict, tuple[str, ...]]
"""A row, its verdict, and the cells of its link; none where no links are wanted."""
_NO = ("", "")


async def with_links(
    judged: AsyncIterator[tuple[FileRow, RowVerdict, str]],
    make: MakeLinks | None,
    note: Callable[[RowVerdict, str], RowVerdict],
) -> AsyncGenerator[LinkedRow, None]:
    """Yield rows with their links, given each with the recipient for whom one is wanted, or an
    empty text. ``note`` gets the verdict of each of those with İYS's code, empty where it made a
    link, and returns the verdict as it stands then.
    """
    waiting: list[tuple[FileRow, RowVerdict, str]] = []
    wanted: set[str] = set()
    async for row, verdict, recipient in judged:
        if make is None:
            yield row, verdict, ()
            continue
        waiting.append((row, verdict, recipient))
        wanted |= {recipient} - {""}
        if len(wanted) == _AT_ONCE or len(waiting) == _MOST_WAITING:
            for linked in await _linked(waiting, wanted, make, note):
                yield linked
            waiting, wanted = [], set()
    if make is not None:
        for linked in await _linked(waiting, wanted, make, note):
            yield linked


async def _linked(
    waiting: Sequence[tuple[FileRow, RowVerdict, str]],
    wanted: Collection[str],
    make: MakeLinks,
    note: Callable[[RowVerdict, str], RowVerdict],
) -> list[LinkedRow]:
    """Return rows with the links that are made for those ``wanted``."""
    made = await make(sorted(wanted)) if wanted else {}
    return [
        (row, note(verdict, made[recipient][1]) if recipient else verdict, made.get(recipient, _NO))
        for row, verdict, recipient in waiting
    ]
