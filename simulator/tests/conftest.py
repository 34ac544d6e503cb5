"""A simulator at a fixed instant, and a client of it that is logged in."""

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import settings

from iys_simulator import Clock, Settings, SimulatorState, build_app
from iys_simulator.push_delivery import PushDelivery
from iys_simulator.store.accounts import Account, Subscription
from simulator_harness.client import IYS_CODE, NOW, SimulatorHarness, a_brand, seconds_of
from simulator_harness.push_receiver import Receiver

# `make test` tries the same examples for the same code, and fewer.
settings.register_profile("same", deadline=None, derandomize=True, max_examples=40)


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


@pytest.fixture
def pauses() -> list[float]:
    """Return how long push waited between attempts."""
    return []


@pytest.fixture
def receiver(state: SimulatorState, pauses: list[float]) -> Receiver:
    """Return a receiver that the simulator's deliveries reach; nothing waits."""
    receiver = Receiver()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    client = httpx.AsyncClient(transport=httpx.MockTransport(receiver))
    state.push = PushDelivery(
        state.counters,
        state.faults,
        lambda: state.settings,
        client=client,
        pause=pause,
        seconds=state.clock.seconds,
    )
    return receiver
