"""A twin at a fixed instant, and a client of it that is logged in."""

from collections.abc import AsyncIterator

import httpx
import pytest

from iys_simulator import Clock, Settings, Twin, build_app
from iys_simulator.store.accounts import Account, Subscription
from simulator_harness.client import IYS_CODE, NOW, Iys, a_brand, seconds_of


@pytest.fixture
def twin() -> Twin:
    """Give a twin at NOW without a limit on requests."""
    clock = Clock(lambda: seconds_of(NOW))
    twin = Twin(Settings(requests_per_second=0), clock)
    account = Account(username="api@example.com", password="fake", iys_code=IYS_CODE)
    twin.directory.add_account(account, Subscription(iys_code=IYS_CODE))
    twin.directory.add_brand(a_brand())
    return twin


@pytest.fixture
async def iys(twin: Twin) -> AsyncIterator[Iys]:
    """Give a client of `twin` that is logged in."""
    transport = httpx.ASGITransport(build_app(twin))
    async with httpx.AsyncClient(transport=transport, base_url="http://twin") as http:
        client = Iys(twin, http)
        await client.log_in()
        yield client
    await twin.close()
