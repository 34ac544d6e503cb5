"""Pull: a page of one stream (HS or IYS) of a brand, oldest first, behind an opaque cursor.

The window reaches back seven days and hides the last hour. A cursor names the last movement of a
page by creation second and transactionId; since movements of one second may share that id, a third
part counts them where it must, so no page boundary loses or repeats one.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from izin.simulator.register import Movement


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Movements of a page and the cursor behind them; an empty page has no cursor."""

    movements: Sequence[Movement]
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What pull shows: creation instants from `earliest` to `latest`, in epoch seconds."""

    earliest: float
    latest: float


def page_of(
    stream: Sequence[Movement],
    *,
    after: str | None,
    limit: int,
    window: Window,
    channels: frozenset[str],
) -> Page:
    """Give at most `limit` movements of the window behind the cursor `after`.

    A cursor that is unknown or older than the window starts at the window's beginning (İYS
    documents neither). Only movements of `channels` are shown.
    """
    start = bisect_left(stream, window.earliest, key=lambda movement: movement.second)
    start = max(start, _position(stream, after) if after else 0)
    end = bisect_left(
        stream, int(window.latest) + 1, lo=start, key=lambda movement: movement.second
    )
    chosen: list[Movement] = []
    last = start
    for position in range(start, end):
        if len(chosen) == limit:
            break
        if stream[position].type in channels:
            chosen.append(stream[position])
            last = position
    if not chosen:
        return Page(movements=(), after="")
    return Page(movements=chosen, after=_cursor(stream, last))


def _cursor(stream: Sequence[Movement], position: int) -> str:
    movement = stream[position]
    twins = 0
    for earlier in range(position - 1, -1, -1):
        if stream[earlier].second != movement.second:
            break
        twins += stream[earlier].transaction_id == movement.transaction_id
    cursor = f"{movement.second}_{movement.transaction_id}"
    return f"{cursor}_{twins}" if twins else cursor


def _position(stream: Sequence[Movement], after: str) -> int:
    second, _, rest = after.partition("_")
    transaction_id, _, twins = rest.partition("_")
    if not (second.isdecimal() and (twins.isdecimal() or not twins)):
        return 0
    left = int(twins or 0)
    position = bisect_left(stream, int(second), key=lambda movement: movement.second)
    for index in range(position, len(stream)):
        if stream[index].second != int(second):
            break
        if stream[index].transaction_id == transaction_id:
            if not left:
                return index + 1
            left -= 1
    return position
