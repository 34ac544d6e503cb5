"""Processes that wait for work end with the command that started them, also where it was killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from izin.cli.verify.command import LAW, Series, _results
from izin.replay.processes import Advance, working
from tests.support.waiting import runs, until

WORKERS = 2


def work(_number: int, advance: Advance) -> None:
    """Do a piece of work, which is done at once."""
    advance(1)


def start(command: str) -> None:
    """Have processes work; say which they are once they wait for more, and wait too."""
    if command == "replay":
        with working(work, (), range(WORKERS), WORKERS) as running:
            running.finish(lambda _: None)
            report()
    series = Series(fewest=2, most=3, permutations=100, seed=1, law=LAW)
    with _results(series, WORKERS) as results:
        list(results)
        report()


def report() -> None:
    """Print the ids of the processes, and wait to be killed."""
    pids = [one.pid for one in multiprocessing.active_children()]
    sys.stdout.write(f"{' '.join(map(str, pids))}\n")
    sys.stdout.flush()
    time.sleep(60)


@pytest.mark.parametrize("command", ["replay", "verify"])
def test_idle_processes_end_with_a_parent_that_is_killed(command: str) -> None:
    """Nobody else would end them: they wait for work that no one sends any more."""
    arguments = [sys.executable, "-m", __name__, command]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        assert all(map(runs, pids))
        os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not any(map(runs, pids)))


if __name__ == "__main__":
    start(sys.argv[1])
