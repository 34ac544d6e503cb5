"""Blocking work that nobody waits for at the end."""

import asyncio
import subprocess
import sys
import threading

import pytest

from izin.runtime.process import in_daemon_thread

HANGS = """
import asyncio, threading
from izin.runtime.process import in_daemon_thread

async def main():
    asyncio.create_task(in_daemon_thread(threading.Event().wait, name="hangs"))
    await asyncio.sleep(0.1)

asyncio.run(main())
"""


async def test_result_and_error_are_the_works() -> None:
    """The caller gets what it would get without a thread."""
    assert await in_daemon_thread(lambda: threading.current_thread().name, name="mine") == "mine"
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0, name="fails")


async def test_result_that_nobody_waits_for_is_dropped() -> None:
    """A caller that was cancelled meanwhile is left alone."""
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)
        done.set()

    task = asyncio.create_task(in_daemon_thread(work, name="late"))
    await asyncio.sleep(0)
    task.cancel()
    go_on.set()
    await asyncio.to_thread(done.wait, 10)
    await asyncio.sleep(0.01)
    assert task.cancelled()


def test_process_ends_though_the_work_hangs() -> None:
    """A broker that is away does not keep a worker from ending."""
    done = subprocess.run(
        [sys.executable, "-c", HANGS], check=False, timeout=30, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
