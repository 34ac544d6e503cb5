"""How much of what İYS tells of its own accord has been heard: until when each stream was read."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements

WINDOW = timedelta(days=6, hours=23)
"""What İYS shows of the past: seven days, and the last hour not yet (reference 2.7). What a stream
that was not read for longer held in between, no pull shows any more."""
STALE_AFTER = timedelta(hours=6)
"""A stream that was not read to its end for so long is worth an alarm: a "no" may be in it."""
_SQL = statements("stream_progress")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProgress:
    """Until when a brand's stream was read to its end."""

    brand_code: int
    stream: str
    last_pulled_at: datetime

    def is_stale(self, now: datetime) -> bool:
        """Whether it was not read for too long."""
        return now - self.last_pulled_at > STALE_AFTER


async def read(ledger: Ledger) -> tuple[StreamProgress, ...]:
    """Return until when the streams of the brands that are told were read."""
    return tuple(StreamProgress(**row) for row in await ledger.fetch(_SQL["last-pulled"]))


async def query_again(ledger: Ledger, brand_code: int, *, now: datetime) -> None:
    """Have İYS asked again about every consent of the brand that stands there, by helpings; what
    was asked for already is asked for once.
    """
    after: str | None = ""
    while after is not None:
        values = {"brand_code": brand_code, "after": after, "now": now}
        (row,) = await ledger.fetch(_SQL["query-again"], values)
        after = row["last"]
