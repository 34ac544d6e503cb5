"""How far the streams of İYS have been pulled: when each was last read to its end.

Both streams together say how fresh our knowledge of a brand is; that is published for whoever
decides by it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.consent import Channel
from izin.iys.wire_format import Stream
from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.record import Brand, Message, TopicMessages

WINDOW = timedelta(days=6, hours=23)
"""The window that İYS shows: seven days, without the last hour (reference 2.7). What a stream that
was not read for longer had in between, no pull shows any more."""
STALE_AFTER = timedelta(hours=6)
"""After so long without a read to the end a stream is stale: it may have opt-outs of citizens."""
_SQL = statements("stream_progress")


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledStream:
    """When a stream of a brand was last read to its end."""

    brand_code: int
    stream: str
    last_pulled_at: datetime
    """Where it never was: since when it was to be."""
    was_pulled: bool = True
    failing_since: datetime | None = None
    failure: str | None = None
    """What its last call failed for; None: it did not."""
    next_at: datetime | None = None
    """When it is read next; None: at once."""

    def is_stale(self, now: datetime) -> bool:
        """Whether it was not read for longer than ``STALE_AFTER``."""
        return now - self.last_pulled_at > STALE_AFTER


async def read(ledger: Ledger) -> tuple[PulledStream, ...]:
    """Return when the streams of the active brands were last read to their end."""
    return tuple(
        PulledStream(**row)
        for row in await ledger.fetch(
            _SQL["last-pulled"], {"streams": [str(stream) for stream in Stream]}
        )
    )


async def wake(
    connection: Connection,
    *,
    brand_code: int | None = None,
    account: str | None = None,
    failure: str | None = None,
) -> None:
    """Have streams that wait after a failure read at once: of a brand, of what ``account`` serves,
    or of those that failed alike. What they failed for may be over.
    """
    await connection.execute(
        _SQL["wake"], {"brand_code": brand_code, "account": account, "failure": failure}
    )


async def oldest_pull(connection: Connection, brand_code: int) -> datetime | None:
    """Return when the stream of a brand was last read to its end that was not for longest; None
    where one never was.
    """
    (row,) = await fetch(connection, _SQL["oldest-pull"], {"brand_code": brand_code})
    found: datetime | None = row["last_pulled_at"]
    return found if row["streams"] == len(Stream) else None


def freshness(  # noqa: PLR0913 - of what, and until when
    messages: TopicMessages,
    brand: Brand,
    channels: Iterable[Channel],
    last_pulled_at: datetime,
    *,
    hidden: timedelta,
    now: datetime,
) -> list[Message]:
    """Return the messages, one for each of ``channels``, that both streams of ``brand`` were read
    at ``last_pulled_at``; İYS's pull hides what is more recent than ``hidden``.
    """
    topic = messages.topics.freshness
    return [
        messages.message(
            topic,
            key := f"{brand.brand_code}/{channel}",
            brand.customer_id,
            {
                "customer_id": brand.customer_id,
                "brand_code": brand.brand_code,
                "type": str(channel),
                "last_pulled_at": last_pulled_at,
                "pulled_until": last_pulled_at - hidden,
            },
            f"{key}/{last_pulled_at.timestamp()}",
            now,
        )
        for channel in channels
    ]
