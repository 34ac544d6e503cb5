"""What a Java program loads at each start, kept as an archive that the next start maps.

Java calls it application class-data sharing. The archive belongs to one Java and one class path; a
Java that finds it unfit goes without, so it can only ever save time: a third of a broker's start.
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
    is given. Without options where that failed once, or where `java` brings no archive of its own
    to build on: the program then starts as it would anywhere.
    """
    cache = cache or cache_folder()
    archive = cache / f"{name}-{_fingerprint(java)}.jsa"
    given_up = archive.with_suffix(".none")
    if not archive.exists() and not given_up.exists() and _can_share(java):
        with FolderLock(cache / f"{name}.archive", within=_OTHER_RUN_WITHIN):
            # Another run may have made it while we waited.
            if not archive.exists():
                on_progress(f"making later starts of {name} quicker (once; kept in {cache})")
                _make(archive, given_up, rehearse, on_progress)
    return (f"-XX:SharedArchiveFile={archive}",) if archive.exists() else ()


def _make(
    archive: Path, given_up: Path, rehearse: Callable[[str], None], on_progress: Progress
) -> None:
    passing = archive.with_suffix(".partial")
    passing.unlink(missing_ok=True)
    try:
        rehearse(f"-XX:ArchiveClassesAtExit={passing}")
        passing.rename(archive)
    except (LocalError, OSError) as error:
        given_up.touch()
        on_progress(f"they stay as slow as they are: {error}")


def _can_share(java: Path) -> bool:
    return (java.resolve().parents[1] / "lib" / "server" / "classes.jsa").exists()


def _fingerprint(java: Path) -> str:
    """Return what tells this Java from another, and from the one it may be replaced by."""
    program = java.resolve()
    told = f"{program} {program.stat().st_mtime_ns}"
    return hashlib.sha256(told.encode()).hexdigest()[:12]
