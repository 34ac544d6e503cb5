"""A loop survives transient errors, and ends with an error of ours."""

import asyncio
from datetime import timedelta

import pytest

from izin.consent.errors import OurError
from izin.sinks.ledger.db.notifications import BULK, Notifications
from izin.sinks.outbound.loops import run_every, run_on_notification
from izin.sinks.record.errors import LedgerUnavailableError

SOON = timedelta(seconds=5)


async def test_loop_continues_after_a_transient_error():
    """PostgreSQL restarts, and the loop goes on."""
    stopping, tries = asyncio.Event(), []

    async def step() -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise LedgerUnavailableError("restarting")
        stopping.set()
        return True

    async with asyncio.timeout(5):
        await run_on_notification(
            "x", step, notifications=Notifications(), channel=BULK, interval=SOON, stopping=stopping
        )
    assert len(tries) == 2


async def test_loop_ends_with_an_error_of_ours():
    """Nothing that is not understood may be submitted."""

    async def step() -> bool:
        raise OurError("a bug")

    with pytest.raises(OurError, match="a bug"):
        await run_every("x", step, interval=SOON, stopping=asyncio.Event())
