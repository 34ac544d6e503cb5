"""The lock of a state's folder: one worker at a time, and only a folder that is ours.

RocksDB locks its own folder too, but reports a lock that somebody else has only in prose, and would
take any folder for its own. The kernel releases the lock when its process ends, however it ends.
"""

import fcntl
import os
from pathlib import Path

from izin.streams.errors import StateError

LOCK_FILE = "izin-state.lock"
"""Marks a folder as ours; locked while a worker uses it."""


class StateFolderLock:
    """This process's lock of ``folder``, taken and released any number of times."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None

    def take(self) -> None:
        """Make the folder if need be, and lock it; raises StateError if that cannot be done."""
        file = self._folder / LOCK_FILE
        try:
            # Its keys are recipients: RocksDB's files would be readable by anybody.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            if not file.exists() and any(self._folder.iterdir()):
                raise StateError(
                    f"{self._folder} is no state of ours; empty it, or set IZIN_STATE_FOLDER"
                )
            lock = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise StateError(
                f"{self._folder} cannot be used ({error.strerror}); "
                "may this user write there? else set IZIN_STATE_FOLDER"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StateError(
                f"{self._folder} is in use by another worker; "
                "give each worker an IZIN_INSTANCE_ID of its own"
            ) from None
        self._lock = lock

    def release(self) -> None:
        """Let another worker take it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
