"""What a run reserves on this machine, however it ends: folders and ports of 127.0.0.1.

A lock on a folder is a `flock` whose descriptor the server inherits: the kernel releases it when
both we and the server are gone. So there is no pid file to go stale, and a run after a kill -9
waits exactly until its predecessor's server has vanished.
"""

import fcntl
import os
import random
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Self

from izin.local.errors import LocalError, PortTakenError, StateInUseError

_POLL_INTERVAL = 0.05
HOST = "127.0.0.1"
# Below the kernel's ephemeral range, so that no outgoing connection takes the port between our
# check and the server's start.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 200
_KEPT = 256


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


def is_free(port: int) -> bool:
    """Return whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier run in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def is_listening(address: str) -> bool:
    """Return whether a program accepts connections on `address`, a `host:port`, now."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


_chosen: deque[int] = deque()
"""The ports that this process has chosen last, each reserved against other processes.

A server needs a while to listen on the port that was chosen for it, in which it looks free to
everybody else. The reservation of port N is the lock of byte N of a file of this user: the kernel
releases it when the process ends, however it ends.
"""


def _reserve(port: int) -> bool:
    """Reserve `port` and return True, or return False where it is reserved."""
    if port in _chosen:
        return False
    file = _reservations()
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:  # BlockingIOError or PermissionError, by platform
        return False
    _chosen.append(port)
    if len(_chosen) > _KEPT:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, _chosen.popleft())
    return True


@cache
def _reservations() -> int:
    """Return the open file; it is never closed, for that would release every lock."""
    path = Path(tempfile.gettempdir()) / f"izin-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def free_port() -> int:
    """Return a port that is free and that no process of this user has just chosen.

    Raises LocalError when none was found.
    """
    for _ in range(_TRIES):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - spreads runs apart, hides nothing
        if is_free(port) and _reserve(port):
            return port
    raise LocalError(f"no free port between {_FIRST} and {_LAST} on {HOST}")


def claim(port: int | None, *, name: str, setting: str) -> int:
    """Return `port` if it is free, or any free port for None.

    Raises:
        PortTakenError: It is taken; the message names `name`, the port and `setting`.
    """
    if port is None:
        return free_port()
    if not is_free(port):
        raise PortTakenError(name=name, port=port, setting=setting)
    return port
