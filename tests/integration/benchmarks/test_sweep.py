"""The benchmark of the sweep measures correctly, on few keys."""

import pytest

from benchmarks.sink.fixture import BRANDS
from benchmarks.sink.iys_account import register
from benchmarks.sink.sweep import figures, measure_sweep
from tests.support.simulator import SimulatorAdmin

pytestmark = pytest.mark.database


async def test_every_key_is_swept_and_every_request_counted(
    database_url: str, simulator: SimulatorAdmin
):
    """How many of its requests it makes is for the bar to judge."""
    simulator.configure(requestsPerSecond=0, tokenLimit=0)
    register(simulator.post)
    held = [
        {"brandCode": code, "type": "MESAJ", "status": "ONAY", "recipient": f"+9054{number:08d}"}
        for code in BRANDS
        for number in range(1, 31)
    ]
    simulator.post("citizen", entries=[{**one, "source": "IYS_WEB_YENI"} for one in held])
    use = await measure_sweep(database_url, simulator.address, keys=60, rate=10, say=print)
    assert (use.confirmed, use.requests, simulator.calls("statuses")) == (60, 2, 2)
    assert 0 < figures(use)["sweep-slots"] <= 101
