"""Read the history of the ledger for a replay: decisions, month by month, chain by chain.

The order of the rows of a key is that of ``recorded_at`` and ``place``: the facts of one partition
are recorded by one process, in the order in which they were decided.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements

DECISION = "decision"
BOOTSTRAP = "bootstrap"

_SQL = statements("movements")
_PAGE = 5000
_OPEN_FOR = 45.0
"""Seconds until a cursor is closed and another one goes on behind it: a transaction of the ledger
has a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """A movement of a key that was not erased."""

    shard: int
    place: int
    kind: str
    key: str
    recorded_at: datetime
    decision: bytes | None
    """An Avro Decision in single-object encoding; None of any other kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryReach:
    """What the history has."""

    heads: Mapping[int, int]
    """By shard: its last place."""
    is_whole: bool
    """Whether none of its months was dropped."""
    recorded: Mapping[tuple[str, int], int]
    """By topic and partition of events: the offset below which every decision is recorded."""


async def history_reach(ledger: Ledger, topics: Collection[str]) -> HistoryReach:
    """Return what the history has of events of ``topics``; raises LedgerUnavailableError."""
    heads = await ledger.fetch(_SQL["chains"])
    cuts = await ledger.fetch(_SQL["cuts"])
    recorded = await ledger.fetch(_SQL["recorded"], {"topics": list(topics)})
    return HistoryReach(
        heads={row["shard"]: row["place"] for row in heads},
        is_whole=not cuts,
        recorded={(row["topic"], row["partition"]): row["next_offset"] for row in recorded},
    )


async def read_history(
    ledger: Ledger, heads: Mapping[int, int], kinds: Collection[str]
) -> AsyncIterator[Sequence[HistoryRow]]:
    """Yield the rows of ``kinds`` up to the places in ``heads``, by shard, some at a time.

    Raises LedgerUnavailableError.
    """
    for month in await ledger.fetch(_SQL["months"]):
        values = {
            "first": month["month"],
            "kinds": list(kinds),
            "shards": list(heads),
            "heads": list(heads.values()),
            "shard": -1,
            "place": 0,
        }
        is_read = False
        while not is_read:
            is_read = True
            async for rows, is_last in _until_late(ledger, values):
                yield rows
                values |= {"shard": rows[-1].shard, "place": rows[-1].place}
                is_read = is_last


async def _until_late(
    ledger: Ledger, values: Mapping[str, Any]
) -> AsyncIterator[tuple[Sequence[HistoryRow], bool]]:
    """Yield pages of a month, each with whether it is the last one before the cursor is closed
    because all was read.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _OPEN_FOR
    async with ledger.transaction() as connection, connection.cursor(name="replay") as cursor:
        await cursor.execute(_SQL["replayed"], values)
        while page := await cursor.fetchmany(_PAGE):
            is_late = loop.time() > until
            yield [HistoryRow(**row) for row in page], not is_late
            if is_late:
                return
