"""A household of child processes: started by name, kept up, ended in reverse order.

Whoever is asked to be kept up is started again when it dies, after a pause that grows with each
death in a row and is bounded; after too many in a row it stays down and `on_event` tells so.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from izin.local.child import Child, Command

_WATCH_EVERY = 0.1

OnEvent = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long to wait before the next start: `first` doubled for each further death in a row.

    A run that lasted `steady_after` ends the row.
    """

    first: timedelta = timedelta(milliseconds=200)
    longest: timedelta = timedelta(seconds=10)
    most_in_a_row: int = 8
    steady_after: timedelta = timedelta(seconds=30)

    def pause(self, deaths: int) -> timedelta | None:
        """Return the pause after that many deaths in a row (from 1), None to give up."""
        if deaths > self.most_in_a_row:
            return None
        doubled: int = 2 ** (deaths - 1)
        return min(self.first * doubled, self.longest)


class _Kept:
    """What the watch knows of one child that is kept up; times are of the monotonic clock."""

    def __init__(self, child: Child, *, up_since: float) -> None:
        self.child = child
        self.up_since = up_since
        self.start_at: float | None = None
        self.deaths = 0
        self.given_up = False


def _ignore(_event: str) -> None:
    """Be the listener of those who do not care."""


class Supervisor:
    """Named children of this process; a context manager that stops them all at its end."""

    def __init__(self, *, backoff: Backoff | None = None, on_event: OnEvent = _ignore) -> None:
        self._backoff = backoff or Backoff()
        self._on_event = on_event
        self._children: dict[str, Child] = {}
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._watch: threading.Thread | None = None

    def start(self, command: Command, *, keep_up: bool = False) -> Child:
        """Start a process, wait until it is ready, and return it.

        With `keep_up` it is started again whenever it dies. Raises ValueError when a child of that
        name runs, and StartError, after which the process is gone.
        """
        self.start_together(command, keep_up=keep_up)
        return self.child(command.name)

    def start_together(self, *commands: Command, keep_up: bool = False) -> None:
        """Start processes that do not need each other; return when all of them are ready.

        As `start` does for one; after an error those that were not ready yet are gone.
        """
        waiting: list[Child] = []
        try:
            for command in commands:
                waiting.append(self._begin(command))  # noqa: PERF401 - some may have begun already
            while waiting:
                waiting[0].wait_ready()
                ready = waiting.pop(0)
                if keep_up:
                    with self._lock:
                        self._kept[ready.command.name] = _Kept(ready, up_since=time.monotonic())
                        self._ensure_watch()
        except BaseException:
            for child in reversed(waiting):
                child.stop()
            raise

    def _begin(self, command: Command) -> Child:
        with self._lock:
            before = self._children.get(command.name)
            if before is not None and before.is_alive:
                raise ValueError(f"a process named {command.name} runs already")
            child = Child(command)
            child.start()
            # Known from its first moment, so that `stop` finds it whatever happens now; last in
            # the order, even where an earlier child bore the name.
            self._children.pop(command.name, None)
            self._children[command.name] = child
            return child

    def child(self, name: str) -> Child:
        """Return the child of that name. Raises KeyError for a name never started."""
        return self._children[name]

    def kill(self, name: str) -> None:
        """End a child with SIGKILL, as chaos would; one that is kept up comes back by itself."""
        self.child(name).kill()

    def stop(self, name: str | None = None) -> None:
        """Stop one child for good, or all in reverse order of their starts."""
        if name is None:
            self._closing.set()
            if self._watch is not None:
                self._watch.join()
                self._watch = None
            self._closing.clear()
        with self._lock:
            for one in [name] if name is not None else [*reversed(self._children)]:
                self._kept.pop(one, None)
                self.child(one).stop()

    def tend(self, now: float) -> None:
        """Look after the kept children at monotonic time `now`; the watch does so by itself."""
        with self._lock:
            for name, kept in self._kept.items():
                if not kept.given_up:
                    self._tend_one(name, kept, now)

    def _tend_one(self, name: str, kept: _Kept, now: float) -> None:
        if kept.child.is_alive:
            return
        if kept.start_at is None:
            if now - kept.up_since >= self._backoff.steady_after.total_seconds():
                kept.deaths = 0
            kept.deaths += 1
            pause = self._backoff.pause(kept.deaths)
            how = f"{name} ended with exit code {kept.child.exit_code}"
            if pause is None:
                kept.given_up = True
                self._on_event(
                    f"{how}, {kept.deaths} times in a row; it stays down. Its log is "
                    f"{kept.child.command.log}\n{kept.child.log_tail()}"
                )
                return
            kept.start_at = now + pause.total_seconds()
            self._on_event(f"{how}; starting it again in {pause.total_seconds():g} s")
        if now >= kept.start_at:
            kept.child.start()
            kept.start_at = None
            kept.up_since = now

    def _ensure_watch(self) -> None:
        if self._watch is None:
            self._watch = threading.Thread(target=self._watch_all, name="supervisor", daemon=True)
            self._watch.start()

    def _watch_all(self) -> None:
        while not self._closing.wait(_WATCH_EVERY):
            self.tend(time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
