"""Loops that never stop for what time heals, and never go on after a fault of ours.

İYS away, PostgreSQL restarting, Kafka silent: the loop says so, waits ever longer up to half a
minute, and begins anew. Anything else ends the process: what is not understood must not be told to
İYS.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from izin.iys.errors import CallError
from izin.runtime.backoff import Backoff
from izin.runtime.errors import RegistryError
from izin.runtime.observe import get_logger
from izin.sinks.ledger.db.notifications import Notifications
from izin.sinks.record.errors import (
    ConcurrentChangeError,
    LedgerUnavailableError,
    StreamUnavailableError,
)

OUTSIDE = (
    ConcurrentChangeError,
    LedgerUnavailableError,
    StreamUnavailableError,
    RegistryError,
    CallError,
)
"""What lies outside this process and passes by itself."""
_BACKOFF = Backoff(timedelta(milliseconds=200), timedelta(seconds=30))
_CALM = 60.0

_log = get_logger(__name__)


async def persist(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Keep ``work`` running through whatever passes by itself; a fault of ours is raised."""
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await work()
        except OUTSIDE as error:
            failures = 1 if loop.time() - began > _CALM else failures + 1
            wait = _BACKOFF.after(failures)
            _log.warning(
                "begins anew",
                work=name,
                error=f"{type(error).__name__}: {error}",
                after=wait.total_seconds(),
            )
            await asyncio.sleep(wait.total_seconds())
        else:
            return


async def lane(  # noqa: PLR0913 - what is repeated, and what wakes and ends it
    name: str,
    step: Callable[[], Awaitable[bool]],
    *,
    bells: Notifications,
    bell: str,
    interval: timedelta,
    stopping: asyncio.Event,
) -> None:
    """Repeat ``step`` while it finds work; else wait for its bell, at most for ``interval``."""

    async def work() -> None:
        while not stopping.is_set():
            heard = bells.count(bell)
            if not await step():
                await bells.wait(bell, heard, interval)

    await persist(name, work)


async def every(
    name: str, step: Callable[[], Awaitable[bool]], *, interval: timedelta, stopping: asyncio.Event
) -> None:
    """Repeat ``step`` while it finds work, else every ``interval``."""

    async def work() -> None:
        while not stopping.is_set():
            if not await step():
                await asyncio.sleep(interval.total_seconds())

    await persist(name, work)
