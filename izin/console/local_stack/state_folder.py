"""The folder of a local stack: locked against other runs; it keeps its data from run to run."""

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from izin.console.local_stack.run_record import RunRecord
from izin.local import LocalError
from izin.local.folders import FolderLock

_MARKER = ".izin-local-stack"
"""Only in a folder that has this file is anything ever removed."""
_LOCK = "lock"
_RECORD = "run.json"
_SIMULATOR = "simulator"
_RUN_FILES = ("kafka", "postgres", "registry", _SIMULATOR, "logs", "environment", _RECORD)
"""What a run leaves in its folder, and a fresh one removes. The record is the last."""
_AT_ONCE = timedelta()
_PREDECESSOR_GONE_WITHIN = timedelta(seconds=15)


class StateFolder:
    """The folder ``path`` of a stack."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock = FolderLock(self.path, within=_AT_ONCE)

    @property
    def simulator_state(self) -> Path:
        """The file of the simulator's register."""
        return self.path / _SIMULATOR / "state.sqlite"

    def record(self) -> RunRecord | None:
        """Return the record of an earlier run; None: nothing here can be continued."""
        return RunRecord.read(self.path / _RECORD)

    def claim(
        self, record: RunRecord, on_progress: Callable[[str], None], *, fresh: bool = False
    ) -> None:
        """Lock the folder and write ``record``.

        With ``fresh``, or where no run left a record, remove what earlier runs left there, and
        nothing else.

        Raises:
            LocalError: It has files that izin did not create, or another run uses it.
        """
        folder, marker = self.path, self.path / _MARKER
        if folder.exists() and not marker.exists() and any(folder.iterdir()):
            raise LocalError(
                f"{folder} has files that izin did not create, and a run starts in an empty "
                "folder; name another, which need not exist, with --state-dir"
            )
        # Topics, ledger and logs have recipients: what is made here is its owner's alone.
        os.umask(0o077)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        marker.touch()
        self._lock.acquire()
        if not fresh and self.record() is not None:
            on_progress(f"continuing with what {folder} has; --fresh removes it")
        else:
            self._empty(on_progress)
        self.simulator_state.parent.mkdir(exist_ok=True)
        record.write(folder / _RECORD)

    def _empty(self, on_progress: Callable[[str], None]) -> None:
        old = [self.path / name for name in _RUN_FILES if (self.path / name).exists()]
        if old:
            on_progress(f"removing ledger, topics, logs and simulated İYS in {self.path}")
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
