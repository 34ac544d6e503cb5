"""Supervised child processes: started by name, restarted when they die, stopped in reverse order.

A process with `keep_up` is started again when it dies, after a pause that grows with each death in
a row and is bounded; after too many in a row it stays down, which `on_event` is called with.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol, Self

from izin.local.child import Child, Command
from izin.local.errors import LocalError
from izin.local.maven import Progress, silent

_WATCH_INTERVAL = 0.1


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """How long to wait before a restart: `first`, doubled for each further death in a row.

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


class Restartable(Protocol):
    """A child, or a server around one."""

    @property
    def is_alive(self) -> bool:
        """Whether it runs now."""

    @property
    def exit_code(self) -> int | None:
        """How its last run ended."""

    @property
    def log(self) -> Path:
        """The file of its log."""

    def log_tail(self) -> str:
        """Return the last lines of its last run."""


class _Supervised:
    """One supervised child, and how it is started again; times are of the monotonic clock."""

    def __init__(self, child: Restartable, start: Callable[[], None], *, up_since: float) -> None:
        self.child = child
        self.start = start
        self.up_since = up_since
        self.start_at: float | None = None
        self.failure: str | None = None
        """Why the last restart could not even be tried."""
        self.deaths = 0
        self.given_up = False

    def try_start(self, now: float) -> None:
        """Start it again; what keeps it from starting counts as a further death."""
        self.start_at, self.up_since, self.failure = None, now, None
        try:
            self.start()
        except LocalError as error:
            self.failure = f"cannot be started: {error}"


class Supervisor:
    """Named child processes; a context manager that stops them all at its end."""

    def __init__(self, *, policy: RestartPolicy | None = None, on_event: Progress = silent) -> None:
        self._policy = policy or RestartPolicy()
        self._on_event = on_event
        self.gave_up = threading.Event()
        """Set once something has died too often in a row, and stays down."""
        self._children: dict[str, Child] = {}
        self._supervised: dict[str, _Supervised] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._watch: threading.Thread | None = None

    def start(self, command: Command, *, keep_up: bool = False) -> Child:
        """Start a process, wait until it is ready, and return it.

        With `keep_up` it is started again whenever it dies.

        Raises:
            ValueError: A child of that name runs.
            StartError: It did not start, and is gone.
        """
        self.start_together(command, keep_up=keep_up)
        return self.child(command.name)

    def start_together(self, *commands: Command, keep_up: bool = False) -> None:
        """Start processes that do not depend on each other; return when all of them are ready.

        Raises as `start` does; those that were not ready yet are gone then.
        """
        waiting: list[Child] = []
        try:
            for command in commands:
                waiting.append(self._launch(command))  # noqa: PERF401 - some may have begun
            while waiting:
                waiting[0].wait_ready()
                ready = waiting.pop(0)
                if keep_up:
                    self.keep_up(ready.command.name, ready, start=ready.start)
        except BaseException:  # also Ctrl-C: what was started is stopped
            for child in reversed(waiting):
                child.stop()
            raise

    def keep_up(self, name: str, child: Restartable, *, start: Callable[[], None]) -> None:
        """Call ``start``, which must return at once, whenever a running ``child`` has died."""
        with self._lock:
            self._supervised[name] = _Supervised(child, start, up_since=time.monotonic())
            if self._watch is None:
                self._watch = threading.Thread(
                    target=self._watch_all, name="supervisor", daemon=True
                )
                self._watch.start()

    def _launch(self, command: Command) -> Child:
        with self._lock:
            before = self._children.get(command.name)
            if before is not None and before.is_alive:
                raise ValueError(f"a process named {command.name} runs already")
            child = Child(command)
            child.start()
            # Registered at once, so that `stop` finds it whatever happens now; last in the order,
            # even where an earlier child had the name.
            self._children.pop(command.name, None)
            self._children[command.name] = child
            return child

    def child(self, name: str) -> Child:
        """Return the child of that name. Raises KeyError for a name never started."""
        return self._children[name]

    def kill(self, name: str) -> None:
        """End a child with SIGKILL, as a crash would; one with `keep_up` is started again."""
        self.child(name).kill()

    def stop(self, name: str | None = None) -> None:
        """Stop one child for good, or all in reverse order of their starts.

        What was given to `keep_up` is no longer started again, and otherwise left alone.
        """
        if name is None:
            self._closing.set()
            if self._watch is not None:
                self._watch.join()
                self._watch = None
            self._closing.clear()
        with self._lock:
            if name is None:
                self._supervised.clear()
            for one in [name] if name is not None else [*reversed(self._children)]:
                self._supervised.pop(one, None)
                self.child(one).stop()

    def tend(self, now: float) -> None:
        """Restart what died, at monotonic time `now`; the watch thread calls this."""
        with self._lock:
            for name, child in self._supervised.items():
                if not child.given_up:
                    self._tend_one(name, child, now)

    def _tend_one(self, name: str, one: _Supervised, now: float) -> None:
        if one.child.is_alive:
            return
        if one.start_at is None:
            if now - one.up_since >= self._policy.steady_after.total_seconds():
                one.deaths = 0
            one.deaths += 1
            pause = self._policy.pause(one.deaths)
            what = f"{name} {one.failure or f'ended with exit code {one.child.exit_code}'}"
            if pause is None:
                one.given_up = True
                self._on_event(
                    f"{what}, {one.deaths} times in a row; it stays down. Its log is "
                    f"{one.child.log}\n{one.child.log_tail()}"
                )
                self.gave_up.set()
                return
            one.start_at = now + pause.total_seconds()
            self._on_event(f"{what}; starting it again in {pause.total_seconds():g} s")
        if now >= one.start_at:
            one.try_start(now)

    def _watch_all(self) -> None:
        while not self._closing.wait(_WATCH_INTERVAL):
            self.tend(time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
