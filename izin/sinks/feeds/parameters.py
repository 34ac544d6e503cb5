"""What a client may say in the query of a feed; this table is read by the endpoint and the docs."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from starlette.datastructures import QueryParams

from izin.runtime.http_server.problems import RequestRefusedError
from izin.schemas.consistency_token import LogPosition, MalformedTokenError, positions_of
from izin.sinks.feeds.log import Feed

DEFAULT_LIMIT, MOST_ITEMS = 500, 1000
LONGEST_WAIT = 30
NOW = "now"

AFTER, FROM, LIMIT, WAIT, AT_LEAST = "after", "from", "limit", "wait", "at_least"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of the query, which may be left out."""

    name: str
    schema: Mapping[str, Any]
    """JSON Schema."""
    description: str


_AFTER = Parameter(
    name=AFTER,
    schema={"type": "string"},
    description="The cursor next of the page before: what comes behind it. Without it, reading "
    "begins again.",
)
_FROM = Parameter(
    name=FROM,
    schema={"type": "string", "enum": [NOW]},
    description="Without after: begin with what comes from now on, not with the oldest record "
    "kept.",
)
_OTHERS = (
    Parameter(
        name=LIMIT,
        schema={"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": DEFAULT_LIMIT},
        description="The most items of the page.",
    ),
    Parameter(
        name=WAIT,
        schema={"type": "number", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0},
        description="The seconds to wait where there is nothing; the first item ends it.",
    ),
    Parameter(
        name=AT_LEAST,
        schema={"type": "string"},
        description="The token of a response of the intake: wait until what was posted is "
        "reflected.",
    ),
)


def parameters_of(feed: Feed) -> tuple[Parameter, ...]:
    """Return the parameters of ``feed``. A state has no beginning in between, so no ``from``."""
    return (_AFTER, *(() if feed.is_compacted else (_FROM,)), *_OTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRequest:
    """What a client asks for."""

    after: str | None
    is_from_now: bool
    limit: int
    wait: float
    """Seconds."""
    at_least: tuple[LogPosition, ...] | None


def feed_request(query: QueryParams, feed: Feed) -> FeedRequest:
    """Return what ``query`` asks of ``feed``.

    Raises:
        RequestRefusedError: 400, or 422 for a number out of its range, with the parameter's name.
    """
    known = {one.name for one in parameters_of(feed)}
    given = query.multi_items()
    for name, _ in given:
        if name not in known:
            raise _refused(
                name, f"is no parameter here; there are {', '.join(sorted(known))}: take it out"
            )
        if len(query.getlist(name)) > 1:
            raise _refused(name, "is given twice; give it once")
    after, begin = query.get(AFTER), query.get(FROM)
    if begin is not None and begin != NOW:
        raise _refused(FROM, f"can only be {NOW}")
    if begin is not None and after is not None:
        raise _refused(FROM, "does not go together with after, which says where to go on")
    return FeedRequest(
        after=after,
        is_from_now=begin == NOW,
        limit=_limit(query.get(LIMIT)),
        wait=_wait(query.get(WAIT)),
        at_least=_token(query.get(AT_LEAST)),
    )


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_ITEMS))
    if not (is_number and 1 <= int(text) <= MOST_ITEMS):
        raise _refused(LIMIT, f"is a number from 1 to {MOST_ITEMS}", 422)
    return int(text)


def _wait(text: str | None) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1.0
    if not (isfinite(seconds) and 0 <= seconds <= LONGEST_WAIT):
        raise _refused(WAIT, f"is a number of seconds from 0 to {LONGEST_WAIT}", 422)
    return seconds


def _token(text: str | None) -> tuple[LogPosition, ...] | None:
    if text is None:
        return None
    try:
        return positions_of(text)
    except MalformedTokenError:
        raise _refused(
            AT_LEAST, "is no token of this release; send the token of a response as it came"
        ) from None


def _refused(name: str, what: str, status: int = 400) -> RequestRefusedError:
    return RequestRefusedError(status, "Parameter not usable", f"{name} {what}")
