"""Kill each of our processes once with SIGKILL, at random moments; each is started again."""

import random
import threading
import time
from typing import Self

from izin.demo.report import Kill
from izin.local import Supervisor

WORKERS = ("order worker", "sink worker", "intake")


class Killer:
    """Kills while its block runs; a context manager.

    The moments are within ``window`` seconds of the start, each worker's in a third of its own, so
    that two are never killed together.
    """

    def __init__(self, supervisor: Supervisor, *, window: float, seed: int) -> None:
        self._supervisor = supervisor
        chance = random.Random(seed)
        order = chance.sample(WORKERS, len(WORKERS))
        third = window / len(WORKERS)
        self._plan = [
            (third * (place + 0.2 + 0.7 * chance.random()), name)
            for place, name in enumerate(order)
        ]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._kill_all, name="killer", daemon=True)
        self.kills: list[Kill] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _kill_all(self) -> None:
        start = time.monotonic()
        for at, name in self._plan:
            if self._stopped.wait(max(0.0, start + at - time.monotonic())):
                return
            self._supervisor.kill(name)
            self.kills.append(Kill(killed=name, at_second=round(time.monotonic() - start, 1)))
