"""The killer kills each worker once, and none after its block ends."""

import threading
from typing import cast

from izin.local import Supervisor
from izin.stack.scenario import WORKERS, Killer


class CountingSupervisor:
    """A supervisor that only notes what is killed."""

    def __init__(self, most: int) -> None:
        self.killed: list[str] = []
        self.full = threading.Event()
        self._most = most

    def kill(self, name: str) -> None:
        """Record which process was killed."""
        self.killed.append(name)
        if len(self.killed) == self._most:
            self.full.set()


def test_killer_kills_each_worker_once() -> None:
    """All three, in an order that the seed chooses."""
    supervisor = CountingSupervisor(len(WORKERS))
    with Killer(cast("Supervisor", supervisor), window=0.03, seed=1) as killer:
        assert supervisor.full.wait(10)
    assert sorted(supervisor.killed) == sorted(WORKERS)
    assert [one.killed for one in killer.kills] == supervisor.killed


def test_killer_after_its_end_kills_nothing() -> None:
    """The plan ends with the block."""
    supervisor = CountingSupervisor(1)
    with Killer(cast("Supervisor", supervisor), window=3600, seed=1):
        pass
    assert supervisor.killed == []
