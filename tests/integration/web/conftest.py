"""The console over a migrated, empty ledger."""

from collections.abc import AsyncIterator

import pytest

from izin.ledger.db import Ledger
from tests.integration.web.two_customers import register_both
from tests.support.console import ConsoleHarness, console_over


@pytest.fixture
async def console(ledger: Ledger) -> AsyncIterator[ConsoleHarness]:
    """Give the console, with no account and no customer yet."""
    async with console_over(ledger) as console:
        yield console


@pytest.fixture
async def registered(console: ConsoleHarness) -> ConsoleHarness:
    """Give a console with two customers, which have a brand each."""
    await register_both(console)
    return console
