"""A short campaign on real servers; the long one is ``make chaos STAGE=sink``."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from izin.demo.compare import Kept, Wanted, compare
from izin.runtime.settings import KafkaSettings
from tests.chaos.sink import verdict
from tests.chaos.sink.campaign import Campaign
from tests.chaos.sink.processes import Iys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAULTS = 14


@pytest.fixture
def iys() -> Iterator[Iys]:
    """Give a twin of İYS in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "izin.simulator", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            until_healthy(address)
            yield Iys(address=address)
        finally:
            process.kill()


def until_healthy(address: str) -> None:
    """Return once the twin answers; fail if it does not."""
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        try:
            if httpx.get(f"{address}/__simulator__/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail("the simulator is not healthy")


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.timeout(240)
async def test_killed_frozen_and_cut_off_the_sinks_end_where_iys_does(
    kafka: str, topic_prefix: str, database_url: str, iys: Iys, tmp_path: Path
) -> None:
    """Register, ledger, topics and law tell one story; nothing was saved twice or out of order."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=2)
    campaign = Campaign(
        settings=settings,
        database_url=database_url,
        iys=iys,
        log=tmp_path / "sinks.log",
        keys=25,
        seed=7,
        workers=2,
    )
    found = await campaign.run(FAULTS)
    assert found.faults == ()
    assert found.keys > 10
    assert found.movements > 0
    assert len(campaign.strikes) == FAULTS


def test_a_movement_that_was_saved_twice_is_seen() -> None:
    """The verdict can fail: a repetition, and an older statement after a newer one."""
    one = {"recipient": "+905550000001", "status": "ONAY", "consentDate": "2026-03-02 12:00:00"}
    older = {**one, "status": "RET", "consentDate": "2026-03-02 11:00:00"}
    assert verdict._movements([one]) == []
    assert len(verdict._movements([one, one])) == 1
    assert len(verdict._movements([one, older])) == 1


def test_a_no_that_iys_does_not_hold_is_seen() -> None:
    """The comparison can fail: wanted RET, and the register shows ONAY."""
    key = "100001/MESAJ/BIREYSEL/+905550000001"
    kept = Kept(desired="RET", registered="RET", state="accepted")
    found = compare({key: Wanted(status="RET")}, {key: kept}, {key: "ONAY"}, {key: False})
    assert found.differences
