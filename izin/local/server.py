"""What Kafka, PostgreSQL and the registry have in common: a locked folder, a port, one child."""

from abc import ABC, abstractmethod
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Self

from izin.local.java import Progress, silent
from izin.local.processes import Child, Command
from izin.local.reservations import HOST, FolderLock, claim

_PREDECESSOR_GONE_WITHIN = timedelta(seconds=15)


class Server(ABC):
    """One server on 127.0.0.1; a context manager.

    Its data and log are in `state_dir/<folder>`. A `port` of None is any free port, the same one at
    every start of this object. `on_progress` is called about long work.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    port_setting: ClassVar[str]

    def __init__(
        self, state_dir: Path, port: int | None = None, *, on_progress: Progress = silent
    ) -> None:
        self._folder = state_dir.absolute() / self.folder
        self._asked_port = port
        self._on_progress = on_progress
        self._lock = FolderLock(self._folder, within=_PREDECESSOR_GONE_WITHIN)
        self._port: int | None = None
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """`127.0.0.1:port`. Raises RuntimeError before the start."""
        if self._port is None:
            raise RuntimeError(f"{self.name} has not been started")
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it was never started."""
        return self._child.pid if self._child else None

    @property
    def is_alive(self) -> bool:
        """Whether the server's process runs now."""
        return self._child is not None and self._child.is_alive

    @property
    def log(self) -> Path:
        """The file the server writes its log to."""
        return self._folder / f"{self.folder}.log"

    def log_tail(self) -> str:
        """Return the last lines of the last run's log."""
        return self._child.log_tail() if self._child else ""

    @abstractmethod
    def prepare(self) -> None:
        """Download what is missing; lock and start nothing. Raises as `start` does."""

    def start(self) -> None:
        """Prepare, start, and wait until the server answers.

        Raises DigestError, DownloadError, PackageMissingError, JavaMissingError, PortTakenError,
        StateInUseError or StartError, after which nothing is left running.
        """
        if self.is_alive:
            return
        self.stop()  # after a server that ended by itself we still have the folder locked
        self.prepare()
        self._lock.acquire()
        try:
            child = self._launch()
            child.wait_ready()
            self._initialize()
        except BaseException:  # also Ctrl-C: what was started is stopped
            self.stop()
            raise
        self._on_progress(f"{self.name} answers on {self.address}")

    def restart(self) -> Child:
        """Start the server again if it died, on the same port; return its process at once.

        Raises:
            StateInUseError: Processes of the last run are still ending; try again.
            PortTakenError: Another program took the port meanwhile.
        """
        if self._child is not None and self._child.is_alive:
            return self._child
        # The lock ends with the last process of the last run, which may still write to the data.
        self._lock.release()
        self._lock.acquire(within=timedelta())
        return self._launch()

    def _launch(self) -> Child:
        self._port = claim(
            self._port or self._asked_port, name=self.name, setting=self.port_setting
        )
        self._child = Child(self._command(self._port)).start()
        return self._child

    @abstractmethod
    def _command(self, port: int) -> Command:
        """Create the data where there is none, and return how to run the server on it."""

    def _initialize(self) -> None:  # noqa: B027 - most servers need nothing more
        """Do what is needed once the server answers."""

    def stop(self) -> None:
        """Stop the server; do nothing when it does not run."""
        if self._child is not None:
            self._child.stop()
        self._lock.release()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        if self._child is not None:
            self._child.kill()
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
