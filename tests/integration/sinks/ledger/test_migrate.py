"""Migrations run in order, each once, and never after a contradiction."""

import asyncio
from pathlib import Path

import pytest

from izin.sinks.ledger.db.migrate import migrate, pending
from izin.sinks.record.errors import MigrationError

pytestmark = pytest.mark.database


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a release of two migrations, of which the second needs the first."""
    (tmp_path / "0002_column.sql").write_text("ALTER TABLE t ADD COLUMN a text")
    (tmp_path / "0001_table.sql").write_text("CREATE TABLE t ()")
    monkeypatch.setattr("izin.sinks.ledger.db.migrate.FOLDER", tmp_path)
    return tmp_path


async def test_migrate_empty_ledger_applies_the_schema_once(database_url: str):
    """An empty ledger lacks everything; a second run has nothing to do."""
    everything = await pending(database_url)
    assert everything
    assert await migrate(database_url) == everything
    assert await migrate(database_url) == ()
    assert await pending(database_url) == ()


async def test_migrate_later_release_applies_only_what_is_new(database_url: str, folder: Path):
    """Files run in the order of their names, and the next release adds one."""
    assert await migrate(database_url) == ("0001_table", "0002_column")
    (folder / "0003_type.sql").write_text("ALTER TABLE t ALTER COLUMN a SET NOT NULL")
    assert await pending(database_url) == ("0003_type",)
    assert await migrate(database_url) == ("0003_type",)


async def test_migrate_changed_file_is_refused(database_url: str, folder: Path):
    """What has run is never changed afterwards."""
    await migrate(database_url)
    (folder / "0002_column.sql").write_text("ALTER TABLE t ADD COLUMN b text")
    for command in (migrate, pending):
        with pytest.raises(MigrationError, match="0002_column was changed"):
            await command(database_url)


async def test_migrate_ledger_of_a_later_release_is_refused(database_url: str, folder: Path):
    """An older release does not write to a schema that it does not know."""
    await migrate(database_url)
    (folder / "0002_column.sql").unlink()
    for command in (migrate, pending):
        with pytest.raises(MigrationError, match="0002_column, which this release does not know"):
            await command(database_url)


@pytest.mark.usefixtures("folder")
async def test_migrate_two_processes_apply_each_file_once(database_url: str):
    """The second waits for the lock, and finds nothing to do."""
    applied = await asyncio.gather(migrate(database_url), migrate(database_url))
    assert sorted(applied) == [(), ("0001_table", "0002_column")]
