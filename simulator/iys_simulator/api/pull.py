"""Pull: a page of one stream (HS or IYS) of a brand, oldest first, after an opaque cursor.

The window goes back seven days and hides the last hour. A cursor names the last movement of a page
by creation second and transactionId. Movements of one second may share that id, so a third part
counts them where necessary; no page boundary loses or repeats a movement.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from iys_simulator.api.movement_fields import movement_fields
from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import json_response, refused
from iys_simulator.gateway.call import Call
from iys_simulator.state import SimulatorState
from iys_simulator.store.movements import Movement, transaction_id
from iys_simulator.store.register import Register

_PAGE_SIZE: Final = 1000
_ROWS_AT_ONCE: Final = 2000
_MILLISECONDS: Final = 13  # digits of a present instant in milliseconds
_LONGEST: Final = 15  # digits of a second that a cursor may name


async def list_changes(state: SimulatorState, call: Call) -> Response:
    """Return a page of stream HS or IYS: `GET …/consents/changes`; 204 where it is empty.

    Raises:
        RefusedError: H183, H506 or H507.
    """
    query = call.request.query_params
    source = query.get("source", "IYS")
    if source not in ("HS", "IYS"):
        raise refused("H506", location=["source"], value=source)
    now, settings = state.clock.seconds(), state.settings
    page = _page_of(
        state.register_of(call.brand.code),
        is_citizens=source == "IYS",
        after=query.get("after"),
        limit=_limit(query.get("limit")),
        window=_Window(earliest=now - settings.pull_window, latest=now - settings.hidden_window),
        channels=frozenset(call.brand.rights),
        in_milliseconds=settings.cursor_unit == "milliseconds",
    )
    if not page.movements:
        return Response(status_code=204)
    items = []
    for movement in page.movements:
        item = movement_fields(movement)
        if movement.citizen_name:
            item["citizenName"] = movement.citizen_name
        items.append(item)
    return json_response({"after": page.after, "list": items})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Page:
    """Movements of a page and the cursor after them; an empty page has no cursor."""

    movements: Sequence[Movement]
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Window:
    """What pull shows: creation instants from `earliest` to `latest`, in epoch seconds."""

    earliest: float
    latest: float


def _page_of(  # noqa: PLR0913 - a page depends on all of them
    register: Register,
    *,
    is_citizens: bool,
    after: str | None,
    limit: int,
    window: _Window,
    channels: frozenset[str],
    in_milliseconds: bool = False,
) -> _Page:
    """Return at most `limit` movements of the window after the cursor `after`.

    A cursor that is unknown or older than the window starts at the window's beginning (İYS
    documents neither). Only movements of `channels` are shown. The cursor has its second in
    milliseconds where `in_milliseconds`; both are accepted.
    """
    start = (math.ceil(window.earliest), 0)
    if after:
        start = max(start, _position(register, after, is_citizens=is_citizens))
    until = math.floor(window.latest) + 1
    page_size = min(limit + 1, _ROWS_AT_ONCE)
    stream = register.stream(is_citizens=is_citizens, after=start, until=until, page_size=page_size)
    shown = (movement for movement in stream if movement.type in channels)
    chosen = list(itertools.islice(shown, limit))
    if not chosen:
        return _Page(movements=(), after="")
    cursor = _cursor(register, chosen[-1], is_citizens=is_citizens, in_milliseconds=in_milliseconds)
    return _Page(movements=chosen, after=cursor)


def _cursor(register: Register, last: Movement, *, is_citizens: bool, in_milliseconds: bool) -> str:
    same_id = 0
    for row, channel, recipient in register.rows_at(last.second, is_citizens=is_citizens):
        if row >= last.row:
            break
        same_id += (channel, recipient) == (last.type, last.recipient)
    second = last.second * 1000 if in_milliseconds else last.second
    cursor = f"{second}_{last.transaction_id}"
    return f"{cursor}_{same_id}" if same_id else cursor


def _position(register: Register, after: str, *, is_citizens: bool) -> tuple[int, int]:
    named_second, _, rest = after.partition("_")
    wanted, _, same_id = rest.partition("_")
    is_whole = named_second.isascii() and named_second.isdecimal() and len(named_second) <= _LONGEST
    if not is_whole or not (same_id.isdecimal() or not same_id):
        return (0, 0)
    in_milliseconds = len(named_second) >= _MILLISECONDS
    second = int(named_second) // 1000 if in_milliseconds else int(named_second)
    left = int(same_id or 0)
    for row, channel, recipient in register.rows_at(second, is_citizens=is_citizens):
        if transaction_id(register.brand_code, channel, recipient, second) == wanted:
            if not left:
                return (second, row)
            left -= 1
    return (second, 0)


def _limit(value: str | None) -> int:
    if value is None:
        return _PAGE_SIZE
    if not (value.isascii() and value.isdecimal()) or int(value) == 0:
        raise refused("H183", location=["limit"], value=value)
    if int(value) > _PAGE_SIZE:
        text = REFUSALS["H507"].message.format(limit=_PAGE_SIZE)
        raise refused("H507", message=text, location=["limit"], value=value)
    return int(value)
