"""The processes that share a ledger: each shows that it lives, and a silent one is fenced.

Work that one of them does at a time has a lease, with an epoch that rises with every owner. Each
transaction of an owner begins with a check of its epoch, so that one that was frozen, cut off or
thought dead writes nothing once another has taken over.

A process holds an advisory lock while its session lasts, so a killed one is noticed at once. A
frozen one, or one whose host was powered off, keeps its sessions, and with them its row locks, for
hours: its heartbeat stops, and another process ends its sessions. What it had claimed is then free,
and what it writes when it wakes is refused.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf

from izin.ledger.db.connection import (
    Connection,
    Ledger,
    cut_after,
    fetch,
    fetch_one,
    statements,
)
from izin.runtime.logs import get_logger
from izin.runtime.setting_rules.database_checks import CONNECT_TIMEOUT

_RETRY = 1.0
"""Seconds between two looks at a lease that another process owns."""
_SQL = statements("processes")

_log = get_logger(__name__)
HEARTBEAT = 1.0
"""Seconds between two heartbeats."""
SILENCE = 4.0
"""After so many seconds without a heartbeat a process is fenced: an opt-out may meet two such
owners in a row, and must not wait for half a minute.
"""


@asynccontextmanager
async def exclusive(ledger: Ledger, name: str) -> AsyncIterator[Ledger]:
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
    async with exclusive(ledger, name) as owned:
        while True:
            await step(owned)
            await asyncio.sleep(interval.total_seconds())


async def take(ledger: Ledger, name: str) -> int | None:
    """Return the new epoch of the lease; None while its owner lives, or where another was first."""
    values = {"name": name, "owner": ledger.owner}
    async with ledger.transaction() as connection:
        found = await fetch_one(connection, _SQL["lease"], values)
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


@dataclass(slots=True)
class Silence:
    """Which of the other processes have shown no progress for too long.

    Only what this process has watched itself counts, by its own monotonic clock: no two clocks are
    compared. Where it has not watched for a while (it was frozen, or the database was away, so that
    no process could show anything), it starts over.
    """

    after: float = SILENCE
    longest_gap: float = SILENCE / 2
    _watched_at: float = -inf
    _beats: dict[str, int] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def of(self, beats: Mapping[str, int], now: float) -> list[str]:
        """Return the processes that are silent, given the ``beats`` of all others at ``now``."""
        if now - self._watched_at > self.longest_gap:
            self._beats.clear()
        self._watched_at = now
        self._since = {
            owner: self._since[owner] if self._beats.get(owner) == count else now
            for owner, count in beats.items()
        }
        self._beats = dict(beats)
        return [owner for owner, since in self._since.items() if now - since >= self.after]


async def live(
    ledger: Ledger, alive: asyncio.Event, *, heartbeat: float = HEARTBEAT, silence: float = SILENCE
) -> None:
    """Show that this process lives, and fence silent ones, until cancelled or disconnected.

    ``alive`` is set as soon as others can see this process.
    """
    watch = Silence(silence, silence / 2)
    owner = {"owner": ledger.owner}
    async with ledger.session() as connection:
        await enter(connection, ledger.owner)
        while True:
            with cut_after(connection, CONNECT_TIMEOUT):
                asked_at = time.monotonic()
                row = await fetch_one(connection, _SQL["beat"], owner)
                if row is not None:
                    ledger.clock.read(asked_at, row["read_at"], time.monotonic())
                alive.set()
                beats = {
                    one["owner"]: one["beats"]
                    for one in await fetch(connection, _SQL["others"], owner)
                }
                for silent in watch.of(beats, time.monotonic()):
                    await _fence(connection, silent, beats[silent])
            await asyncio.sleep(heartbeat)


@asynccontextmanager
async def living(ledger: Ledger) -> AsyncIterator[None]:
    """Have others see that this process lives, until the context ends."""
    alive = asyncio.Event()
    heartbeat = asyncio.create_task(live(ledger, alive))
    seen = asyncio.create_task(alive.wait())
    try:
        await asyncio.wait([heartbeat, seen], return_when=asyncio.FIRST_COMPLETED)
        if heartbeat.done():
            await heartbeat
        yield
    finally:
        for task in (heartbeat, seen):
            task.cancel()
        await asyncio.gather(heartbeat, seen, return_exceptions=True)


async def enter(connection: Connection, owner: str) -> None:
    """Show others that the process ``owner`` lives, as long as this session lasts."""
    await connection.execute(_SQL["enter"], {"owner": owner})


async def _fence(connection: Connection, owner: str, beats: int) -> None:
    if await fetch_one(connection, _SQL["forget"], {"owner": owner, "beats": beats}) is None:
        return
    if await end_sessions(connection, owner):
        _log.critical("silent process fenced", session=int(owner))
    else:  # it has ended, or was killed: nobody need look at its host
        _log.info("ended process forgotten", session=int(owner))


async def end_sessions(connection: Connection, owner: str) -> int:
    """End every session of the process ``owner``, and with them the locks that it holds; return how
    many it had.
    """
    return (await connection.execute(_SQL["fence"], {"owner": owner})).rowcount
