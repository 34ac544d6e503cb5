"""Child processes: started with a parent-death signal, ready by an effect, stopped in bounded time.

A process that a :class:`Supervisor` keeps up is started again when it dies, after a pause that
grows with each death in a row and is bounded; after too many in a row it stays down, which
`on_event` is called with. Processes are stopped in the reverse order of their starts.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

import httpx

from izin.local import parent_death
from izin.local.errors import LocalError, StartError
from izin.local.java import Progress, silent

_POLL_INTERVAL = 0.05
_TAIL_BYTES = 16_384
_TAIL_LINES = 20

# The kernel ties a parent-death signal to the parent's *thread*: every child is started by this
# one, which lives as long as the process does.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


_WATCH_INTERVAL = 0.1


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run, and how to recognize that it is ready.

    `ready` is a callable that says whether the effect is there, an http(s) URL that answers below
    400, or None for a process that is ready once it runs. `environment` is the whole environment of
    the child, None to inherit ours. `owner` is (uid, gid) to run as.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    folder: Path | None = None
    ready: Callable[[], bool] | str | None = None
    ready_within: timedelta = timedelta(seconds=60)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within: timedelta = timedelta(seconds=20)
    orphan_signal: signal.Signals = signal.SIGKILL
    owner: tuple[int, int] | None = None
    inherited: tuple[int, ...] = ()


def answers(url: str) -> bool:
    """Return whether `url` answers now with a status below 400."""
    try:
        # Polled, and on this machine: reading the CA bundle would take most of the time.
        answer = httpx.get(url, timeout=2, trust_env=False, verify=False)  # noqa: S501 - see above
    except httpx.HTTPError:
        return False
    return answer.status_code < httpx.codes.BAD_REQUEST


class Child:
    """One run of a Command. `start` may be called again after the process has ended."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process id, None before the first start."""
        return self._process.pid if self._process else None

    @property
    def is_alive(self) -> bool:
        """Whether the process runs now."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal's number after a signal, None while it runs."""
        return self._process.poll() if self._process else None

    def start(self) -> Self:
        """Start the process and return at once; do nothing if it runs."""
        if not self.is_alive:
            self._process = _spawner.submit(self._spawn).result()
        return self

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = self.command
        owner = ":".join(map(str, command.owner)) if command.owner else "-"
        argv = [
            *(sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())),
            *(str(int(command.orphan_signal)), owner, *command.argv),
        ]
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            self._log_start = log.tell()
            return subprocess.Popen(  # noqa: S603 - runs what our own code asked for
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(command.environment) if command.environment is not None else None,
                cwd=command.folder,
                pass_fds=command.inherited,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on, in order
            )

    def wait_ready(self) -> None:
        """Return once the process is ready.

        Raises:
            StartError: It ended, or was not ready within its limit.
        """
        within = self.command.ready_within.total_seconds()
        limit = time.monotonic() + within
        while True:
            if not self.is_alive:
                raise self.failure(f"it ended with exit code {self.exit_code}")
            if self._is_ready():
                return
            if time.monotonic() > limit:
                raise self.failure(f"it was not ready within {within:g} s")
            time.sleep(_POLL_INTERVAL)  # nothing wakes us when a server starts to answer

    def _is_ready(self) -> bool:
        match self.command.ready:
            case None:
                return True
            case str() as url:
                return answers(url)
            case effect:
                return effect()

    def failure(self, why: str) -> StartError:
        """Return the error that says `why`, with the last lines of this run's log."""
        return StartError(
            name=self.command.name, why=why, log=self.command.log, log_tail=self.log_tail()
        )

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """Return the last `lines` lines of this run's log, empty where there are none."""
        try:
            with self.command.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, size - _TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """Send the stop signal, kill the process after its limit; return when it is gone."""
        if self._process is not None and self.is_alive:
            self._signal(self.command.stop_signal)
            try:
                self._process.wait(self.command.stop_within.total_seconds())
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the process and its group with SIGKILL; return when it is gone."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            # It leads its own session, so its id is its group's: its own children get it too.
            os.killpg(self._process.pid, number)


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


class _Supervised:
    """One supervised child, and how it is started again; times are of the monotonic clock."""

    def __init__(self, start: Callable[[], Child], *, up_since: float) -> None:
        self.child = start()
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
            self.child = self.start()
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
                    self.keep_up(ready.command.name, ready.start)
        except BaseException:  # also Ctrl-C: what was started is stopped
            for child in reversed(waiting):
                child.stop()
            raise

    def keep_up(self, name: str, start: Callable[[], Child]) -> None:
        """Call ``start`` now, and whenever the child that it returns has died.

        It returns at once, and the running child where there is one.
        """
        with self._lock:
            self._supervised[name] = _Supervised(start, up_since=time.monotonic())
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
            child = Child(command).start()
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
                    f"{one.child.command.log}\n{one.child.log_tail()}"
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
