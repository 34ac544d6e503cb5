"""Up to where a client has read: opaque text that the client keeps.

A cursor names the topic and the cluster whose offsets it has, for on another they mean other
records. One of a compacted topic ends: a tombstone is there for a day only, and whoever has not
read to the end for longer may have missed one. So it says since when its client may lack something:
since it last was at the end, or began the snapshot.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from izin.consent.errors import SourceError
from izin.schemas.consistency_token import OpaqueTextError, PackedReader, PackedWriter
from izin.schemas.topics import TOMBSTONES_KEPT_MS
from izin.sinks.feeds.log import Feed, LogIdentity

_KIND: Final = 0x43
"""Version 1."""
AWAY_FOR_AT_MOST = timedelta(milliseconds=TOMBSTONES_KEPT_MS) - timedelta(minutes=10)
"""For so long a client of a compacted topic may not have read to the end; with a margin for clocks
and for the page that is being read."""


class UnusableCursorError(SourceError):
    """A text that is no cursor of this endpoint."""


class ForeignCursorError(SourceError):
    """A cursor of another cluster, or of a topic that was deleted and created again."""


class ExpiredCursorError(SourceError):
    """A cursor whose client may have missed a tombstone."""


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
        out = PackedWriter(_KIND)
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
        UnusableCursorError: it is no cursor, or one of another feed.
        ForeignCursorError: it is of another topic or cluster.
        ExpiredCursorError: too much may be missing.
    """
    try:
        packed = PackedReader(_KIND, text)
        name, cluster_id, topic_id = packed.text(), packed.text(), packed.text()
        complete_at = _instant(packed.number())
        turn, offsets, ends = packed.number(), packed.numbers(), packed.numbers()
        packed.end()
    except OpaqueTextError as error:
        raise UnusableCursorError(str(error)) from None
    if name != feed.name:
        raise UnusableCursorError("of another endpoint")
    if (cluster_id, topic_id) != (identity.cluster_id, identity.topic_id):
        raise ForeignCursorError
    if len(offsets) != identity.partitions or len(ends) not in {0, identity.partitions}:
        raise UnusableCursorError("of another number of partitions")
    if feed.is_compacted and now - complete_at > AWAY_FOR_AT_MOST:
        raise ExpiredCursorError
    return Cursor(
        offsets=dict(enumerate(offsets)),
        ends=dict(enumerate(ends)) if ends else None,
        complete_at=complete_at,
        turn=turn % identity.partitions,
    )


def _instant(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise OpaqueTextError("an instant that does not exist") from None
