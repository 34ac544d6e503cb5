"""The folder of a local stack: locked against other runs, and emptied of what earlier runs left."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from izin.local import LocalError
from izin.local.folders import FolderLock

_MARKER = ".izin-local-stack"
"""Only in a folder that has this file is anything ever removed."""
_LOCK = "lock"
_RUN_FILES = ("kafka", "postgres", "registry", "logs", "environment")
"""What a run leaves in its folder, and the next one removes."""
_AT_ONCE = timedelta()
_PREDECESSOR_GONE_WITHIN = timedelta(seconds=15)


class StateFolder:
    """The folder ``path`` of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock = FolderLock(self.path, within=_AT_ONCE)

    def claim(self, on_progress: Callable[[str], None]) -> None:
        """Lock the folder and remove what an earlier run left there, and nothing else.

        Raises:
            LocalError: It has files that izin did not create, or another run uses it.
        """
        folder, marker = self.path, self.path / _MARKER
        if folder.exists() and not marker.exists() and any(folder.iterdir()):
            raise LocalError(
                f"{folder} has files that izin did not create, and a run starts in an empty "
                "folder; name another, which need not exist, with --state-dir"
            )
        folder.mkdir(parents=True, exist_ok=True)
        marker.touch()
        self._lock.acquire()
        old = [folder / name for name in _RUN_FILES if (folder / name).exists()]
        if old:
            on_progress(f"removing ledger, topics and logs of the previous run, in {folder}")
        for path in old:
            if (path / _LOCK).exists():
                # After a kill -9 a server of that run may still be ending.
                with FolderLock(path, within=_PREDECESSOR_GONE_WITHIN):
                    pass
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()
