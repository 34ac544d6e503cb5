"""The simulator with one brand, and a client of it over HTTP."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr

from izin.iys import InMemoryTokenStore, InProcessPacer, IysClient, Pace, TokenAuth
from izin.runtime.settings import IysSettings
from tests.integration.iys.simulator_admin import (
    BRAND,
    IYS_CODE,
    PASSWORD,
    USERNAME,
    SimulatorAdmin,
)


@pytest.fixture
def admin(simulator: str) -> Iterator[SimulatorAdmin]:
    """Yield the admin API of the simulator, reset to one account and one brand, without limits."""
    with httpx.Client(base_url=f"{simulator}/__simulator__") as http:
        admin = SimulatorAdmin(http)
        admin.post("reset", everything=True)
        admin.post(
            "settings",
            requestsPerSecond=0,
            tokenLimit=0,
            statusLimit=1000,
            resultDelay=300,
            unknownStatus="empty",
            forbiddenSpelling="code",
            hiddenWindow=3600,
            pushHttpsRequired=True,
        )
        admin.post("accounts", username=USERNAME, password=PASSWORD, iysCode=IYS_CODE)
        admin.post(
            "brands",
            brandCode=BRAND.brand_code,
            iysCode=IYS_CODE,
            name="Örnek",
            activatedAt="2020-01-01 00:00:00",
            retailers=[55550127],
        )
        yield admin


@pytest.fixture
def settings(simulator: str) -> IysSettings:
    """Return settings that lead to the simulator."""
    return IysSettings(
        base_url=simulator,
        username=USERNAME,
        password=SecretStr(PASSWORD),
        timeout=timedelta(seconds=5),
    )


@pytest.fixture
async def client(admin: SimulatorAdmin, settings: IysSettings) -> AsyncIterator[IysClient]:
    """Yield a client with an unlimited pace."""
    async with a_client(settings, InMemoryTokenStore(), Pace(rate=1000)) as client:
        yield client


def a_client(settings: IysSettings, store: InMemoryTokenStore, pace: Pace) -> IysClient:
    """Return a client over HTTP."""
    return IysClient(settings, auth=TokenAuth(settings, store), pacer=InProcessPacer(pace))
