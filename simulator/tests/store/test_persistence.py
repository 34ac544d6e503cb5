"""Persistence: a process continues with the state file of the one before."""

from pathlib import Path

import httpx
import pytest

from iys_simulator import Clock, Settings, SimulatorState, build_app
from iys_simulator.store.accounts import Account, Grant, Right, Subscription, SubscriptionState
from iys_simulator.store.database import Database
from simulator_harness.client import (
    BRAND_CODE,
    IYS_CODE,
    NOW,
    PHONE,
    SimulatorHarness,
    a_brand,
    seconds_of,
)

KEY = ("MESAJ", "BIREYSEL", PHONE)


def opened(path: Path) -> SimulatorState:
    """Return a simulator over the file, as a starting process has it."""
    settings = Settings(requests_per_second=0)
    return SimulatorState(settings, Clock(lambda: seconds_of(NOW)), database=Database(path))


def client_of(state: SimulatorState) -> SimulatorHarness:
    """Return a client of the simulator."""
    transport = httpx.ASGITransport(build_app(state))
    return SimulatorHarness(
        state, httpx.AsyncClient(transport=transport, base_url="http://simulator")
    )


async def test_state_is_loaded_again(tmp_path: Path):
    """Accounts, brands, tokens, records, waiting batches, responses and clock are as before."""
    path = tmp_path / "state.db"
    first = opened(path)
    account = Account(username="api@example.com", password="fake", iys_code=IYS_CODE)
    state = SubscriptionState.ACTIVE
    first.directory.add_account(account, Subscription(iys_code=IYS_CODE, state=state))
    grant = Grant(integrator_code=7, rights={"MESAJ": Right.READ})
    brand = a_brand(grants=(grant,), retailers=frozenset([12345678]))
    first.directory.add_brand(brand)
    iys = client_of(first)
    await iys.log_in()
    header = iys.http.headers["Authorization"]
    await iys.add(retailerCode=12345678)
    answered = (await iys.add(version="/v2", recipient="+905550000002")).json()
    batch = await iys.batch(iys.consent(recipient="+905550000003"))
    first.clock.advance(60)
    await first.close()

    second = opened(path)
    iys = client_of(second)
    iys.http.headers["Authorization"] = header
    assert second.directory.accounts["api@example.com"] == account
    assert second.directory.brands[BRAND_CODE] == brand
    assert second.clock.offset == 60
    register = second.register_of(BRAND_CODE)
    assert (register.size, register.approvals, register.used_limit) == (2, 2, 2)
    assert register.access.collector_of(KEY) == 12345678
    again = await iys.add(version="/v2", recipient="+905550000002")
    assert again.json() == answered
    second.clock.advance(300)
    (result,) = await iys.results(batch.json()["requestId"])
    assert result["status"] == "success"
    assert result["subRequestId"] == batch.json()["subRequests"][0]["subRequestId"]
    await second.close()


async def test_killed_process_loses_nothing(tmp_path: Path):
    """What was answered is in the file although nothing closed it, and time does not go back."""
    path = tmp_path / "state.db"
    first = opened(path)
    account = Account(username="api@example.com", password="fake", iys_code=IYS_CODE)
    first.directory.add_account(account, Subscription(iys_code=IYS_CODE))
    first.directory.add_brand(a_brand())
    iys = client_of(first)
    await iys.log_in()
    first.clock.advance(3600)
    await iys.add()

    second = opened(path)
    found = second.register_of(BRAND_CODE).find(KEY)
    assert found is not None
    assert second.clock.seconds() >= found.second
    await second.close()
    await first.close()


async def test_reset_deletes_the_file_contents(tmp_path: Path):
    """After a reset of everything a new process finds nothing."""
    path = tmp_path / "state.db"
    first = opened(path)
    first.directory.add_brand(a_brand())
    await first.reset(everything=True)
    await first.close()
    second = opened(path)
    assert len(second.directory.brands) == 0
    await second.close()


async def test_failed_transaction_writes_nothing(state: SimulatorState):
    """Statements of one transaction are written together or not at all."""
    database = state.database

    def breaks() -> None:
        with database.transaction():
            database.run("put_v2_response", 1, b"x", 1, 1.0)
            with database.transaction():
                raise RuntimeError

    with pytest.raises(RuntimeError):
        breaks()
    assert database.row("v2_response", 1, b"x", 0.0) is None
    database.run("put_v2_response", 1, b"x", 1, 1.0)
    assert database.row("v2_response", 1, b"x", 0.0) == (1,)
