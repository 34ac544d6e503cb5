"""One child process: starts with a parent-death signal, is ready by an effect, stops in bounded
time.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx

from izin.local import parent_death
from izin.local.errors import StartError

_POLL_INTERVAL = 0.05
_TAIL_BYTES = 16_384
_TAIL_LINES = 20

# The kernel ties a parent-death signal to the parent's *thread*: every child is started by this
# one, which lives as long as the process does.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


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
    def log(self) -> Path:
        """The file of the process's log."""
        return self.command.log

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal's number after a signal, None while it runs."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the process and return at once; do nothing if it runs."""
        if not self.is_alive:
            self._process = _spawner.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = self.command
        owner = ":".join(map(str, command.owner)) if command.owner else "-"
        argv = [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())]
        argv += [str(int(command.orphan_signal)), owner, *command.argv]
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
