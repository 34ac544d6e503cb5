"""Pull: a page of one stream (HS or IYS) of a brand, oldest first, behind an opaque cursor.

The window reaches back seven days and hides the last hour. A cursor names the last movement of a
page by creation second and transactionId; since movements of one second may share that id, a third
part counts them where it must, so no page boundary loses or repeats one.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from iys_simulator.store.movements import Movement, transaction_id
from iys_simulator.store.register import Register

_AT_ONCE: Final = 2000
_MILLISECONDS: Final = 13  # digits of an instant of our days in milliseconds
_LONGEST: Final = 15  # digits of a second a cursor may name


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


def page_of(  # noqa: PLR0913 - so much a page depends on
    register: Register,
    *,
    is_citizens: bool,
    after: str | None,
    limit: int,
    window: Window,
    channels: frozenset[str],
    in_milliseconds: bool = False,
) -> Page:
    """Give at most `limit` movements of the window behind the cursor `after`.

    A cursor that is unknown or older than the window starts at the window's beginning (İYS
    documents neither). Only movements of `channels` are shown. The
    cursor names its second in milliseconds where `in_milliseconds`; both are understood.
    """
    start = (math.ceil(window.earliest), 0)
    if after:
        start = max(start, _position(register, after, is_citizens=is_citizens))
    until = math.floor(window.latest) + 1
    stream = register.stream(
        is_citizens=is_citizens, behind=start, until=until, at_once=min(limit + 1, _AT_ONCE)
    )
    shown = (movement for movement in stream if movement.type in channels)
    chosen = list(itertools.islice(shown, limit))
    if not chosen:
        return Page(movements=(), after="")
    cursor = _cursor(register, chosen[-1], is_citizens=is_citizens, in_milliseconds=in_milliseconds)
    return Page(movements=chosen, after=cursor)


def _cursor(register: Register, last: Movement, *, is_citizens: bool, in_milliseconds: bool) -> str:
    twins = 0
    for row, channel, recipient in register.rows_at(last.second, is_citizens=is_citizens):
        if row >= last.row:
            break
        twins += (channel, recipient) == (last.type, last.recipient)
    second = last.second * 1000 if in_milliseconds else last.second
    cursor = f"{second}_{last.transaction_id}"
    return f"{cursor}_{twins}" if twins else cursor


def _position(register: Register, after: str, *, is_citizens: bool) -> tuple[int, int]:
    named, _, rest = after.partition("_")
    wanted, _, twins = rest.partition("_")
    is_whole = named.isascii() and named.isdecimal() and len(named) <= _LONGEST
    if not is_whole or not (twins.isdecimal() or not twins):
        return (0, 0)
    second = int(named) // 1000 if len(named) >= _MILLISECONDS else int(named)
    left = int(twins or 0)
    for row, channel, recipient in register.rows_at(second, is_citizens=is_citizens):
        if transaction_id(register.brand_code, channel, recipient, second) == wanted:
            if not left:
                return (second, row)
            left -= 1
    return (second, 0)
