"""A folder that one worker has at a time, and that is ours.

RocksDB locks its own folder too, but tells a lock that somebody else holds only in prose, and would
take any folder for its own. The kernel lets go of the lock when its holder ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from izin.streams.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path

MARK = "izin-state.lock"
"""Says that a folder is ours; locked while a worker has it."""


class Claim:
    """The claim of this process to ``folder``, made and given up any number of times."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None

    def take(self) -> None:
        """Make the folder if need be, and have it; raises StateError if it cannot be had."""
        mark = self._folder / MARK
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not mark.exists() and any(self._folder.iterdir()):
                raise StateError(
                    f"{self._folder} is no state of ours; empty it, or set IZIN_STATE_FOLDER"
                )
            lock = os.open(mark, os.O_CREAT | os.O_RDWR, 0o600)
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

    def drop(self) -> None:
        """Let another worker have it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
