"""Jars and archives from Maven Central, brought here once.

A set of files is downloaded into a folder with a passing name, which is renamed when all of it is
there and whole: a folder with the final name is complete, and a killed download leaves nothing
that a later run would take for a jar. What was resolved is written down beside the files, so that
a later start neither resolves nor touches the network.
"""

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from izin.local.errors import DownloadError, PackageMissingError
from izin.local.folders import FolderLock, cache_folder

Progress = Callable[[str], None]

_LISTING = "files.txt"
_DOWNLOADS_AT_ONCE = 4
_TRIES = 3
_HTTP_TIMEOUT_SECONDS = 30
_OTHER_RUN_WITHIN = timedelta(minutes=15)


def silent(_message: str) -> None:
    """Be the progress callback of those who do not care."""


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """Files that belong together: `name` is their folder's, versions included.

    `coordinates` are `group:artifact:version`, or `group:artifact:version:classifier:packaging:`,
    whose last colon makes jgo read them by place. With `transitive` what they need at run time
    comes with them.
    """

    name: str
    coordinates: tuple[str, ...]
    transitive: bool = True


def bring(
    files: FileSet, *, on_progress: Progress = silent, cache: Path | None = None
) -> list[Path]:
    """Return the paths of all files of the set, downloading what is not here yet.

    Raises DownloadError; PackageMissingError without jgo; StateInUseError when another run still
    downloads the same after a quarter of an hour.
    """
    cache = cache or cache_folder()
    home = cache / files.name
    listed = _listed(home)
    if listed:
        return listed
    with FolderLock(cache / f"{files.name}.download", within=_OTHER_RUN_WITHIN):
        # Another run may have brought them while we waited.
        listed = _listed(home)
        if listed:
            return listed
        on_progress(f"resolving {', '.join(files.coordinates)} (once; kept in {cache})")
        passing = cache / f"{files.name}.partial"
        for leftover in (passing, home):
            shutil.rmtree(leftover, ignore_errors=True)
        paths = _download(files, passing, on_progress)
        relative = [path.relative_to(passing).as_posix() for path in paths]
        (passing / _LISTING).write_text("\n".join(relative))
        passing.rename(home)
        return [home / path for path in relative]


def _listed(home: Path) -> list[Path]:
    try:
        lines = (home / _LISTING).read_text().splitlines()
    except FileNotFoundError:
        return []
    paths = [home / line for line in lines]
    return paths if all(path.is_file() for path in paths) else []


def _download(files: FileSet, repository: Path, on_progress: Progress) -> list[Path]:
    try:
        import requests  # noqa: PLC0415 - comes with jgo
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
    foreign = (requests.RequestException, RuntimeError, OSError, ValueError)
    try:
        artifacts = _artifacts(context, files)
    except foreign as error:
        raise DownloadError(", ".join(files.coordinates), str(error)) from error

    on_progress(f"downloading {len(artifacts)} files of {files.name}")

    def bring_one(artifact: Any) -> Path:  # noqa: ANN401 - jgo publishes no types
        why = "it never arrived whole"
        for _ in range(_TRIES):
            try:
                path = Path(artifact.resolve())
            except foreign as error:
                why = str(error)
            else:
                if _is_whole(path):
                    return path
            # jgo would take half a file for the file.
            Path(artifact.cached_path or repository / "none").unlink(missing_ok=True)
        raise DownloadError(str(artifact), why)

    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        return list(pool.map(bring_one, artifacts))


def _artifacts(context: Any, files: FileSet) -> Sequence[Any]:  # noqa: ANN401 - jgo publishes no types
    named = [context.create_dependency(coordinate) for coordinate in files.coordinates]
    if not files.transitive:
        return [dependency.artifact for dependency in named]
    resolved, needed = context.resolver.resolve(named)
    at_run_time = [one for one in needed if one.scope in {"compile", "runtime"}]
    return [dependency.artifact for dependency in (*resolved, *at_run_time)]


def _is_whole(path: Path) -> bool:
    # The directory of a zip stands at its end, so half a jar has none.
    return zipfile.is_zipfile(path) or (path.suffix == ".gz" and tarfile.is_tarfile(path))
