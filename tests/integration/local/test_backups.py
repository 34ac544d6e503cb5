"""Base backups of a real PostgreSQL, restored to a moment beside it."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from izin.local import LocalError, StartError
from izin.local.backups import (
    Moment,
    RestoredPostgres,
    backup_programs,
    take_backup,
    verify_backup,
)
from tests.support.archiving_postgres import ArchivingPostgres
from tests.support.waiting import until

pytestmark = pytest.mark.database
PROGRAMS = backup_programs(None)


@pytest.fixture(scope="module")
def server() -> Iterator[ArchivingPostgres]:
    """Yield a server with a table, that archives."""
    with tempfile.TemporaryDirectory(prefix="izin-") as name, ArchivingPostgres(Path(name)) as one:
        execute(one, "CREATE TABLE rows (number integer)")
        yield one


@pytest.fixture(scope="module")
def backup(server: ArchivingPostgres) -> Path:
    """Return a backup of it, which has the row 0."""
    execute(server, "INSERT INTO rows VALUES (0)")
    shown: list[tuple[int, int]] = []
    folder = server.wal.with_name("backups")
    made = take_backup(server.url, folder, PROGRAMS, lambda *one: shown.append(one))
    assert shown[-1][0] == shown[-1][1]
    assert [one.name for one in folder.iterdir()] == [made.name]
    return made


def execute(server: ArchivingPostgres, statement: str) -> None:
    """Execute a statement."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement.encode())


def restored(backup: Path, server: ArchivingPostgres, moment: Moment) -> list[int]:
    """Return the rows that a restored copy has."""
    with (
        tempfile.TemporaryDirectory(prefix="izin-") as name,
        RestoredPostgres(Path(name), backup, PROGRAMS, server.url, moment) as copy,
        psycopg.connect(copy.url) as connection,
    ):
        return [one for (one,) in connection.execute("SELECT number FROM rows ORDER BY number")]


def test_copy_has_what_was_there_at_the_moment(server: ArchivingPostgres, backup: Path) -> None:
    """Of the rows behind the backup those up to the moment; all with the whole archive; and none
    without one. The server goes on meanwhile.
    """
    execute(server, "INSERT INTO rows VALUES (1)")
    moment = datetime.now(UTC)
    execute(server, "INSERT INTO rows VALUES (2)")
    with psycopg.connect(server.url, autocommit=True) as connection:
        ((segment,),) = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())")
    execute(server, "SELECT pg_switch_wal()")
    until((server.wal / segment).exists)
    assert restored(backup, server, Moment(server.wal, moment)) == [0, 1]
    assert restored(backup, server, Moment(server.wal)) == [0, 1, 2]
    assert restored(backup, server, Moment()) == [0]
    verify_backup(backup)


def test_moment_that_the_archive_does_not_reach_is_an_error(
    server: ArchivingPostgres, backup: Path, tmp_path: Path
) -> None:
    """Nothing earlier is taken for it."""
    tmp_path.chmod(0o755)
    with pytest.raises(StartError, match="recovery target"):
        restored(backup, server, Moment(tmp_path, datetime(2100, 1, 1, tzinfo=UTC)))


def test_changed_byte_is_found(backup: Path) -> None:
    """Of any file that the manifest lists, and of the manifest; a folder is no backup."""
    for name in ("PG_VERSION", "backup_manifest"):
        file = backup / name
        before = file.read_bytes()
        file.write_bytes(before.replace(b"1", b"2", 1))
        with pytest.raises(LocalError, match=f"damaged: {name}"):
            verify_backup(backup)
        file.write_bytes(before)
    with pytest.raises(LocalError, match="no base backup"):
        verify_backup(backup.parent)


def test_backup_that_fails_leaves_nothing(server: ArchivingPostgres, tmp_path: Path) -> None:
    """A login that may not replicate: it is said what it needs, without its password."""
    execute(server, "CREATE ROLE poor LOGIN PASSWORD 'obviously-fake'")
    url = server.url.replace(server.url.split("@")[0], "postgresql://poor:obviously-fake")
    with pytest.raises(LocalError, match="REPLICATION") as caught:
        take_backup(url, tmp_path, PROGRAMS, lambda *_: None)
    assert "obviously-fake" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_folder_without_programs_is_named(tmp_path: Path) -> None:
    """A person names the folder, so the message does too."""
    with pytest.raises(LocalError, match="no pg_basebackup"):
        backup_programs(tmp_path)
