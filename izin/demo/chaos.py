"""kill -9, once for each of our processes, at moments nobody chose; each comes back by itself."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Self

from izin.demo.report import Chaos

if TYPE_CHECKING:
    from types import TracebackType

    from izin.local import Supervisor

WORKERS = ("order worker", "sink worker", "intake")


class Killer:
    """Kills while its block runs, then is quiet; a context manager.

    The moments lie within ``window`` seconds of the beginning, each worker's in a third of its own
    so that two never fall together.
    """

    def __init__(self, supervisor: Supervisor, *, window: float, seed: int) -> None:
        self._supervisor = supervisor
        chance = random.Random(seed)  # a fault, not a secret
        order = chance.sample(WORKERS, len(WORKERS))
        third = window / len(WORKERS)
        self._plan = [
            (third * (place + 0.2 + 0.7 * chance.random()), name)
            for place, name in enumerate(order)
        ]
        self._quiet = threading.Event()
        self._thread = threading.Thread(target=self._kill_all, name="killer", daemon=True)
        self.killed: list[Chaos] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._quiet.set()
        self._thread.join()

    def _kill_all(self) -> None:
        began = time.monotonic()
        for at, name in self._plan:
            if self._quiet.wait(max(0.0, began + at - time.monotonic())):
                return
            self._supervisor.kill(name)
            self.killed.append(Chaos(killed=name, at_second=round(time.monotonic() - began, 1)))
