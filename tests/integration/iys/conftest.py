"""A real twin of İYS as a process of its own, and the client that talks to it over HTTP."""

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr

from izin.iys import InMemoryTokenStore, InProcessPacer, IysClient, Pace, TokenAuth
from izin.runtime.settings import IysSettings
from tests.integration.iys.twin import BRAND, IYS_CODE, PASSWORD, USERNAME, Twin

READY_WITHIN = 20.0


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Give the address of a running simulator; only this process is ended afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "izin.simulator", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_healthy(address, process)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_healthy(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the simulator answers; fail if it ended or takes too long."""
    give_up_at = time.monotonic() + READY_WITHIN
    while time.monotonic() < give_up_at:
        assert process.poll() is None, "the simulator ended"
        try:
            if httpx.get(f"{address}/__simulator__/health", timeout=1).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    pytest.fail(f"the simulator is not healthy after {READY_WITHIN} s")


@pytest.fixture
def twin(address: str) -> Iterator[Twin]:
    """Give the simulator, emptied, with one account and one brand, and no limit of calls."""
    with httpx.Client(base_url=f"{address}/__simulator__") as admin:
        twin = Twin(admin)
        twin.order("reset", everything=True)
        twin.order(
            "settings",
            requestsPerSecond=0,
            tokenLimit=0,
            statusLimit=1000,
            resultDelay=300,
            unknownStatus="empty",
            forbiddenSpelling="code",
            pushHttpsRequired=True,
        )
        twin.order("accounts", username=USERNAME, password=PASSWORD, iysCode=IYS_CODE)
        twin.order(
            "brands",
            brandCode=BRAND.brand_code,
            iysCode=IYS_CODE,
            name="Örnek",
            activatedAt="2020-01-01 00:00:00",
            retailers=[55550127],
        )
        yield twin


@pytest.fixture
def settings(address: str) -> IysSettings:
    """Give settings that lead to the simulator."""
    return IysSettings(
        base_url=address,
        username=USERNAME,
        password=SecretStr(PASSWORD),
        timeout=timedelta(seconds=5),
    )


@pytest.fixture
async def client(twin: Twin, settings: IysSettings) -> AsyncIterator[IysClient]:
    """Give a client whose pace is no hindrance."""
    async with a_client(settings, InMemoryTokenStore(), Pace(rate=1000)) as client:
        yield client


def a_client(settings: IysSettings, store: InMemoryTokenStore, pace: Pace) -> IysClient:
    """Give a client over HTTP."""
    return IysClient(settings, auth=TokenAuth(settings, store), pacer=InProcessPacer(pace))
