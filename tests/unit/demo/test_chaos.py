"""The killer kills each worker once, and is quiet when the story is over."""

import threading
from typing import TYPE_CHECKING, cast

from izin.demo.chaos import WORKERS, Killer

if TYPE_CHECKING:
    from izin.local import Supervisor


class Grave:
    """A supervisor that only counts."""

    def __init__(self, most: int) -> None:
        self.killed: list[str] = []
        self.full = threading.Event()
        self._most = most

    def kill(self, name: str) -> None:
        """Note who was killed."""
        self.killed.append(name)
        if len(self.killed) == self._most:
            self.full.set()


def test_each_worker_is_killed_once() -> None:
    """All three, in an order that the seed chooses."""
    grave = Grave(len(WORKERS))
    with Killer(cast("Supervisor", grave), window=0.03, seed=1) as killer:
        assert grave.full.wait(10)
    assert sorted(grave.killed) == sorted(WORKERS)
    assert [one.killed for one in killer.killed] == grave.killed


def test_nobody_is_killed_after_the_end() -> None:
    """The plan ends with the block."""
    grave = Grave(1)
    with Killer(cast("Supervisor", grave), window=3600, seed=1):
        pass
    assert grave.killed == []
