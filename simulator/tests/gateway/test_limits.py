"""Limits of one client address: by the second, by the hour, and by its error rate."""

import pytest

from iys_simulator.gateway.gateway import ConnectionDroppedError
from iys_simulator.settings import Settings
from iys_simulator.traffic.error_rate import ErrorRate
from iys_simulator.traffic.rate_limits import FixedWindow, RestartingHour, SlidingWindow
from simulator_harness.client import SimulatorHarness, codes

HOUR = 3600.0
BODY = {"recipient": "+905550000001", "recipientType": "BIREYSEL", "type": "MESAJ"}


def test_fixed_window_ends_with_the_clock():
    """Twice the limit passes around a boundary, and refused requests are not counted."""
    limit = FixedWindow()
    admitted = [limit.admits("a", now, 2, 1.0) for now in (0.8, 0.9, 0.95, 1.0, 1.1, 1.2)]
    assert admitted == [True, True, False, True, True, False]
    assert limit.admits("b", 1.2, 2, 1.0)


def test_sliding_window_looks_back():
    """The boundary of a second makes no difference."""
    limit = SlidingWindow()
    admitted = [limit.admits("a", now, 2, 1.0) for now in (0.5, 0.75, 1.0, 1.5, 1.625, 1.75)]
    assert admitted == [True, True, False, True, False, True]


@pytest.mark.parametrize("limit", [FixedWindow(), SlidingWindow(), RestartingHour()])
def test_zero_switches_a_limit_off(limit: FixedWindow):
    """Either of its two numbers does."""
    assert all(limit.admits("a", 0.0, 0, 1.0) for _ in range(3))
    assert all(limit.admits("a", 0.0, 1, 0.0) for _ in range(3))


def test_early_retry_restarts_the_hour():
    """H084's hour starts again with each refused request."""
    limit = RestartingHour()
    assert limit.admits("a", 0.0, 1, HOUR)
    assert not limit.admits("a", HOUR - 1, 1, HOUR)
    assert not limit.admits("a", HOUR + 1, 1, HOUR)
    assert limit.admits("a", 2 * HOUR + 1, 1, HOUR)


async def test_hour_can_be_shortened(iys: SimulatorHarness):
    """A shorter hour has the same refusals and ends sooner."""
    iys.set(status_limit=1, hour=10)
    path = f"{iys.path}/consents/status"
    assert (await iys.http.post(path, json=BODY)).status_code == 200
    refused = await iys.http.post(path, json=BODY)
    assert (refused.status_code, codes(refused)) == (429, ["H086"])
    iys.state.clock.advance(10)
    assert (await iys.http.post(path, json=BODY)).status_code == 200


async def test_jitter_delays_requests(iys: SimulatorHarness):
    """Each request waits up to the jitter, chosen by the simulator's seed."""
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    iys.state.pause = pause
    iys.set(request_jitter=0.08)
    iys.state.random.seed(7)
    for _ in range(3):
        await iys.changes()
    iys.state.random.seed(7)
    for _ in range(3):
        await iys.changes()
    assert waited[:3] == waited[3:]
    assert all(0 <= seconds <= 0.08 for seconds in waited)
    assert len(set(waited)) == 3


def test_high_error_rate_gets_a_notice_and_a_removal():
    """A client below the rate for the whole grace period is removed; one that recovers is not."""
    settings = Settings(quality_requests=10, quality_grace=2 * HOUR)
    error_rate = ErrorRate()
    for client, late in (("bad", "422"), ("better", "200")):
        for _ in range(6):
            error_rate.record(client, 0.0, "200", settings)
        for _ in range(4):
            error_rate.record(client, 0.0, "404", settings)
        for _ in range(10):
            error_rate.record(client, HOUR, late, settings)
        error_rate.record(client, 2 * HOUR, late, settings)
    assert error_rate.is_removed("bad")
    assert not error_rate.is_removed("better")
    found = {one["client"]: one for one in error_rate.as_list()}
    assert found["bad"]["noticeSince"] == 0.0
    assert found["better"]["noticeSince"] is None
    error_rate.readmit("bad")
    assert not error_rate.is_removed("bad")


def test_error_rate_counts_a_day_without_429_and_500():
    """Requests older than 24 hours and failures that the client did not cause do not count."""
    settings = Settings(quality_requests=3, quality_grace=0)
    error_rate = ErrorRate()
    for status in ("422", "422", "422"):
        error_rate.record("old", 0.0, status, Settings(quality_requests=9))
    error_rate.record("old", 24 * HOUR, "200", settings)
    assert error_rate.as_list()[0]["requests"] == 1
    for status in ("429", "500", "503"):
        error_rate.record("busy", 0.0, status, settings)
    assert not error_rate.is_removed("busy")
    error_rate.record("nobody", 0.0, "422", Settings(quality_requests=0))
    assert len(error_rate.as_list()) == 2


async def test_removed_client_is_refused(iys: SimulatorHarness):
    """Its connections are dropped, or 403 by a switch, until it is readmitted."""
    iys.set(quality_requests=2, quality_grace=0)
    await iys.add(status="X")
    with pytest.raises(ConnectionDroppedError):
        await iys.changes()
    iys.set(removed_client="forbidden")
    assert (await iys.changes()).status_code == 403
    (found,) = (await iys.look("clients")).json()["clients"]
    assert (found["isRemoved"], found["requests"]) == (True, 2)
    await iys.admin("clients", {"client": found["client"]})
    assert (await iys.changes()).status_code == 204
    await iys.admin("clients", {"client": found["client"], "isRemoved": True})
    assert (await iys.changes()).status_code == 403
