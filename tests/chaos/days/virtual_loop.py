"""An event loop with virtual time, which passes only while no work is done.

Sleepers are woken in order, at the right instant of the loop's own time. While a response of the
database is pending, or a thread works, time does not pass.
"""

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

_MICROSECONDS = 1_000_000
_STUCK = 120.0
"""Real seconds without an answer after which something of the test waits for itself."""


class StuckError(RuntimeError):
    """A response from outside did not arrive, while nothing in the loop could continue."""

    def __init__(self) -> None:
        super().__init__(f"nothing came from outside for {_STUCK:g} s")


class _Selector(selectors.DefaultSelector):
    """Waits for I/O; without any, advances the loop's time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the ready keys; time advances by ``timeout`` if no I/O is pending."""
        if timeout is not None and timeout <= 0:
            return super().select(0)
        # One is the loop's own, by which threads wake it.
        if self.threads or len(self.get_map()) > 1 or timeout is None:
            ready = super().select(_STUCK)
            if not ready:
                raise StuckError
            return ready
        self.elapsed += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; its time begins at 0."""

    def __init__(self) -> None:
        self._outside = _Selector()
        super().__init__(self._outside)

    def time(self) -> float:
        """Return how many seconds have passed."""
        return self._outside.elapsed

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call ``callback`` at the first whole microsecond from ``when`` on.

        A loop calls what is due within its clock's resolution, and a real clock has moved on when
        that looks how late it is. Here two sleepers woken early would wake one another for ever.
        """
        whole = math.ceil(when * _MICROSECONDS) / _MICROSECONDS
        return super().call_at(whole, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: object
    ) -> asyncio.Future[T]:
        """Stop time while a thread works."""
        self._outside.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._is_back)
        return future

    def _is_back(self, _: asyncio.Future[Any]) -> None:
        self._outside.threads -= 1


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Return what ``main`` returns, run in a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(main(loop))
