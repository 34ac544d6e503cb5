"""The cache folder, and locks on folders that outlive the process that took them.

The lock is a `flock` whose descriptor the server inherits: the kernel releases it when both we and
the server are gone, however they ended. So there is no pid file to go stale, and a run after a
kill -9 waits exactly until its predecessor's server has vanished.
"""

import fcntl
import os
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Self

from izin.local.errors import StateInUseError

_POLL_INTERVAL = 0.05


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the user's folder for what can be downloaded again: `$XDG_CACHE_HOME/izin`."""
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "izin"


class FolderLock:
    """A lock on `folder` against other runs; its `descriptor` is to be inherited by the server."""

    def __init__(self, folder: Path, *, within: timedelta) -> None:
        self._folder = folder
        self._within = within
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The open file descriptor that carries the lock. Raises RuntimeError when not locked."""
        if self._descriptor is None:
            raise RuntimeError(f"{self._folder} is not locked")
        return self._descriptor

    @property
    def is_held(self) -> bool:
        """Whether it is locked here."""
        return self._descriptor is not None

    def acquire(self, *, within: timedelta | None = None) -> None:
        """Lock the folder, waiting for an owner that is about to end (`within` replaces the limit).

        Raises:
            StateInUseError: Another run still has it at the limit.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        limit = time.monotonic() + (self._within if within is None else within).total_seconds()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > limit:
                    os.close(descriptor)
                    raise StateInUseError(self._folder, path.read_text().strip()) from None
                time.sleep(_POLL_INTERVAL)  # a blocking flock has no time limit
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}: {sys.argv[0]}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release our part; the lock ends when a server that inherited it has ended too."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
