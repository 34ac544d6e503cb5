"""A virtual environment for Quix Streams, made once and kept in the user's cache.

Quix pins older clients and libraries than izin, so the two cannot share one. Its packages are
listed here, and the name of its folder is another one for another list.
"""

import shutil
import subprocess
import sys
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import izin
from benchmarks import ROOT
from izin.local.errors import LocalError
from izin.local.java import Progress, silent
from izin.local.reservations import FolderLock, cache_folder

VERSION = "3.28.1"
PACKAGES = (
    f"quixstreams=={VERSION}",
    # For our codec.
    "fastavro==1.13.1",
    "holidays==0.109",
    "mypy_extensions==1.2.0",
    "phonenumbers==9.0.43",
)

_WITHIN = 300.0
_OTHER_RUN_WITHIN = timedelta(minutes=10)


class NotInstalledError(LocalError):
    """A contender's packages cannot be installed."""


def folder(cache: Path) -> Path:
    """Return the folder of the environment in ``cache``: one for each Python and list."""
    listed = sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    python_version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return cache / f"quixstreams-{VERSION}-{listed}-python{python_version}"


def python(*, on_progress: Progress = silent, cache: Path | None = None) -> str:
    """Return the interpreter of the environment, which is created if it does not exist.

    Raises NotInstalledError.
    """
    cache = cache or cache_folder()
    home = folder(cache)
    program, complete = home / "bin" / "python", home / "complete"
    with FolderLock(cache / f"{home.name}.install", within=_OTHER_RUN_WITHIN):
        if not complete.exists():
            on_progress(f"installing {PACKAGES[0]} (once; kept in {cache})")
            shutil.rmtree(home, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(home))
            quiet = ("--quiet", "--disable-pip-version-check")
            _run(str(program), "-m", "pip", "install", *quiet, *PACKAGES)
            complete.touch()
    return str(program)


def make_import_folder(
    izin_root: Path | None = None, *, root: Path = ROOT, cache: Path | None = None
) -> Path:
    """Return a folder from which ``izin`` and ``benchmarks`` alone can be imported.

    Where izin is installed, so are its clients, and Quix needs others. ``izin_root`` is the
    folder that holds izin, ``root`` the one that holds ``benchmarks``.
    """
    izin_root = izin_root or Path(izin.__file__ or "").parents[1]
    named = sha256(f"{izin_root} {root}".encode()).hexdigest()[:12]
    imports = folder(cache or cache_folder()) / "imports" / named
    shutil.rmtree(imports, ignore_errors=True)
    imports.mkdir(parents=True)
    compiled = izin_root.glob("izin__mypyc.*")
    for path in (izin_root / "izin", *compiled, root / "benchmarks"):
        (imports / path.name).symlink_to(path)
    return imports


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            argv, capture_output=True, text=True, timeout=_WITHIN, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(f"{argv[0]} did not end: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise NotInstalledError(f"{' '.join(argv[1:4])} failed: {''.join(last)}")
