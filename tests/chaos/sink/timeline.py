"""What the ledger knows of the way of a slow opt-out."""

from collections.abc import Iterable
from datetime import datetime
from typing import LiteralString

from izin.ledger.db import Ledger
from tests.chaos.sink.opt_out_delay import CountedDelay

_FACTS: LiteralString = """
SELECT m.kind || coalesce(' of ' || m.status, '') AS what, m.recorded_at AS at FROM movements AS m
WHERE hashtextextended(m.key, 0) = hashtextextended(%(key)s, 0) AND m.key = %(key)s
UNION ALL
SELECT i.status || ' stored, ' || s.kind || ' ' || s.id, s.intended_at
FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id WHERE i.key = %(key)s
UNION ALL
SELECT i.status || ' settled as ' || i.state || ', ' || s.kind || ' ' || s.id, s.settled_at
FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id WHERE i.key = %(key)s
ORDER BY at
"""


async def timelines(ledger: Ledger, slow: Iterable[CountedDelay]) -> list[str]:
    """Return a line for each of ``slow``: its delay, and what happened when, in seconds since it
    was published.
    """
    lines = []
    for one in slow:
        facts = await ledger.fetch(_FACTS, {"key": one.opt_out.key})
        steps = [
            f"{_after(row['at'], one.opt_out.published_at):+.1f} {row['what']}"
            for row in facts
            if row["at"] is not None
        ]
        lines.append(
            f"{one.opt_out.event_id}: {one.counted:.1f} s of {one.whole:.1f} s; " + "; ".join(steps)
        )
    return lines


def _after(at: datetime, published_at: float) -> float:
    return at.timestamp() - published_at
