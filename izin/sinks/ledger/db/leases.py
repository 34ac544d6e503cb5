"""Work that one process does at a time: a lease with an epoch that rises with every owner.

Each transaction of an owner begins with a check of its epoch, so that one that was frozen, cut off
or thought dead writes nothing once another has taken over.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from izin.runtime.logs import get_logger
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.processes import end_sessions
from izin.sinks.ledger.db.queries import statements

_RETRY = 1.0
"""Seconds between two looks at a lease that another process owns."""
_SQL = statements("processes")

_log = get_logger(__name__)


@asynccontextmanager
async def sole(ledger: Ledger, name: str) -> AsyncIterator[Ledger]:
    """Wait until this process owns the lease of the work ``name``; provide the ledger to its owner.

    Every transaction on that ledger raises FencedError once another process has taken over. A lease
    is not given back: others take it when its owner is gone, and the owner itself at any time.
    """
    while (epoch := await take(ledger, name)) is None:  # noqa: ASYNC110  # of other processes
        await asyncio.sleep(_RETRY)  # the owner's end sends no notification
    yield ledger.owning(name, epoch)


async def repeat(
    ledger: Ledger,
    name: str,
    interval: timedelta,
    step: Callable[[Ledger], Awaitable[object]],
) -> None:
    """Take a ``step`` every ``interval`` until cancelled, as the owner of the work ``name``."""
    async with sole(ledger, name) as owned:
        while True:
            await step(owned)
            await asyncio.sleep(interval.total_seconds())


async def take(ledger: Ledger, name: str) -> int | None:
    """Return the new epoch of the lease; None while its owner lives, or where another was first."""
    values = {"name": name, "owner": ledger.owner}
    async with ledger.transaction() as connection:
        found = await (await connection.execute(_SQL["lease"], values)).fetchone()
        if found is None:
            taken = await connection.execute(_SQL["first-lease"], values)
        elif found["is_free"]:
            if found["owner"] != ledger.owner:
                # It may have lost only the session that shows that it lives.
                await end_sessions(connection, found["owner"])
            taken = await connection.execute(_SQL["take"], {**values, "epoch": found["epoch"]})
        else:
            return None
        row = await taken.fetchone()
    if row is None:
        return None
    _log.info("lease taken", work=name, epoch=row["epoch"])
    return int(row["epoch"])
