"""Locks on folders, and the cache folder."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from izin.local import StateInUseError
from izin.local.reservations import FolderLock, cache_folder
from tests.support.waiting import until

AT_ONCE = timedelta(0)


def test_folder_lock_taken_names_the_folder_and_its_owner(tmp_path: Path) -> None:
    """The second run learns which folder is in use, and by which process."""
    with (
        FolderLock(tmp_path, within=AT_ONCE),
        pytest.raises(StateInUseError, match=r"is in use by another run \(pid \d+"),
        FolderLock(tmp_path, within=AT_ONCE),
    ):
        pytest.fail("two runs have locked the same folder")


def test_folder_lock_inherited_lasts_as_long_as_the_server(tmp_path: Path) -> None:
    """The next run waits for a server that outlives its parent."""
    lock = FolderLock(tmp_path, within=AT_ONCE)
    lock.acquire()
    server = subprocess.Popen(
        [sys.executable, "-c", "input()"], pass_fds=[lock.descriptor], stdin=subprocess.PIPE
    )
    lock.release()
    with pytest.raises(StateInUseError):
        lock.acquire()
    server.communicate(b"\n")
    until(lambda: server.poll() is not None)
    with lock:
        pass


def test_folder_lock_not_taken_has_no_descriptor(tmp_path: Path) -> None:
    """Passing on a lock that is not held is a bug, and an error."""
    with pytest.raises(RuntimeError, match="is not locked"):
        _ = FolderLock(tmp_path, within=AT_ONCE).descriptor


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({"XDG_CACHE_HOME": "/c"}, Path("/c/izin")), ({}, Path.home() / ".cache/izin")],
)
def test_cache_folder_follows_xdg_cache_home(environ: dict[str, str], expected: Path) -> None:
    """XDG_CACHE_HOME where it is set; else ~/.cache."""
    assert cache_folder(environ) == expected
