"""How far the streams of İYS have been pulled: when each was last read to its end."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements

WINDOW = timedelta(days=6, hours=23)
"""The window that İYS shows: seven days, without the last hour (reference 2.7). What a stream that
was not read for longer had in between, no pull shows any more."""
STALE_AFTER = timedelta(hours=6)
"""After so long without a read to the end a stream is stale: it may have opt-outs of citizens."""
_SQL = statements("stream_progress")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProgress:
    """When a stream of a brand was last read to its end."""

    brand_code: int
    stream: str
    last_pulled_at: datetime

    def is_stale(self, now: datetime) -> bool:
        """Whether it was not read for longer than ``STALE_AFTER``."""
        return now - self.last_pulled_at > STALE_AFTER


async def read(ledger: Ledger) -> tuple[StreamProgress, ...]:
    """Return when the streams of the active brands were last read to their end."""
    return tuple(StreamProgress(**row) for row in await ledger.fetch(_SQL["last-pulled"]))


async def query_again(ledger: Ledger, brand_code: int, *, now: datetime) -> None:
    """Have the status of every consent of the brand at İYS queried again, in chunks; what is due to
    be queried already is queried once.
    """
    after: str | None = ""
    while after is not None:
        values = {"brand_code": brand_code, "after": after, "now": now}
        (row,) = await ledger.fetch(_SQL["query-again"], values)
        after = row["last"]
