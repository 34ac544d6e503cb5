"""Downloads: once, whole, and never half."""

import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from izin.local import DownloadError, PackageMissingError, maven
from izin.local.maven import FileSet, bring

FILES = FileSet(name="kit-1.0", coordinates=("com.example:kit:1.0",))


class FakeRepository:
    """Stands in for resolver and network: writes jars, counts visits, fails when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.visits = 0
        self.broken: BaseException | None = None
        monkeypatch.setattr(maven, "_download", self.download)

    def download(self, _files: FileSet, folder: Path, _on_progress: object) -> list[Path]:
        self.visits += 1
        folder.mkdir(parents=True)
        jar = folder / "kit.jar"
        if self.broken is not None:
            jar.write_bytes(b"half a")
            raise self.broken
        with zipfile.ZipFile(jar, "w") as archive:
            archive.writestr("Kit.class", "whole")
        return [jar]


class FakeArtifact:
    """Arrives cut short as often as `halves` says, then whole."""

    def __init__(self, folder: Path, *, halves: int) -> None:
        self.cached_path = folder / "kit.jar"
        self.halves = halves

    def resolve(self) -> Path:
        if self.cached_path.exists():
            return self.cached_path
        self.cached_path.parent.mkdir(parents=True, exist_ok=True)
        self.halves -= 1
        if self.halves >= 0:
            self.cached_path.write_bytes(b"half a")
        else:
            with zipfile.ZipFile(self.cached_path, "w") as archive:
                archive.writestr("Kit.class", "whole")
        return self.cached_path

    def __str__(self) -> str:
        return "com.example:kit:1.0"


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> FakeRepository:
    return FakeRepository(monkeypatch)


def test_a_second_start_neither_resolves_nor_downloads(
    repository: FakeRepository, tmp_path: Path
) -> None:
    """What was resolved is written down and believed while the files are there."""
    first = bring(FILES, cache=tmp_path)
    assert first == bring(FILES, cache=tmp_path)
    assert [path.name for path in first] == ["kit.jar"]
    assert repository.visits == 1


def test_a_missing_jar_is_brought_again(repository: FakeRepository, tmp_path: Path) -> None:
    """Someone who cleans the cache by hand gets it back whole."""
    (jar,) = bring(FILES, cache=tmp_path)
    jar.unlink()
    assert zipfile.is_zipfile(bring(FILES, cache=tmp_path)[0])
    assert repository.visits == 2


def test_a_download_cut_short_leaves_nothing_to_trust(
    repository: FakeRepository, tmp_path: Path
) -> None:
    """After a run killed midway the next one begins anew."""
    repository.broken = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bring(FILES, cache=tmp_path)
    repository.broken = None
    assert zipfile.is_zipfile(bring(FILES, cache=tmp_path)[0])


def test_long_work_is_told(repository: FakeRepository, tmp_path: Path) -> None:
    """Whoever waits hears for what; a start from the cache is silent."""
    told: list[str] = []
    bring(FILES, cache=tmp_path, on_progress=told.append)
    assert "resolving com.example:kit:1.0" in told[0]
    told.clear()
    bring(FILES, cache=tmp_path, on_progress=told.append)
    assert told == []


@contextmanager
def an_artifact(monkeypatch: pytest.MonkeyPatch, folder: Path, *, halves: int) -> Iterator[None]:
    artifact = FakeArtifact(folder / "kit-1.0.partial", halves=halves)
    with monkeypatch.context() as patch:
        patch.setattr(maven, "_artifacts", lambda _context, _files: [artifact])
        yield


def test_half_a_jar_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A transfer that broke off is tried again."""
    with an_artifact(monkeypatch, tmp_path, halves=2):
        assert zipfile.is_zipfile(bring(FILES, cache=tmp_path)[0])


def test_a_jar_that_never_arrives_whole_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The tries are bounded; the error names what failed and where to set a mirror."""
    with (
        an_artifact(monkeypatch, tmp_path, halves=99),
        pytest.raises(DownloadError, match=r"cannot download com\.example:kit:1\.0.*mirror"),
    ):
        bring(FILES, cache=tmp_path)


def test_without_the_extra_the_cure_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An absent jgo is told as what to install, not as a traceback."""
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(PackageMissingError, match="`local` extra"):
        bring(FILES, cache=tmp_path)
