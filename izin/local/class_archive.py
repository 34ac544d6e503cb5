"""Java class-data sharing (AppCDS): an archive of loaded classes that later starts map.

The archive belongs to one Java and one class path. A Java that finds it unfit starts without it, so
it can only ever save time: a third of a broker's start.
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from izin.local.errors import LocalError
from izin.local.folders import FolderLock, cache_folder
from izin.local.maven import Progress, silent

_OTHER_RUN_WITHIN = timedelta(minutes=5)


def class_archive(
    name: str,
    java: Path,
    rehearse: Callable[[str], None],
    *,
    on_progress: Progress = silent,
    cache: Path | None = None,
) -> tuple[str, ...]:
    """Return the options with which `java` maps the archive of the program `name`.

    Where there is none yet, `rehearse` runs the program once, from start to end, with the option it
    is given. The result is empty where that failed once, or where `java` has no archive of its
    own to build on: the program then starts as it would anywhere.
    """
    cache = cache or cache_folder()
    archive = cache / f"{name}-{_fingerprint(java)}.jsa"
    failed = archive.with_suffix(".none")
    if not archive.exists() and not failed.exists() and _can_share(java):
        with FolderLock(cache / f"{name}.archive", within=_OTHER_RUN_WITHIN):
            # Another run may have made it while we waited.
            if not archive.exists():
                on_progress(f"making later starts of {name} faster (once; kept in {cache})")
                _make(archive, failed, rehearse, on_progress)
    return (f"-XX:SharedArchiveFile={archive}",) if archive.exists() else ()


def _make(
    archive: Path, failed: Path, rehearse: Callable[[str], None], on_progress: Progress
) -> None:
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    try:
        rehearse(f"-XX:ArchiveClassesAtExit={partial}")
        partial.rename(archive)
    except (LocalError, OSError) as error:
        failed.touch()
        on_progress(f"starts stay as slow as they are: {error}")


def _can_share(java: Path) -> bool:
    return (java.resolve().parents[1] / "lib" / "server" / "classes.jsa").exists()


def _fingerprint(java: Path) -> str:
    """Return what distinguishes this Java from others, and from one that replaces it."""
    program = java.resolve()
    identity = f"{program} {program.stat().st_mtime_ns}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]
