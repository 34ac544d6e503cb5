"""Processes that wait for work end with the command that started them, also where it was killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

from izin.replay.processes import Advance, working
from tests.support.waiting import runs, until

WORKERS = 2


def work(_number: int, advance: Advance) -> None:
    """Do a piece of work, which is done at once."""
    advance(1)


def start() -> None:
    """Have processes work; print their ids once they wait for more, and wait to be killed."""
    with working(work, (), range(WORKERS), WORKERS) as running:
        running.finish(lambda _: None)
        pids = [one.pid for one in multiprocessing.active_children()]
        sys.stdout.write(f"{' '.join(map(str, pids))}\n")
        sys.stdout.flush()
        time.sleep(60)


def test_idle_processes_end_with_a_parent_that_is_killed() -> None:
    """Nobody else would end them: they wait for work that no one sends any more."""
    arguments = [sys.executable, "-m", __name__]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        assert all(map(runs, pids))
        os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not any(map(runs, pids)))


if __name__ == "__main__":
    start()
