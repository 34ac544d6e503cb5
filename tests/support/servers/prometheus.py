"""Prometheus's promtool, of Debian's package: on the path, or unpacked into a folder of ours."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

_PACKAGE = "prometheus"
_STATE = ("lists/partial", "cache/archives/partial")


def promtool(folder: Path) -> Path:
    """Return promtool, fetched into ``folder`` once by apt; without apt the test is skipped."""
    if found := shutil.which("promtool"):
        return Path(found)
    if shutil.which("apt-get") is None:
        pytest.skip("no promtool, and no apt to fetch it")
    folder.mkdir(parents=True, exist_ok=True)
    tool = folder / "usr" / "bin" / "promtool"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tool.exists():
            _fetch(folder)
    return tool


def _fetch(folder: Path) -> None:
    """Fetch and unpack the package; of apt's lists a copy of ours is made, as anybody may."""
    for name in _STATE:
        (folder / name).mkdir(parents=True, exist_ok=True)
    own = ("-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}")
    for words in ("update", "--quiet"), ("download", _PACKAGE):
        subprocess.run(["apt-get", *own, "--quiet", *words], cwd=folder, check=True, timeout=600)
    (package,) = folder.glob(f"{_PACKAGE}_*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True, timeout=600)
