"""Who holds a folder, and who comes after them."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from izin.local import StateInUseError
from izin.local.folders import FolderLock, cache_folder
from tests.support.waiting import until

AT_ONCE = timedelta(0)


def test_a_held_folder_is_refused(tmp_path: Path) -> None:
    """The second run hears which folder and who holds it."""
    with (
        FolderLock(tmp_path, within=AT_ONCE),
        pytest.raises(StateInUseError, match=r"is in use by another run \(pid \d+"),
        FolderLock(tmp_path, within=AT_ONCE),
    ):
        pytest.fail("two runs hold the same folder")


def test_a_folder_let_go_can_be_held(tmp_path: Path) -> None:
    """No error, no problem."""
    for _ in range(2):
        with FolderLock(tmp_path / "state", within=AT_ONCE):
            pass


def test_a_server_holds_the_folder_after_its_parent(tmp_path: Path) -> None:
    """A server that outlives its parent by a moment keeps the next run waiting until it is gone."""
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


def test_a_lock_not_held_has_no_descriptor(tmp_path: Path) -> None:
    """Handing on what is not held is a mistake of ours, and said so."""
    with pytest.raises(RuntimeError, match="is not held"):
        _ = FolderLock(tmp_path, within=AT_ONCE).descriptor


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({"XDG_CACHE_HOME": "/c"}, Path("/c/izin")), ({}, Path.home() / ".cache/izin")],
)
def test_downloads_go_where_the_user_keeps_such(environ: dict[str, str], expected: Path) -> None:
    """XDG_CACHE_HOME is heard; without it, ~/.cache."""
    assert cache_folder(environ) == expected
