"""The simulator with one brand, and a client of it over HTTP."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from izin.iys.client import IysClient
from izin.iys.rate_limit import Pace
from izin.iys.tokens import TokenAuth
from izin.runtime.settings import IysSettings
from tests.support.iys import InMemoryTokenStore, InProcessPacer
from tests.support.simulator import PASSWORD, USERNAME, SimulatorAdmin


@pytest.fixture
def admin(simulator: SimulatorAdmin) -> SimulatorAdmin:
    """Give the admin API of the simulator, reset to one account and one brand, without limits."""
    simulator.configure(
        requestsPerSecond=0,
        tokenLimit=0,
        statusLimit=1000,
        resultDelay=300,
        unknownStatus="empty",
        forbiddenSpelling="code",
        hiddenWindow=3600,
        pushHttpsRequired=True,
    )
    simulator.brand(retailers=[55550127])
    return simulator


@pytest.fixture
def settings(simulator: SimulatorAdmin) -> IysSettings:
    """Give settings that lead to the simulator."""
    return IysSettings(
        base_url=simulator.address,
        username=USERNAME,
        password=SecretStr(PASSWORD),
        timeout=timedelta(seconds=5),
    )


@pytest.fixture
async def client(admin: SimulatorAdmin, settings: IysSettings) -> AsyncIterator[IysClient]:
    """Give a client with an unlimited pace."""
    async with a_client(settings, InMemoryTokenStore(), Pace(rate=1000)) as client:
        yield client


def a_client(settings: IysSettings, store: InMemoryTokenStore, pace: Pace) -> IysClient:
    """Give a client over HTTP."""
    return IysClient(settings, auth=TokenAuth(settings, store), pacer=InProcessPacer(pace))
