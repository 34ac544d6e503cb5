"""Faults one after the other: which come in which order follows from a seed."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

F = TypeVar("F", bound=str)


@dataclass(slots=True, kw_only=True)
class Injection(Generic[F]):
    """Injects each kind of fault at least once, if there are enough, then each by its weight."""

    weights: Mapping[F, int]
    servers: Mapping[F, Callable[[], None] | None]
    """What injects a fault of a server; None: that server is others' too, and the fault left out.
    """
    pause: tuple[float, float]
    """How many seconds lie between two faults, at least and at most."""
    random: Random
    on_progress: Callable[[str], None] = lambda _: None
    injected: Counter[F] = field(default_factory=Counter)

    async def run(
        self,
        faults: int,
        hit: Callable[[F], Awaitable[str]],
        *,
        meanwhile: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Inject so many faults; ``hit`` injects one that is of no server, and returns its target.

        ``meanwhile`` is called with the seconds of each pause.
        """
        began = time.monotonic()
        for number, fault in enumerate(self._planned(faults), 1):
            await meanwhile(self.random.uniform(*self.pause))
            restart = self.servers.get(fault)
            if restart is None:
                target = await hit(fault)
            else:
                await asyncio.to_thread(restart)
                target = "server"
            self.injected[fault] += 1
            at = time.monotonic() - began
            self.on_progress(f"{number}/{faults} {at:7.1f} s  {target:<12} {fault}")

    def _planned(self, faults: int) -> list[F]:
        left_out = {fault for fault, restart in self.servers.items() if restart is None}
        kinds = {one: weight for one, weight in self.weights.items() if one not in left_out}
        more = self.random.choices([*kinds], [*kinds.values()], k=faults)
        return [*kinds, *more][:faults]
