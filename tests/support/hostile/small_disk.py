"""A disk of its own for a folder, which a test can fill: Linux, as root."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_FILLER = "filler"
_PIECES = (1 << 20, 4096)
"""How it is filled: fast, then to the last page."""


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """The disk under ``folder``."""

    folder: Path

    @property
    def anchors(self) -> Path:
        """The file of anchors on it."""
        return self.folder / "anchors.txt"

    def fill(self) -> None:
        """Let nothing more be written to it."""
        with (self.folder / _FILLER).open("ab", buffering=0) as file:
            for size in _PIECES:
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def clear(self) -> None:
        """Let it have room again."""
        (self.folder / _FILLER).unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[SmallDisk | None]:
    """Mount one on ``folder``; None where this user may not."""
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        yield None
        return
    asked = [mount, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(asked, check=False, capture_output=True).returncode:  # in a container
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # beside mount
