"""Limits of one client address: by the second, by the hour, and by the error_rate of its traffic."""

import pytest

from iys_simulator.gateway.gateway import ConnectionDroppedError
from iys_simulator.settings import Settings
from iys_simulator.traffic.error_rate import ErrorRate
from iys_simulator.traffic.rate_limits import FixedWindow, RestartingHour, SlidingWindow
from simulator_harness.client import Iys, codes

HOUR = 3600.0
BODY = {"recipient": "+905550000001", "recipientType": "BIREYSEL", "type": "MESAJ"}


def test_a_fixed_window_ends_with_the_clock():
    """Twice the limit passes around a boundary, and refused requests are not counted."""
    limit = FixedWindow()
    admitted = [limit.admits("a", now, 2, 1.0) for now in (0.8, 0.9, 0.95, 1.0, 1.1, 1.2)]
    assert admitted == [True, True, False, True, True, False]
    assert limit.admits("b", 1.2, 2, 1.0)


def test_a_sliding_window_looks_back():
    """The boundary of a second helps nobody."""
    limit = SlidingWindow()
    admitted = [limit.admits("a", now, 2, 1.0) for now in (0.5, 0.75, 1.0, 1.5, 1.625, 1.75)]
    assert admitted == [True, True, False, True, False, True]


@pytest.mark.parametrize("limit", [FixedWindow(), SlidingWindow(), RestartingHour()])
def test_no_limit_and_no_window_refuse_nobody(limit: FixedWindow):
    """0 switches a limit off, whichever of its two numbers it is."""
    assert all(limit.admits("a", 0.0, 0, 1.0) for _ in range(3))
    assert all(limit.admits("a", 0.0, 1, 0.0) for _ in range(3))


def test_an_early_retry_restarts_the_hour():
    """H084's hour begins anew with each refused request."""
    limit = RestartingHour()
    assert limit.admits("a", 0.0, 1, HOUR)
    assert not limit.admits("a", HOUR - 1, 1, HOUR)
    assert not limit.admits("a", HOUR + 1, 1, HOUR)
    assert limit.admits("a", 2 * HOUR + 1, 1, HOUR)


async def test_an_hour_can_be_short(iys: Iys):
    """A scaled hour gives the same refusals, sooner forgiven."""
    iys.set(status_limit=1, hour=10)
    path = f"{iys.path}/consents/status"
    assert (await iys.http.post(path, json=BODY)).status_code == 200
    refused = await iys.http.post(path, json=BODY)
    assert (refused.status_code, codes(refused)) == (429, ["H086"])
    iys.state.clock.advance(10)
    assert (await iys.http.post(path, json=BODY)).status_code == 200


async def test_jitter_holds_requests_up(iys: Iys):
    """Each request waits up to the jitter, drawn from the twin's seed."""
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


def test_bad_traffic_gets_notice_and_then_ends():
    """Below the rate for the whole grace an address is removed; one that recovers is not."""
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
    told = {one["client"]: one for one in error_rate.as_list()}
    assert told["bad"]["noticeSince"] == 0.0
    assert told["better"]["noticeSince"] is None
    error_rate.readmit("bad")
    assert not error_rate.is_removed("bad")


def test_quality_looks_back_a_day_and_blames_nobody_for_429_and_500():
    """What is older than 24 hours and what is not the client's fault does not count."""
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


async def test_a_removed_client_is_not_heard(iys: Iys):
    """Its connections are lost, or 403 by a switch, until it is readmitted."""
    iys.set(quality_requests=2, quality_grace=0)
    await iys.add(status="X")
    with pytest.raises(ConnectionDroppedError):
        await iys.changes()
    iys.set(removed_client="forbidden")
    assert (await iys.changes()).status_code == 403
    (told,) = (await iys.look("clients")).json()["clients"]
    assert (told["isRemoved"], told["requests"]) == (True, 2)
    await iys.admin("clients", {"client": told["client"]})
    assert (await iys.changes()).status_code == 204
