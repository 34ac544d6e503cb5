"""What clients of the feeds send and get: parameters, cursors, pages, and problems.

The tables of parameters, fields and problems are read by the endpoint and the docs.

A cursor is opaque text that the client keeps: up to where it has read. It names the topic and the
cluster whose offsets it has, for on another they mean other records. One of a compacted topic ends:
a tombstone is there for a day only, and whoever has not read to the end for longer may have missed
one. So it says since when its client may lack something: since it last was at the end, or began the
snapshot.

A topic is known by its identity, and read in stretches of records. Kafka's offsets have gaps: a
transaction ends with a mark, and compaction removes records. So a stretch says up to which offset
it reaches, not only which records it has.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from time import monotonic, time
from typing import Any, Final, NamedTuple

import orjson
from confluent_kafka import Message
from starlette.datastructures import QueryParams
from starlette.responses import Response

from izin.kafka.connections import headers_of
from izin.runtime.http_server.problems import JsonResponse, ProblemText, RequestRefusedError
from izin.schemas.consistency_token import (
    OpaqueTextError,
    PackedReader,
    PackedWriter,
)
from izin.schemas.records import ID
from izin.schemas.topics import TOMBSTONES_KEPT_MS, Topic, Topics

RETRY_AFTER_SECONDS = 5
DEFAULT_LIMIT, MOST_ITEMS = 500, 1000
LONGEST_WAIT = 30
_SECONDS = re.compile(r"[0-9]{1,9}([.][0-9]{1,9})?")
NOW = "now"

AFTER, FROM, LIMIT, WAIT, ORIGIN = "after", "from", "limit", "wait", "origin"
_CURSOR: Final = 0x43
"""Version 1."""
AWAY_FOR_AT_MOST = timedelta(milliseconds=TOMBSTONES_KEPT_MS) - timedelta(minutes=10)
"""For so long a client of a compacted topic may not have read to the end; with a margin for clocks
and for the page that is being read."""
_OVERHEAD = 600
"""Bytes that Python needs for a record besides its own."""
_SKEW = 60.0
"""Seconds by which the broker's clock and ours may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What one endpoint serves."""

    name: str
    """Also the last step of its path."""
    topic: Topic
    is_compacted: bool
    """Whether it is a state, of which a reader needs each tombstone, and not a log of events."""

    @property
    def path(self) -> str:
        """The path of its endpoint."""
        return f"/v1/{self.name}"


def feeds(topics: Topics) -> tuple[Feed, ...]:
    """Return every feed, under the topics of an installation."""
    return (
        Feed(name="opt-outs", topic=topics.opt_outs, is_compacted=False),
        Feed(name="permissions", topic=topics.permissions, is_compacted=True),
        Feed(name="outcomes", topic=topics.outcomes, is_compacted=False),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogIdentity:
    """Which topic of which cluster: on another one, the same offsets are other records."""

    cluster_id: str
    topic_id: str
    partitions: int


class LogRecord:
    """One record. ``item`` is what it is for readers, once the first of them has asked."""

    __slots__ = (
        "appended_by",
        "item",
        "key",
        "offset",
        "partition",
        "record_id",
        "timestamp",
        "value",
    )

    def __init__(self, message: Message) -> None:
        self.partition = message.partition() or 0
        self.offset = message.offset() or 0
        self.timestamp: int = message.timestamp()[1]
        """Milliseconds since 1970."""
        self.key: bytes = message.key() or b""
        self.value: bytes | None = message.value()
        """None: a tombstone."""
        given = dict(headers_of(message)).get(ID)
        self.record_id = given.decode("utf-8", "replace") if isinstance(given, bytes) else ""
        """What ``ce_id`` says; empty without one."""
        age = time() - self.timestamp / 1000 - _SKEW
        self.appended_by = monotonic() - max(age, 0.0)
        """By when, in ``time.monotonic``, it had certainly been appended."""
        self.item: Any = None

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes, with its item."""
        return _OVERHEAD + len(self.key) + 4 * len(self.value or b"")


class Stretch(NamedTuple):
    """The records of a partition from an offset up to another."""

    records: Sequence[LogRecord]
    end: int
    """The next offset: up to here there is nothing else."""
    is_last: bool
    """Whether the partition ends there."""


class FeedRefusal(ProblemText, Enum):
    """Why a feed does not answer with a page."""

    CURSOR = ProblemText(
        400,
        "Cursor not usable",
        "after is no cursor of this endpoint; send next of its last page as it came",
    )
    FOREIGN = ProblemText(
        410,
        "Cursor of another topic",
        "the topic or its cluster is not the one that after is of; begin again without after, and "
        "take in what comes as it is, for what was stored before may be outdated",
    )
    DELETED = ProblemText(
        410,
        "Cursor too old",
        "retention has deleted what follows after, so records would be missing; begin again "
        "without after, and load the permissions again: they have each recipient's present state",
    )
    EXPIRED = ProblemText(
        410,
        "Cursor too old",
        "after was last at the end more than a day ago, so deletions may be missing; begin a new "
        "snapshot without after, and drop what it does not have",
    )
    BUSY = ProblemText(
        503,
        "Busy",
        "too many requests read older records at once; send this again",
        RETRY_AFTER_SECONDS,
    )
    UNREACHABLE = ProblemText(
        503,
        "Kafka does not answer",
        "nothing can be said about new records now; send this again",
        RETRY_AFTER_SECONDS,
    )


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
_ORIGIN = Parameter(
    name=ORIGIN,
    schema={"type": "string"},
    description="Only what follows from events of this origin, as the records name it, and what "
    "this release cannot read: that may be of it.",
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
)


def parameters_of(feed: Feed) -> tuple[Parameter, ...]:
    """Return the parameters of ``feed``. A state has no beginning in between, so no ``from``, and
    follows from no one event, so no ``origin``.
    """
    return (_AFTER, *(() if feed.is_compacted else (_FROM, _ORIGIN)), *_OTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRequest:
    """What a client asks for."""

    after: str | None
    is_from_now: bool
    limit: int
    wait: float
    """Seconds."""
    origin: str | None
    """None: of any."""


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
        origin=query.get(ORIGIN),
    )


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_ITEMS))
    if not (is_number and 1 <= int(text) <= MOST_ITEMS):
        raise _refused(LIMIT, f"is a number from 1 to {MOST_ITEMS}", 422)
    return int(text)


def _wait(text: str | None) -> float:
    # Not by float() alone, which reads other digits, signs, blanks and underscores too.
    seconds = float(text) if text and _SECONDS.fullmatch(text) else -1.0 if text else 0.0
    if not 0 <= seconds <= LONGEST_WAIT:
        raise _refused(WAIT, f"is a number of seconds from 0 to {LONGEST_WAIT}", 422)
    return seconds


def _refused(name: str, what: str, status: int = 400) -> RequestRefusedError:
    return ProblemText(status, "Parameter not usable", f"{name} {what}").error()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Up to where a client has read a feed."""

    offsets: Mapping[int, int]
    """The next offset of each partition."""
    ends: Mapping[int, int] | None = None
    """Where the partitions ended when the client began at their beginning, until it has come there;
    None: it has."""
    complete_at: datetime
    """Nothing that was written before this instant is missing, or will not come."""
    turn: int = 0
    """The partition to read first: whoever is far behind reads all of them evenly."""

    def text(self, feed: Feed, identity: LogIdentity) -> str:
        """Return what the client gets."""
        out = PackedWriter(_CURSOR)
        out.text(feed.name)
        out.text(identity.cluster_id)
        out.text(identity.topic_id)
        out.number(int(self.complete_at.timestamp()))
        out.number(self.turn)
        out.numbers(self.offsets[number] for number in range(identity.partitions))
        out.numbers(
            self.ends[number] for number in range(identity.partitions) if self.ends is not None
        )
        return out.opaque()


def read_cursor(text: str, feed: Feed, identity: LogIdentity, now: datetime) -> Cursor:
    """Return the cursor that a client of ``feed`` has kept as ``text``.

    Raises:
        RequestRefusedError: it is no cursor, one of another feed, of another topic or cluster, or
            too much may be missing.
    """
    try:
        packed = PackedReader(_CURSOR, text)
        name, cluster_id, topic_id = packed.text(), packed.text(), packed.text()
        complete_at = datetime.fromtimestamp(packed.number(), UTC)
        turn, offsets, ends = packed.number(), packed.numbers(), packed.numbers()
        packed.end()
    except (OpaqueTextError, OverflowError, ValueError, OSError) as error:  # no such instant
        raise FeedRefusal.CURSOR.error(str(error)) from None
    if name != feed.name:
        raise FeedRefusal.CURSOR.error("of another endpoint")
    if (cluster_id, topic_id) != (identity.cluster_id, identity.topic_id):
        raise FeedRefusal.FOREIGN.error()
    if len(offsets) != identity.partitions or len(ends) not in {0, identity.partitions}:
        raise FeedRefusal.CURSOR.error("of another number of partitions")
    if feed.is_compacted and now - complete_at > AWAY_FOR_AT_MOST:
        raise FeedRefusal.EXPIRED.error()
    return Cursor(
        offsets=dict(enumerate(offsets)),
        ends=dict(enumerate(ends)) if ends else None,
        complete_at=complete_at,
        turn=turn % identity.partitions,
    )


PAGE_FIELDS: Mapping[str, str] = {
    "items": "The records, in the order of each key.",
    "next": "The cursor behind this page: keep it with what you stored, and send it as after.",
    "complete": "Whether everything is read that was there when reading began without after.",
}


def page(items: list[bytes], cursor: str, *, complete: bool) -> Response:
    """Return a page of ``items``, each a JSON object."""
    content = {
        "items": [orjson.Fragment(item) for item in items],
        "next": cursor,
        "complete": complete,
    }
    # Recipients are personal data: no cache between us and the client keeps them.
    return JsonResponse(content, headers={"Cache-Control": "no-store"})
