"""A loop that stands still ends the worker."""

import asyncio
import threading

from izin.streams.watchdog import EXIT_STALLED, Watchdog


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_silent_loop_ends_the_process() -> None:
    """Silent for the limit: out, with the status that says why."""
    clock, ended = Clock(), list[int]()
    watchdog = Watchdog(limit=20, clock=clock, end=ended.append)
    clock.now += 19.9
    watchdog.check()
    assert not ended
    clock.now += 0.2
    watchdog.check()
    assert ended == [EXIT_STALLED]


async def test_a_beating_loop_lives() -> None:
    """A loop that beats is left alone, however long it has run."""
    clock, ended = Clock(), list[int]()
    watchdog = Watchdog(limit=20, clock=clock, end=ended.append)
    clock.now += 100
    beating = asyncio.create_task(watchdog.beat())
    await asyncio.sleep(0)
    watchdog.check()
    beating.cancel()
    assert not ended


def test_its_own_thread_sees_a_stalled_loop() -> None:
    """Nothing of the watched loop is needed to end it."""
    ended = threading.Event()
    watchdog = Watchdog(limit=0.1, end=lambda _: ended.set())
    watchdog.start()
    assert ended.wait(5)
    watchdog.stop()
