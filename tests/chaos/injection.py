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
        """Inject so many faults; ``hit`` injects one, and returns its target.

        ``meanwhile`` is called with the seconds of each pause.
        """
        began = time.monotonic()
        for number, fault in enumerate(self._planned(faults), 1):
            await meanwhile(self.random.uniform(*self.pause))
            target = await hit(fault)
            self.injected[fault] += 1
            at = time.monotonic() - began
            self.on_progress(f"{number}/{faults} {at:7.1f} s  {target:<12} {fault}")

    def _planned(self, faults: int) -> list[F]:
        more = self.random.choices([*self.weights], [*self.weights.values()], k=faults)
        return [*self.weights, *more][:faults]
