"""Downloads: once, and never incomplete."""

import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from izin.local import DownloadError, PackageMissingError, java
from izin.local.java import FileSet, fetch, fetch_unpacked

FILES = FileSet(name="kit-1.0", coordinates=("com.example:kit:1.0",))


class FakeRepository:
    """Replaces resolver and network: writes jars, counts visits, fails when `broken`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.visits = 0
        self.broken: BaseException | None = None
        monkeypatch.setattr(java, "_download", self.download)

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
    """Arrives incomplete `halves` times, then complete."""

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


def test_fetch_of_cached_files_uses_no_network(repository: FakeRepository, tmp_path: Path) -> None:
    """What was resolved is stored, and used while the files are there."""
    first = fetch(FILES, cache=tmp_path)
    assert first == fetch(FILES, cache=tmp_path)
    assert [path.name for path in first] == ["kit.jar"]
    assert repository.visits == 1


def test_fetch_with_a_missing_jar_downloads_again(
    repository: FakeRepository, tmp_path: Path
) -> None:
    """A file deleted from the cache by hand is downloaded again."""
    (jar,) = fetch(FILES, cache=tmp_path)
    jar.unlink()
    assert zipfile.is_zipfile(fetch(FILES, cache=tmp_path)[0])
    assert repository.visits == 2


def test_fetch_after_an_interrupted_download_starts_over(
    repository: FakeRepository, tmp_path: Path
) -> None:
    """After a run killed midway the next one downloads everything again."""
    repository.broken = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        fetch(FILES, cache=tmp_path)
    repository.broken = None
    assert zipfile.is_zipfile(fetch(FILES, cache=tmp_path)[0])


def test_fetch_reports_downloads_only(repository: FakeRepository, tmp_path: Path) -> None:
    """A download reports what it waits for; a start from the cache reports nothing."""
    progress: list[str] = []
    fetch(FILES, cache=tmp_path, on_progress=progress.append)
    assert "resolving com.example:kit:1.0" in progress[0]
    progress.clear()
    fetch(FILES, cache=tmp_path, on_progress=progress.append)
    assert progress == []


class FakeArchive:
    """Replaces the network by one archive, whole or `broken`, and counts visits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, broken: bool = False) -> None:
        self.visits = 0
        self.broken = broken
        monkeypatch.setattr(java, "_download", self.download)

    def download(self, _files: FileSet, folder: Path, _on_progress: object) -> list[Path]:
        self.visits += 1
        folder.mkdir(parents=True)
        content, archive = folder / "kit.txt", folder / "kit.tar.gz"
        content.write_text("whole", encoding="ascii")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(content, "kit/kit.txt")
        if self.broken:
            archive.write_bytes(b"no archive")
        return [archive]


def test_archive_is_unpacked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder stays, also where an earlier run was killed while it unpacked."""
    archive = FakeArchive(monkeypatch)
    (tmp_path / "kit-1.0.partial-unpacked" / "half").mkdir(parents=True)
    home = fetch_unpacked(FILES, cache=tmp_path)
    assert [one.name for one in home.rglob("*") if one.is_file()] == ["kit.txt"]
    assert fetch_unpacked(FILES, cache=tmp_path) == home
    assert archive.visits == 1


def test_broken_archive_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What cannot be unpacked is no folder that a later run would take for complete."""
    FakeArchive(monkeypatch, broken=True)
    with pytest.raises(DownloadError, match=r"kit\.tar\.gz: it cannot be unpacked"):
        fetch_unpacked(FILES, cache=tmp_path)
    assert not (tmp_path / "kit-1.0.unpacked").exists()


@contextmanager
def an_artifact(monkeypatch: pytest.MonkeyPatch, folder: Path, *, halves: int) -> Iterator[None]:
    artifact = FakeArtifact(folder / "kit-1.0.partial", halves=halves)
    with monkeypatch.context() as patch:
        patch.setattr(java, "_artifacts", lambda _context, _files: [artifact])
        yield


def test_fetch_of_an_incomplete_jar_is_retried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An interrupted transfer is tried again."""
    with an_artifact(monkeypatch, tmp_path, halves=2):
        assert zipfile.is_zipfile(fetch(FILES, cache=tmp_path)[0])


def test_fetch_retries_exhausted_name_the_jar_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The tries are bounded; the error names what failed and where to set a mirror."""
    with (
        an_artifact(monkeypatch, tmp_path, halves=99),
        pytest.raises(DownloadError, match=r"cannot download com\.example:kit:1\.0.*mirror"),
    ):
        fetch(FILES, cache=tmp_path)


def test_missing_extra_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An absent jgo is reported as what to install, not as a traceback."""
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(PackageMissingError, match="`local` extra"):
        fetch(FILES, cache=tmp_path)
