"""Notifications wake whoever waits, and none is lost."""

import asyncio
from datetime import timedelta

from izin.sinks.ledger.db.notifications import BULK, Notifications

SOON = timedelta(seconds=5)


async def test_notification_before_the_wait_is_not_lost():
    """One since the last look ends the wait at once."""
    notifications = Notifications()
    seen = notifications.count(BULK)
    notifications.wake(BULK)
    async with asyncio.timeout(1):
        await notifications.wait(BULK, seen, SOON)


async def test_notification_ends_the_wait():
    """Nobody waits for the interval while there is work."""
    notifications = Notifications()
    waiting = asyncio.create_task(notifications.wait(BULK, notifications.count(BULK), SOON))
    await asyncio.sleep(0)
    notifications.wake(BULK)
    async with asyncio.timeout(1):
        await waiting
