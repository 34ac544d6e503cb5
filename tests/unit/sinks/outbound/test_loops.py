"""A loop survives transient errors, and ends with an error of ours."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from izin.consent.errors import OurError
from izin.runtime.backoff import Backoff
from izin.sinks.ledger.db.notifications import BULK, Notifications
from izin.sinks.outbound import loops
from izin.sinks.outbound.loops import (
    MAY_END,
    FailingLoops,
    keep_running,
    run_every,
    run_on_notification,
)
from izin.sinks.record.errors import LedgerUnavailableError

SOON = timedelta(seconds=5)


async def test_loop_continues_after_a_transient_error():
    """PostgreSQL restarts, and the loop goes on."""
    stopping, tries = asyncio.Event(), []

    async def step() -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise LedgerUnavailableError("restarting")
        stopping.set()
        return True

    async with asyncio.timeout(5):
        await run_on_notification(
            "x", step, notifications=Notifications(), channel=BULK, interval=SOON, stopping=stopping
        )
    assert len(tries) == 2


async def test_loop_ends_with_an_error_of_ours():
    """Nothing that is not understood may be submitted."""

    async def step() -> bool:
        raise OurError("a bug")

    with pytest.raises(OurError, match="a bug"):
        await run_every("x", step, interval=SOON, stopping=asyncio.Event())


@pytest.mark.parametrize(
    ("stable", "waits"),
    [(3600.0, [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]), (-1.0, [0.2] * 7)],
    ids=["in a row", "each after it had worked"],
)
async def test_loop_waits_no_longer_than_an_opt_out_may(
    monkeypatch: pytest.MonkeyPatch, stable: float, waits: list[float]
):
    """After a long outage, and after many short ones."""
    failures = len(waits)

    async def work() -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise LedgerUnavailableError("away")

    async def no_wait(_: float) -> None:
        return

    monkeypatch.setattr(loops, "_STABLE", stable)
    monkeypatch.setattr(asyncio, "sleep", no_wait)
    with capture_logs() as logs:
        await keep_running("x", work)
    assert [log["after"] for log in logs] == waits


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OurError("a bug")])
async def test_loop_beside_sending_is_run_again_after_any_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
):
    """It stands in what is wrong, by its name, until it has run for a while without one."""
    monkeypatch.setattr(loops, "_FAULT_BACKOFF", Backoff(timedelta(0), timedelta(0)))
    now, seen = [0.0], []
    failing = FailingLoops(lambda: now[0])

    async def work() -> None:
        seen.append(dict(failing.faults()))
        if len(seen) <= 2:
            raise error
        now[0] = loops._SOUND
        assert not failing.faults()

    with capture_logs() as logs:
        async with asyncio.timeout(5):
            await keep_running("anchors", work, failing)
    named = {"anchors": f"{type(error).__name__}: {error}"}
    assert seen == [{}, named, named]
    assert [(log["event"], log["loop"]) for log in logs] == [("loop failed", "anchors")] * 2


@pytest.mark.parametrize("name", sorted(MAY_END))
async def test_loop_that_sends_ends_with_a_fault_of_ours(name: str):
    """What keeps two processes from sending the same does too."""
    failing = FailingLoops()

    async def work() -> None:
        raise OurError("a bug")

    with pytest.raises(OurError, match="a bug"):
        await keep_running(name, work, failing)
    assert failing.faults() == {}
