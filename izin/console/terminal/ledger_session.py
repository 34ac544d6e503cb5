"""The ledger as one short-lived command uses it."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from izin.sinks.ledger.db.connection import Ledger, reach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from izin.runtime.settings import LedgerSettings


@asynccontextmanager
async def open_ledger(settings: LedgerSettings) -> AsyncIterator[Ledger]:
    """Give the ledger under a number of its own.

    A worker waits a while for a server that is starting; a person is told at once.
    """
    await reach(settings.database_url.get_secret_value())
    async with Ledger(settings, owner=secrets.randbelow(2**31 - 1) + 1) as ledger:
        yield ledger
