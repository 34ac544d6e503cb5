"""A simulator at a fixed instant, and a client of it that is logged in."""

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import settings

from iys_simulator import Clock, Settings, SimulatorState, build_app
from iys_simulator.store.accounts import Account, Subscription
from simulator_harness.client import IYS_CODE, NOW, SimulatorHarness, a_brand, seconds_of

# `make test` tries the same examples for the same code.
settings.register_profile("same", deadline=None, derandomize=True)


@pytest.fixture
def state() -> SimulatorState:
    """Return a simulator at NOW without a limit on requests."""
    clock = Clock(lambda: seconds_of(NOW))
    state = SimulatorState(Settings(requests_per_second=0), clock)
    account = Account(username="api@example.com", password="fake", iys_code=IYS_CODE)
    state.directory.add_account(account, Subscription(iys_code=IYS_CODE))
    state.directory.add_brand(a_brand())
    return state


@pytest.fixture
async def iys(state: SimulatorState) -> AsyncIterator[SimulatorHarness]:
    """Yield a client of `state` that is logged in."""
    transport = httpx.ASGITransport(build_app(state))
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as http:
        client = SimulatorHarness(state, http)
        await client.log_in()
        yield client
    await state.close()
